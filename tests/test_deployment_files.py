"""docker-compose.yml and deploy/kubernetes against their schemas, and against the one table of what production runs.

There may be no Docker here and no cluster, so what can be read is compared. tests/whole/topology.py starts the same
table as plain processes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from neostack import production
from scripts import make_secrets

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
OURS = ("web", "relay", "worker", "beat", "runner", "pulse")
SERVICES = {*OURS, "migrate", "centrifugo", "redis", "postgres", "proxy", "prometheus", "grafana"}
PINNED_CENTRIFUGO = re.search(r"centrifugo/v6 (v6\.\d+\.\d+)", (ROOT / "tools/centrifugo/go.mod").read_text())


class ComposeLoader(yaml.SafeLoader):
    """Compose's own tags say how files are merged; of one file they say nothing."""


ComposeLoader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def read_compose(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((ROOT / name).read_text(), ComposeLoader)
    return found


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read_compose("docker-compose.yml")


def filled_in(text: str) -> str:
    """As Compose does with ${NAME:-default} where nothing is set."""
    return re.sub(r"\$\{\w+:-([^{}]*)\}", r"\1", text)


# --- Compose ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.override.yml", "docker-compose.services.yml"])
def test_compose_files_are_what_the_specification_says(name):
    schema = json.loads((ROOT / "tests/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(read_compose(name))


def test_compose_has_every_service_and_no_other(compose):
    assert set(compose["services"]) == SERVICES
    assert set(read_compose("docker-compose.override.yml")["services"]) <= SERVICES


@pytest.mark.parametrize("name", OURS)
def test_compose_starts_ours_as_the_table_says(compose, name):
    service = compose["services"][name]
    assert service["command"] == production.commands()[name]
    assert service["deploy"]["replicas"] == production.COPIES[name]


def test_compose_migrates_first_and_writes_the_engines_configuration_where_the_engine_reads_it(compose):
    services = compose["services"]
    assert services["migrate"]["command"] == production.migrate()
    assert services["centrifugo"]["command"][-1] == str(production.ENGINE_CONFIG)
    for name in (*OURS, "centrifugo"):
        assert services[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_compose_tells_ours_what_the_table_says(compose):
    for name in (*OURS, "migrate"):
        told = compose["services"][name]["environment"]
        expected = production.environment(site_url="https://localhost", proxies=subnet(compose, "edge"))
        assert {key: filled_in(told[key]) for key in expected} == expected
        for secret in production.SECRET_FILES:
            assert told[f"{secret}_FILE"] == f"/run/secrets/{secret.lower()}"
            assert secret.lower() in compose["services"][name]["secrets"]


def subnet(compose: dict[str, Any], network: str) -> str:
    return str(compose["networks"][network]["ipam"]["config"][0]["subnet"])


def test_every_secret_that_compose_reads_is_made(compose, tmp_path):
    made = make_secrets.make(tmp_path)
    assert {Path(secret["file"]).name for secret in compose["secrets"].values()} == set(made)
    for service in compose["services"].values():
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
    password = (tmp_path / "postgres_password").read_text()
    assert (tmp_path / "database_url").read_text() == f"postgres://neostack:{password}@postgres:5432/neostack"
    assert make_secrets.make(tmp_path) == [], "a second time nothing is changed"
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_compose_runs_the_centrifugo_that_we_test(compose):
    assert PINNED_CENTRIFUGO
    assert compose["services"]["centrifugo"]["image"] == f"centrifugo/centrifugo:{PINNED_CENTRIFUGO[1]}"
    assert compose["services"]["centrifugo"]["deploy"]["replicas"] == production.COPIES["centrifugo"]


def test_traefik_leads_where_the_tests_proxy_leads(compose):
    rules = {name: label(compose, name, f"http.routers.{name}.rule") for name in ("web", "centrifugo")}
    ports = {name: label(compose, name, f"http.services.{name}.loadbalancer.server.port") for name in rules}
    assert ports == {"web": str(production.WEB_PORT), "centrifugo": str(production.ENGINE_PORT)}
    (prefix,) = (prefix for prefix, service in production.ROUTES.items() if service == "centrifugo")
    assert rules["centrifugo"] == f"Host(`localhost`) && PathPrefix(`{prefix}`)"
    closed = "".join(f" && !Path(`{path}`)" for path in production.INSIDE_ONLY)
    assert rules["web"] == f"Host(`localhost`){closed}"
    assert label(compose, "web", "http.middlewares.body-limit.buffering.maxRequestBodyBytes") == str(
        production.BODY_LIMIT_BYTES
    )
    for name in rules:
        assert label(compose, name, f"http.routers.{name}.entrypoints") == "websecure"
        assert label(compose, name, f"http.routers.{name}.tls.certresolver") == "letsencrypt"


def label(compose: dict[str, Any], service: str, name: str) -> str:
    (found,) = (one for one in compose["services"][service]["labels"] if one.startswith(f"traefik.{name}="))
    return filled_in(found.partition("=")[2])


def test_every_service_of_compose_is_watched_limited_and_started_again(compose):
    for name, service in compose["services"].items():
        assert service["restart"] in ("unless-stopped", "on-failure:5"), name
        assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name
        is_job = name == "migrate"
        assert service["healthcheck"] == {"disable": True} if is_job else "test" in service["healthcheck"], name


def test_nothing_of_compose_but_the_proxy_is_reached_from_outside(compose):
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published.keys() == {"proxy", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])
    assert compose["networks"]["data"]["internal"]
    for name in ("postgres", "redis"):
        assert compose["services"][name]["networks"] == ["data"]


def test_what_compose_runs_may_write_only_where_it_must(compose):
    for name, service in compose["services"].items():
        assert "no-new-privileges:true" in service["security_opt"], name
        if name != "postgres":  # its socket and its lock stand beside each other in places of the image's choice
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
    for name in (*OURS, "migrate"):
        assert {mount.partition(":")[0] for mount in compose["services"][name]["tmpfs"]} == {
            "/tmp",
            str(production.LOCAL_DIR),
        }


# --- The image --------------------------------------------------------------------------------------------------------


def test_the_image_runs_as_nobody_and_starts_web(compose):
    instructions = list(read_dockerfile())
    assert ("USER", "10001:10001") in instructions
    assert instructions[-1] == ("CMD", json.dumps(production.commands()["web"]))
    assert sum(1 for name, _ in instructions if name == "FROM") == 2
    assert all("latest" not in image for name, image in instructions if name == "FROM")


def read_dockerfile() -> Iterator[tuple[str, str]]:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest


def test_the_image_has_all_of_the_code_and_none_of_the_rest():
    let_in = {line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "scripts"}
    assert packages <= let_in
    assert let_in - packages == {"static", "templates", "manage.py", "requirements.txt", "scripts/is_well.py"}
    assert all((ROOT / name).exists() for name in let_in)
