"""What a proxy can break, through a real one: who a client is, secure cookies, what is inside only, long bodies.

Only in production's topology (see topology.py).
"""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from neostack import production
from realtime import drain
from scripts import is_well
from tests.draining import begin_to_drain
from tests.whole.people import Person
from tests.whole.platform import Platform, wait_until
from tests.whole.test_faults import expect_what_the_log_has
from tests.whole.topology import SCRAPED, Topology

WRONG_PASSWORDS = 5
CLIENTS = 20
DRAIN_SECONDS = 5


@pytest.fixture
def topology(platform: Platform) -> Topology:
    if not isinstance(platform, Topology):
        pytest.skip("only in production's topology (NEO_TOPOLOGY=1)")
    return platform


@pytest.fixture
def stranger(topology: Topology) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=topology.url, timeout=20) as client:
        yield client


def sign_in(topology: Topology, email: str, password: str, source: str, **headers: str) -> int:
    """The status that somebody at this address gets."""
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(base_url=topology.url, transport=transport, headers=headers, timeout=20) as client:
        client.get("/accounts/login/")
        form = {"login": email, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        return client.post("/accounts/login/", data=form, headers={"Referer": topology.url}).status_code


def test_who_tries_passwords_is_known_by_the_own_address_whatever_it_says_of_itself(topology, bob):
    for number in range(WRONG_PASSWORDS):
        spoofed = {"X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"}
        sign_in(topology, bob.email, "wrong", "127.0.0.2", **spoofed)
    right = "correct-horse-battery"
    assert sign_in(topology, bob.email, right, "127.0.0.2") == 429
    assert sign_in(topology, bob.email, right, "127.0.0.3") == 302


def test_cookies_are_for_https_alone(stranger):
    response = stranger.get("/accounts/login/")
    assert "Secure" in response.headers["set-cookie"]
    assert response.headers["strict-transport-security"].startswith("max-age=31536000")


def test_what_did_not_come_through_the_proxy_is_sent_to_https(topology):
    address = f"http://127.0.0.1:{topology.ports['web']}/accounts/login/"
    response = httpx.get(address, headers={"Host": "localhost"})
    assert response.status_code == 301
    assert response.headers["location"] == "https://localhost/accounts/login/"


def test_a_false_host_name_is_refused(stranger):
    assert stranger.get("/accounts/login/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", production.INSIDE_ONLY)
def test_what_is_inside_only_does_not_exist_outside(stranger, topology, path):
    assert stranger.get(path).status_code == 404
    assert stranger.post(path).status_code == 404
    assert httpx.get(f"http://127.0.0.1:{topology.ports['web']}{path}").status_code in (403, 405)


def test_nobody_outside_drains_a_node(stranger):
    assert stranger.post(f"{drain.PATH}?node=engine&parts=1").status_code == 404


def test_the_engines_api_is_not_reached_from_outside_nor_at_the_port_of_its_clients(stranger, topology):
    assert stranger.post("/engine/api/info").status_code == 404
    assert httpx.post(f"http://127.0.0.1:{topology.ports['engine']}/engine/api/info").status_code == 404
    assert httpx.post(f"http://127.0.0.1:{topology.ports['api']}/engine/api/info").status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/health", "/"])
def test_of_the_engine_its_clients_port_shows_nothing_but_the_way_for_clients(topology, path):
    assert httpx.get(f"http://127.0.0.1:{topology.ports['engine']}{path}").status_code == 404
    inside = httpx.get(f"http://127.0.0.1:{topology.ports['api']}{path}").status_code
    assert inside == (404 if path == "/" else 200), "and no admin page anywhere"


@pytest.mark.parametrize(("part", "copies"), production.COPIES.items())
def test_as_many_run_as_production_has(topology, part, copies):
    running = topology.copies("engine" if part == "centrifugo" else part)
    assert len(running) == copies
    assert all(topology.processes[name].poll() is None for name in running)


@pytest.mark.parametrize("name", SCRAPED)
def test_every_process_says_that_its_loop_turns(topology, name):
    port = topology.ports[name] if name.startswith("gate") else topology.metrics_ports[name]
    assert is_well.main(port) == 0
    if not name.startswith("gate"):
        turned = re.search(r"main turned (\d+)", httpx.get(f"http://127.0.0.1:{port}/healthz").text)
        assert turned
        assert int(turned[1]) < 30


@pytest.mark.parametrize("path", ["/static/css/neo.css", "/static/admin/css/base.css", "/static/js/live.js"])
def test_collected_files_are_served(stranger, path):
    response = stranger.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")


def test_the_admin_is_there_and_asks_who_one_is(stranger):
    response = stranger.get("/admin/")
    assert response.status_code == 302
    assert "/login/?next=" in response.headers["location"]


def test_a_body_that_is_too_long_ends_at_the_proxy(stranger, alice: Person, acme):
    too_long = b"x" * (production.BODY_LIMIT_BYTES + 1)
    assert stranger.post("/accounts/login/", content=too_long).status_code == 413
    long = {"channel": acme.channel("notifications"), "event": {"message": "x" * (production.BODY_LIMIT_BYTES - 1000)}}
    answer: dict[str, Any] = alice.post("/api/events/publish", tenant=acme.slug, json=long).json()
    assert answer["errors"], "Django explains what the proxy lets through"


def test_pages_go_on_when_one_web_process_is_killed(topology, alice, acme):
    topology.kill("web")
    for _ in range(4):
        assert alice.get(acme.path).status_code == 200


@pytest.mark.parametrize("goes", [Topology.kill, Topology.stop], ids=["killed", "drained"])
def test_what_is_published_by_either_node_reaches_a_client_of_the_other(topology, alice, acme, subscribe, goes):
    """With one node gone, too, and whichever a client was at. Nobody has to reload."""
    channel = acme.channel("notifications")
    clients = [subscribe(alice, acme, [channel]) for _ in range(4)]  # the proxy gives each node two,
    wait_until(  # but none to one that was away a moment ago
        lambda: clients_at(topology, "engine2") or clients.append(subscribe(alice, acme, [channel])),
        "the proxy gives the second node somebody",
        every=0.5,
    )
    topology.inside.say(tenant=acme.id, by=alice.id, count=10)
    goes(topology, "engine2")
    topology.inside.say(tenant=acme.id, by=alice.id, count=10)
    for client in clients:
        expect_what_the_log_has(topology, client)
        assert client.reloads[channel] == 0
    assert sum(client.connections for client in clients) > len(clients), "some had to connect again"


def clients_at(topology: Topology, node: str) -> int:
    """Connections that the proxy keeps open to it."""
    found = psutil.Process(topology.pid(node)).net_connections(kind="tcp")
    return sum(each.status == "ESTABLISHED" and each.laddr.port == topology.ports[node] for each in found)


@pytest.mark.skipif(not shutil.which("wget"), reason="wget is not installed")
def test_a_node_that_is_drained_loses_its_clients_little_by_little_and_they_miss_nothing(
    topology, alice, acme, subscribe
):
    """They leave over the seconds of the hook, each once, and are told at the other node what they missed."""
    channel = acme.channel("notifications")
    going, staying = (f"ws://127.0.0.1:{topology.ports[node]}/connection/websocket" for node in ("engine", "engine2"))
    bystander = subscribe(alice, acme, [channel], url=staying)
    clients = [subscribe(alice, acme, [channel], url=going) for _ in range(CLIENTS + 2)]
    for gone in (clients.pop(), clients.pop()):  # noted at the gate, and not there any more
        gone.close()
    tokens = [dict(client.tokens) for client in clients]
    for client in clients:
        client.url = staying  # no proxy leads to the node any more
    hook = begin_to_drain(
        "engine",
        gate=f"http://127.0.0.1:{topology.ports['inside']}",
        key_file=topology.home / "secrets" / "gate_key",
        seconds=DRAIN_SECONDS,
    )
    while hook.poll() is None:
        topology.inside.say(tenant=acme.id, by=alice.id, count=1)
    assert hook.returncode == 0, hook.communicate()[1]
    wait_until(lambda: clients_at(topology, "engine") == 0, "nobody is at the node any more")
    topology.stop("engine")
    for client in (bystander, *clients):
        expect_what_the_log_has(topology, client)
        assert client.reloads[channel] == 0
    assert [client.connections for client in (bystander, *clients)] == [1, *[2] * CLIENTS]
    assert [client.tokens for client in clients] == tokens, "they came back with what they had"
    closed = sorted(at for client in clients for at in client.closed_at)
    assert len(closed) == CLIENTS
    assert closed[-1] - closed[0] > DRAIN_SECONDS / 3
    assert max(sum(first <= at < first + 0.5 for at in closed) for first in closed) <= 0.7 * CLIENTS
