"""The file that both engines read."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

from engine.config import Config
from events.pushing import DISCONNECT_AGAIN
from neostack.processes import CENTRIFUGO
from realtime import engine_config


def test_histories_are_the_contracts():
    namespaces = engine_config.build()["channel"]["namespaces"]
    assert {one["name"]: one["history_size"] for one in namespaces} == {
        "tenant": 1000,
        "user": 100,
        "admin": 100,
        "system": 100,
        "certification": 100,
    }
    assert all(one["history_ttl"] == "1h" and one["force_recovery"] and one["force_positioning"] for one in namespaces)


def test_a_client_gets_nothing_but_by_its_tokens():
    config = engine_config.build()
    assert "allow_" not in json.dumps(config)
    assert "token" not in config["client"]  # no key for connection tokens: the gate is the only way in
    assert "insecure" not in json.dumps(config)
    assert config["client"]["subscription_token"]["audience"] == "subscription"
    assert "without_namespace" not in config["channel"]


def test_the_engine_listens_where_we_look_for_it(settings):
    settings.ENGINE_API_URL = "http://127.0.0.1:9123/engine/api"
    config = engine_config.build()
    assert config["http_server"] == {"address": "127.0.0.1", "port": 9123}
    assert config["http_api"]["handler_prefix"] == "/engine/api"
    settings.ENGINE_API_URL = "http://centrifugo:8000/engine/api"
    assert engine_config.build()["http_server"] == {"address": "", "port": 8000}


def test_the_proposals_numbers_are_kept_where_they_still_make_sense():
    config = engine_config.build()
    assert config["client"]["ping_interval"] == "25s"
    assert config["client"]["pong_timeout"] == "15s"
    assert config["client"]["channel_limit"] == 100
    assert config["websocket"]["message_size_limit"] == 65536


@pytest.fixture
def production(settings) -> None:
    """Centrifugo as docs/access.md describes it: behind a port of its own, with a Redis over TLS."""
    settings.ENGINE_API_URL = "http://centrifugo:9001/engine/api"
    settings.ENGINE_PORT = 8001
    settings.ALLOWED_ORIGINS = ["https://app.example.com"]
    settings.ENGINE_REDIS_URL = ["rediss://centrifugo:its-password@redis.example.com:6379"]
    settings.ENGINE_REDIS_CA_FILE = "/run/secrets/redis-ca.pem"
    settings.ENGINE_NODE_NAME = "centrifugo-7d4b9c-x2x4q"


def test_in_production_api_metrics_and_health_are_inside_and_there_is_no_admin_page(production):
    config = engine_config.build()
    assert config["http_server"] == {"address": "", "port": 8001, "internal_address": "", "internal_port": "9001"}
    assert config["prometheus"] == {"enabled": True}
    assert config["health"] == {"enabled": True}
    assert config["admin"] == {"enabled": False}
    assert config["client"]["allowed_origins"] == ["https://app.example.com"]


def test_a_node_that_has_a_name_says_it_to_the_gate(production, settings):
    def headers() -> dict[str, str]:
        return engine_config.build()["client"]["proxy"]["connect"]["http"]["static_headers"]

    assert headers() == {"X-Gate-Key": settings.GATE_KEY, "X-Node-Name": "centrifugo-7d4b9c-x2x4q"}
    settings.ENGINE_NODE_NAME = ""
    assert headers() == {"X-Gate-Key": settings.GATE_KEY}


def test_nothing_of_it_stands_on_a_port_that_browsers_come_to():
    assert not {"prometheus", "health", "admin"} & engine_config.build().keys()


def test_redis_has_a_prefix_of_ours_and_its_certificate_is_checked(production):
    redis = engine_config.build()["engine"]["redis"]
    assert redis["prefix"] == "neostack"
    assert redis["tls"] == {"enabled": True, "server_ca_pem": "/run/secrets/redis-ca.pem"}


def test_redis_may_be_a_cluster_and_unencrypted_in_a_network_of_our_own(settings):
    settings.ENGINE_REDIS_CLUSTER = ["redis://:its%2Fpassword@one:7000", "redis://two"]
    redis = engine_config.build()["engine"]["redis"]
    assert redis == {"prefix": "neostack", "cluster_address": ["one:7000", "two:6379"], "password": "its/password"}
    assert "password" not in json.dumps(engine_config.without_secrets(engine_config.build())["engine"])


def test_it_can_be_written_without_its_secrets(production, settings, capsys):
    call_command("centrifugo_config", "--without-secrets")
    written = capsys.readouterr().out
    for secret in (settings.ENGINE_API_KEY, settings.GATE_KEY, "its-password"):
        assert secret in json.dumps(engine_config.build())
        assert secret not in written
    assert json.loads(written)["engine"]["redis"]["address"] == ["rediss://redis.example.com:6379"]


def test_the_embedded_engine_takes_it():
    config = Config.of(engine_config.build())
    assert config.client.proxy.connect.enabled
    assert config.client.recovery_max_publication_limit == 1000


@pytest.fixture
def centrifugo() -> str:
    if not (found := shutil.which("centrifugo") or shutil.which(CENTRIFUGO)):
        pytest.skip("Centrifugo is not built: make centrifugo")
    return found


@pytest.mark.conformance
def test_the_real_centrifugo_takes_it(centrifugo, tmp_path):
    assert_taken(centrifugo, tmp_path)


@pytest.mark.conformance
@pytest.mark.parametrize("options", [(), ("--without-secrets",)])
def test_the_real_centrifugo_takes_that_of_production(centrifugo, production, tmp_path, options):
    assert_taken(centrifugo, tmp_path, *options)


@pytest.mark.conformance
def test_the_real_centrifugo_takes_that_of_a_cluster(centrifugo, settings, tmp_path):
    settings.ENGINE_REDIS_CLUSTER = ["rediss://one:7000", "rediss://two:7000"]
    assert_taken(centrifugo, tmp_path)


def assert_taken(centrifugo: str, directory: Path, *options: str) -> None:
    path = directory / "engine.json"
    with path.open("w") as file:
        call_command("centrifugo_config", *options, stdout=file)
    checked = subprocess.run([centrifugo, "checkconfig", "--strict", "-c", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_connection_is_let_in_after_the_second_disconnect(settings):
    """The gate may have looked just before a revocation: an answer that took longer is not used."""
    settings.GATE_TIMEOUT_SECONDS = 60
    asked = Config.of(engine_config.build()).client.proxy.connect.timeout
    assert asked < DISCONNECT_AGAIN.total_seconds()
