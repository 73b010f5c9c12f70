"""The file that both engines read."""

import json
import shutil
import subprocess

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


def test_the_embedded_engine_takes_it():
    config = Config.of(engine_config.build())
    assert config.client.proxy.connect.enabled
    assert config.client.recovery_max_publication_limit == 1000


@pytest.mark.conformance
def test_the_real_centrifugo_takes_it(tmp_path, capsys):
    centrifugo = shutil.which("centrifugo") or CENTRIFUGO
    if not shutil.which(str(centrifugo)):
        pytest.skip("Centrifugo is not built: make centrifugo")
    call_command("centrifugo_config")
    path = tmp_path / "engine.json"
    path.write_text(capsys.readouterr().out)
    checked = subprocess.run([centrifugo, "checkconfig", "--strict", "-c", path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_connection_is_let_in_after_the_second_disconnect(settings):
    """The gate may have looked just before a revocation: an answer that took longer is not used."""
    settings.GATE_TIMEOUT_SECONDS = 60
    asked = Config.of(engine_config.build()).client.proxy.connect.timeout
    assert asked < DISCONNECT_AGAIN.total_seconds()
