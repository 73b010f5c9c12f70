"""docker-compose.yml and deploy/kubernetes against their schemas, and against the one table of what production runs.

There may be no Docker here and no cluster, so what can be read is compared. tests/whole/topology.py starts the same
table as plain processes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from neostack import production
from realtime import drain
from scripts import make_secrets
from tests.draining import GATE_KEY_FILE, drain_hook

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
OURS = ("web", "gate", "relay", "worker", "beat", "runner", "pulse")
SERVICES = {*OURS, "migrate", "centrifugo", "redis", "postgres", "proxy", "prometheus", "alertmanager", "grafana"}
KUBERNETES = ROOT / "deploy/kubernetes"
#: The oldest and the newest that we say it runs on.
KUBERNETES_VERSIONS = ("1.29", "1.34")
NOT_OBJECTS = ("Kustomization", "Component")
PINNED_CENTRIFUGO = re.search(r"centrifugo/v6 (v6\.\d+\.\d+)", (ROOT / "tools/centrifugo/go.mod").read_text())


class ComposeLoader(yaml.SafeLoader):
    """Compose's own tags say how files are merged; of one file they say nothing."""


ComposeLoader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))  # type: ignore[arg-type]


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
    assert {Path(secret["file"]).name for secret in compose["secrets"].values()} <= set(made)
    for service in compose["services"].values():
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
    password = (tmp_path / "postgres_password").read_text()
    assert (tmp_path / "database_url").read_text() == f"postgres://neostack:{password}@postgres:5432/neostack"
    assert make_secrets.make(tmp_path) == [], "a second time nothing is changed"
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_whatever_compose_mounts_from_here_is_here(compose):
    mounted = [
        volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])
    ]
    from_here = [source for source in mounted if source.startswith(".")]
    assert from_here
    assert [source for source in from_here if not (ROOT / source).is_dir()] == []


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


def test_compose_asks_each_of_ours_whether_its_loop_turns(compose):
    ports = {"web": production.WEB_PORT, "gate": production.GATE_PORT}
    for name in OURS:
        asked = ["CMD", "python", "scripts/is_well.py", str(ports.get(name, production.METRICS_PORT))]
        assert compose["services"][name]["healthcheck"]["test"] == asked, name


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


# --- Kubernetes -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], Any]:
    """Every object of deploy/kubernetes, the Redis cluster's too, by kind and name."""
    found = [one for file in sorted(KUBERNETES.rglob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
    return {(one["kind"], one["metadata"]["name"]): one for one in found if one["kind"] not in NOT_OBJECTS}


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    return dict(workload["spec"]["template"]["spec"])


def workloads(objects: dict[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    kinds = ("Deployment", "StatefulSet", "Job")
    return {name: one for (kind, name), one in objects.items() if kind in kinds}


def container_of(objects: dict[tuple[str, str], Any], name: str) -> dict[str, Any]:
    (container,) = pod_of(workloads(objects)[name])["containers"]
    return dict(container)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_objects_are_what_the_schemas_say(objects, version):
    for one in objects.values():
        kubernetes_validate.validate(one, version, strict=True)


def test_kustomize_applies_every_file(objects):
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    assert kustomization["configMapGenerator"] == [{"name": "neostack-settings", "envs": ["settings.env"]}]


def test_kubernetes_starts_ours_as_the_table_says(objects):
    for name, command in production.commands().items():
        assert container_of(objects, name)["command"] == command
    assert container_of(objects, "migrate")["command"] == production.migrate()[:3]
    assert container_of(objects, "centrifugo")["command"][-1] == str(production.ENGINE_CONFIG)
    assert set(workloads(objects)) == {*OURS, "migrate", "centrifugo", "redis-cluster", "redis-cluster-create"}


def test_kubernetes_runs_as_many_as_the_table_says(objects):
    for name, copies in production.COPIES.items():
        scaled = objects.get(("HorizontalPodAutoscaler", name))
        assert copies <= (scaled or workloads(objects)[name])["spec"]["minReplicas" if scaled else "replicas"], name
    assert objects["HorizontalPodAutoscaler", "centrifugo"]["spec"]["minReplicas"] == 3
    assert (
        workloads(objects)["beat"]["spec"] | {"replicas": 1, "strategy": {"type": "Recreate"}}
        == (workloads(objects)["beat"]["spec"])
    ), "two beats would wake everybody twice"


def test_kubernetes_tells_ours_what_the_table_says(objects):
    told = dict(line.split("=", 1) for line in settings_lines())
    expected = production.environment(
        site_url="https://app.example.com", proxies="10.0.0.0/8", keys=f"http://keys:{production.WEB_PORT}"
    )
    assert {name: told.get(name) for name in expected} == expected
    for name in production.SECRET_FILES:
        assert told[f"{name}_FILE"] == f"/run/secrets/neostack/{name.lower()}"
    for name in (*OURS, "migrate"):
        assert container_of(objects, name)["envFrom"] == [{"configMapRef": {"name": "neostack-settings"}}]


def settings_lines() -> list[str]:
    lines = (KUBERNETES / "settings.env").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_compose_and_kubernetes_tell_the_same(compose):
    assert {line.split("=", 1)[0] for line in settings_lines()} == set(compose["services"]["web"]["environment"])


def test_kubernetes_runs_the_centrifugo_that_we_test_named_after_its_pod(objects):
    container = container_of(objects, "centrifugo")
    assert PINNED_CENTRIFUGO
    assert container["image"] == f"centrifugo/centrifugo:{PINNED_CENTRIFUGO[1]}"
    named = {"name": "CENTRIFUGO_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert named in container["env"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"client": production.ENGINE_PORT, "internal": production.ENGINE_INTERNAL_PORT}


def test_the_ingress_leads_where_the_tests_proxy_leads(objects):
    (rule,) = objects["Ingress", "neostack"]["spec"]["rules"]
    paths = {(one["path"], one["pathType"]): one["backend"]["service"]["name"] for one in rule["http"]["paths"]}
    assert paths == {
        **{(prefix, "Prefix"): service for prefix, service in production.ROUTES.items()},
        **{(path, "Exact"): "nowhere" for path in production.INSIDE_ONLY},
    }


#: Of the namespace where it runs, its pods and no others.
PROMETHEUS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}


def test_of_the_namespace_of_monitoring_prometheus_alone_comes_in(objects):
    for name in ("web", "centrifugo", "metrics"):
        rules = objects["NetworkPolicy", name]["spec"]["ingress"]
        sources = [one for rule in rules for one in rule["from"] if "monitoring" in str(one)]
        assert sources == [PROMETHEUS], name


def test_the_engines_api_is_for_our_pods_and_prometheus_alone(objects):
    policy = objects["NetworkPolicy", "centrifugo"]["spec"]["ingress"]
    (internal,) = (rule for rule in policy if {"port": "internal"} in rule["ports"])
    assert internal["ports"] == [{"port": "internal"}]
    ours, monitoring = internal["from"]
    assert ours["podSelector"]["matchExpressions"][0]["values"] == ["web", "relay", "worker", "pulse", "gate"]
    assert monitoring == PROMETHEUS
    everybody = objects["NetworkPolicy", "nobody"]["spec"]
    assert everybody == {"podSelector": {}, "policyTypes": ["Ingress"]}


def test_the_gate_is_for_centrifugo_alone(objects):
    (rule,) = objects["NetworkPolicy", "gate"]["spec"]["ingress"]
    assert rule == {
        "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "centrifugo"}}}],
        "ports": [{"port": "gate"}],
    }
    (port,) = objects["Service", "gate"]["spec"]["ports"]
    ports = {one["name"]: one["containerPort"] for one in container_of(objects, "gate")["ports"]}
    assert (port["port"], ports[port["targetPort"]]) == (production.GATE_PORT, production.GATE_PORT)


def test_every_pod_is_nobody_with_a_read_only_root_and_limits(objects):
    for name, workload in workloads(objects).items():
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["automountServiceAccountToken"] is False, name
        # A service called centrifugo would set CENTRIFUGO_PORT in each pod, which Centrifugo takes for its own setting.
        assert pod["enableServiceLinks"] is False, name
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"memory"} <= set(container["resources"]["limits"]), name


def test_what_serves_is_probed_and_what_is_several_is_not_drained_at_once(objects):
    for name, workload in workloads(objects).items():
        if workload["kind"] != "Job":
            assert {"startupProbe", "livenessProbe"} <= set(container_of(objects, name)), name
        if name in OURS:
            port = {"web": "http", "gate": "gate"}.get(name, "metrics")
            for probe in ("startupProbe", "livenessProbe"):
                assert container_of(objects, name)[probe]["httpGet"] == {"path": "/healthz", "port": port}, name
    for name in ("web", "gate", "centrifugo"):
        container, pod = container_of(objects, name), pod_of(workloads(objects)[name])
        assert "readinessProbe" in container
        if name != "centrifugo":
            (_, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
            assert int(seconds) < pod["terminationGracePeriodSeconds"]
    for name in ("web", "gate", "relay", "centrifugo", "redis-cluster"):
        budget = objects["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"]
        assert budget == workloads(objects)[name]["spec"]["template"]["metadata"]["labels"]


def test_a_node_that_goes_is_drained_by_the_gate_before_it_is_told_to_end(objects):
    """tests/whole/test_proxy.py does what this hook says."""
    container, pod = container_of(objects, "centrifugo"), pod_of(workloads(objects)["centrifugo"])
    told = {one["name"]: one.get("value") for one in container["env"]}
    hook = drain_hook()
    assert f"http://gate:{production.GATE_PORT}{drain.PATH}?node=$CENTRIFUGO_NODE_NAME&" in hook
    assert "CENTRIFUGO_NODE_NAME" in told
    (key,) = (mount for mount in container["volumeMounts"] if mount["name"] == "secrets")
    assert key == {"name": "secrets", "mountPath": GATE_KEY_FILE, "subPath": "gate_key", "readOnly": True}
    assert f"--post-file {GATE_KEY_FILE} " in hook, "as an argument whoever lists processes would read it"
    (request,) = re.findall(r"timeout (\d+) wget ", hook)
    lasts = hook_seconds(hook) + int(request)
    assert lasts + int(told["CENTRIFUGO_SHUTDOWN_TIMEOUT"].removesuffix("s")) <= pod["terminationGracePeriodSeconds"]


def hook_seconds(hook: str) -> int:
    """How long it waits for the proxies, and then drains."""
    (waits,), (drains,) = re.findall(r"^sleep (\d+)$", hook, re.MULTILINE), re.findall(r"%s\) \+ (\d+)\)", hook)
    return int(waits) + int(drains)


def test_the_gate_knows_each_node_by_the_name_that_the_hook_says(objects):
    (configure,) = pod_of(workloads(objects)["centrifugo"])["initContainers"]
    named = [*configure["env"], *container_of(objects, "centrifugo")["env"]]
    by_pod = {one["name"] for one in named if one.get("valueFrom") == {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert by_pod == {"ENGINE_NODE_NAME", "CENTRIFUGO_NODE_NAME"}


def test_a_rollout_drains_one_node_after_another(objects):
    rollout = workloads(objects)["centrifugo"]["spec"]
    assert rollout["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert rollout["minReadySeconds"] >= hook_seconds(drain_hook())
    assert objects["PodDisruptionBudget", "centrifugo"]["spec"]["maxUnavailable"] == 1


def test_selectors_and_mounts_meet_what_they_name(objects):
    for name, workload in workloads(objects).items():
        pod = pod_of(workload)
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert pod.get("restartPolicy", "Always") == ("OnFailure" if workload["kind"] == "Job" else "Always"), name
        assert labels == {"app.kubernetes.io/component": name}
        assert workload["kind"] == "Job" or workload["spec"]["selector"]["matchLabels"] == labels
        claims = workload["spec"].get("volumeClaimTemplates", [])
        volumes = {one["name"] for one in pod["volumes"]} | {one["metadata"]["name"] for one in claims}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name


def test_every_pod_that_has_numbers_says_where_prometheus_finds_them(objects):
    ports = {"web": production.WEB_PORT, "centrifugo": production.ENGINE_INTERNAL_PORT}
    for name in (*OURS, "centrifugo"):
        annotations = workloads(objects)[name]["spec"]["template"]["metadata"]["annotations"]
        port = str(ports.get(name, production.METRICS_PORT))
        assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": port}, name


def test_public_keys_are_read_from_web_processes_that_are_not_ready_too(objects):
    keys, web = objects["Service", "keys"]["spec"], objects["Service", "web"]["spec"]
    assert keys == web | {"publishNotReadyAddresses": True}


def test_no_password_is_an_argument(compose, objects):
    """Whoever lists processes would read it."""
    redis_cluster = container_of(objects, "redis-cluster")["command"]
    for command in (compose["services"]["redis"]["command"], redis_cluster):
        arguments, _, given = command[-1].partition("<<END")
        assert "password" not in arguments
        assert "requirepass $" in given


def test_the_engines_redis_of_compose_never_comes_back_with_a_part_of_what_it_had(compose):
    command = compose["services"]["redis"]["command"][-1]
    assert '--save "" --appendonly no' in command


# --- What watches it on Kubernetes ------------------------------------------------------------------------------------

MONITORING = KUBERNETES / "monitoring"


def test_kustomize_hands_prometheus_and_its_adapter_what_is_here():
    kustomization = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    files = [file.rpartition("=")[2] for one in kustomization["configMapGenerator"] for file in one["files"]]
    assert sorted(files) == sorted(path.name for path in MONITORING.glob("*.yml"))
    assert kustomization["namespace"] == "monitoring"


def test_the_rules_on_kubernetes_are_those_of_compose():
    """A copy, because kustomize reads nothing outside its directory."""
    assert (MONITORING / "rules.yml").read_text() == (ROOT / "deploy/prometheus/rules.yml").read_text()


def test_prometheus_finds_on_kubernetes_what_the_rules_ask_for():
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    made = {one["target_label"]: one["source_labels"] for one in job["relabel_configs"] if "target_label" in one}
    assert made["job"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_component"]
    asked = set(re.findall(r'job="(\w+)"', (MONITORING / "rules.yml").read_text()))
    assert asked <= {*OURS, "centrifugo"}
    scraped, port = (f"__meta_kubernetes_pod_annotation_prometheus_io_{name}" for name in ("scrape", "port"))
    assert {"source_labels": [scraped], "regex": "true", "action": "keep"} in job["relabel_configs"]
    assert made["__address__"] == ["__meta_kubernetes_pod_ip", port]
    assert job["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": ["neostack"]}}]


def test_the_adapter_offers_the_number_by_which_centrifugo_scales(objects):
    (metric,) = objects["HorizontalPodAutoscaler", "centrifugo"]["spec"]["metrics"]
    (rule,) = yaml.safe_load((MONITORING / "adapter.yml").read_text())["rules"]
    name, _, labels = rule["seriesQuery"].partition("{")
    assert name == metric["pods"]["metric"]["name"]
    (job,) = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    made = {one.get("target_label") for one in job["relabel_configs"]}
    assert set(re.findall(r"(\w+)!=", labels)) == set(rule["resources"]["overrides"]) <= made


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
