"""What Grafana's boards and Prometheus' rules ask for is there: the real processes, read by a real Prometheus."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.services import ROOT
from tests.whole.people import Company, Person
from tests.whole.platform import Platform, wait_until
from tests.whole.prometheus import Prometheus
from tests.whole.subscriber import Subscriber
from tests.whole.topology import Topology

BOARDS = sorted((ROOT / "deploy/grafana/boards").glob("*.json"))
RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
METRIC = re.compile(r"\b(?:neostack|centrifugo|process)_[a-z_]+\b")
#: Of all processes, our own metrics alone.
SERIES_AT_MOST = 5000


@pytest.fixture(scope="module")
def prometheus(running_platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if not isinstance(running_platform, Topology):
        pytest.skip("Prometheus reads production's topology")
    if not Prometheus.is_here():
        pytest.skip("Prometheus is not installed")
    opened = Prometheus(running_platform, tmp_path_factory.mktemp("prometheus"))
    try:
        yield opened.open()
    finally:
        opened.close()


def panels() -> list[dict[str, Any]]:
    return [panel | {"board": path.stem} for path in BOARDS for panel in json.loads(path.read_text())["panels"]]


def queries() -> dict[str, str]:
    """Every query of every board, by where it stands."""
    return {
        f"{panel['board']}: {panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }


def live_a_little(company: Company, person: Person) -> None:
    """Something is read and something published: what the boards show happens while they look."""
    person.get("/api/tenant/metrics", headers={"X-Tenant": company.slug})
    notice = {"type": "tenant_notice", "title": "Hello", "message": "All.", "level": "info"}
    published = {"channel": company.channel("notifications"), "event": notice}
    person.post("/api/events/publish", tenant=company.slug, json=published)


def test_every_board_shows_something_and_every_rule_watches_something(prometheus, acme, alice, subscribe):
    subscriber: Subscriber = subscribe(alice, acme, [acme.channel("notifications")])
    missing: dict[str, str] = queries()

    def nothing_is_missing() -> bool:
        live_a_little(acme, alice)
        for where in [where for where, query in missing.items() if prometheus.ask(query)]:
            del missing[where]
        return not missing

    try:
        wait_until(nothing_is_missing, "every query finds something", 60, every=0.5)
    except AssertionError:
        raise AssertionError(f"These find nothing: {json.dumps(missing, indent=2)}") from None
    wait_until(lambda: subscriber.ids[acme.channel("notifications")], "the subscriber hears of it")

    names = prometheus.names()
    exprs = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    watched = {name for expr in exprs for name in METRIC.findall(expr)}
    assert watched - names == set(), "a rule about a metric that nobody has is never raised"
    assert all(prometheus.ask(f"({expr}) or vector(0)") for expr in exprs)
    assert prometheus.ask("up == 0") == []
    jobs = {one["metric"]["job"] for one in prometheus.ask("up")}
    assert jobs == {"web", "gate", "relay", "worker", "pulse", "runner", "beat", "centrifugo", "prometheus"}
    (counted,) = prometheus.ask('count({__name__=~"neostack_.+"})')
    assert int(counted["value"][1]) < SERIES_AT_MOST


@pytest.mark.once
@pytest.mark.parametrize("board", [pytest.param(path, id=path.stem) for path in BOARDS])
def test_a_board_names_its_source_and_draws_no_panel_over_another(board):
    told = json.loads(board.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in told["panels"]:
        assert panel["datasource"]["uid"] == "prometheus"
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
