"""The configuration: Centrifugo's format, and nothing of it silently ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Config, ConfigError, seconds


def with_namespace(**options: Any) -> dict[str, Any]:
    return {"channel": {"namespaces": [{"name": "tenant"} | options]}}


def test_nothing_configured_is_what_centrifugo_does() -> None:
    config = Config.of({})
    assert config.client.ping_interval == 25
    assert config.client.queue_max_size == 1_048_576
    assert config.client.recovery_max_publication_limit == 300
    assert config.websocket.message_size_limit == 65_536
    assert config.channel.history_meta_ttl == 720 * 3600
    assert config.http_api.handler_prefix == "/api"
    assert not config.health.enabled


def test_what_is_configured_is_read() -> None:
    config = Config.of(with_namespace(history_size=1000, history_ttl="1h", force_recovery=True))
    [namespace] = config.channel.namespaces
    assert (namespace.name, namespace.history_size, namespace.history_ttl) == ("tenant", 1000, 3600)
    assert namespace.force_recovery


UNKNOWN = {
    "novelty": {"novelty": 1},
    "client.novelty": {"client": {"novelty": 1}},
    "client.proxy.connect.novelty": {"client": {"proxy": {"connect": {"novelty": 1}}}},
    "channel.without_namespace.novelty": {"channel": {"without_namespace": {"novelty": 1}}},
    "channel.namespaces[0].histroy_size": with_namespace(histroy_size=5),
    "client.token.ecdsa_public_key": {"client": {"token": {"ecdsa_public_key": "-----BEGIN PUBLIC KEY-----"}}},
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_option_is_an_error_with_its_full_path(path: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.of(UNKNOWN[path])
    assert str(error.value) == f"{path}: this engine knows no such option"


WRONG = {
    "client.channel_limit": {"client": {"channel_limit": "many"}},
    "client.ping_interval": {"client": {"ping_interval": "25"}},
    "client": {"client": {"ping_interval": "5s", "pong_timeout": "8s"}},
    "client.proxy.connect": {"client": {"proxy": {"connect": {"enabled": True}}}},
    "client.token": {"client": {"token": {"jwks_public_endpoint": "https://keys.example/{{realm}}"}}},
    "client.subscription_token": {"client": {"subscription_token": {"jwks_public_endpoint": "keys.example"}}},
    "engine.type": {"engine": {"type": "redis"}},
    "channel": {"channel": {"namespaces": [{"name": "tenant"}, {"name": "tenant"}]}},
    "channel.namespaces[0].name": {"channel": {"namespaces": [{}]}},
    "channel.namespaces[0].presence": with_namespace(presence="yes, please"),
    "channel.namespaces[0].force_recovery_mode": with_namespace(force_recovery_mode="cache"),
    "channel.namespaces[0]": with_namespace(history_size=5),
}


@pytest.mark.parametrize("path", WRONG)
def test_a_value_that_cannot_be_honoured_is_an_error_with_its_path(path: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config.of(WRONG[path])
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "options",
    [
        {"history_ttl": "1h"},
        {"force_recovery": True},
        {"history_size": 5, "history_ttl": "1h", "history_meta_ttl": "30s"},
        {"channel_regex": "("},
        {"name": "t"},
        {"name": "ten ant"},
    ],
)
def test_options_that_contradict_each_other_are_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Config.of(with_namespace(**options))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Config.of({"novelty": 1, "client": {"channel_limit": "many"}})
    assert len(str(error.value).splitlines()) == 2


def test_a_file_that_is_missing_or_no_json_object_is_an_error(tmp_path: Path) -> None:
    for content in ("{", "[]"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ConfigError):
            Config.load(tmp_path / "config.json")
    with pytest.raises(ConfigError):
        Config.load(tmp_path / "missing.json")
    (tmp_path / "config.json").write_text(json.dumps({"health": {"enabled": True}}))
    assert Config.load(tmp_path / "config.json").health.enabled


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("25s", 25), ("1h30m", 5400), ("500ms", 0.5), ("720h0m0s", 2_592_000), ("1.5s", 1.5), ("0s", 0), (0, 0)],
)
def test_durations(duration: object, expected: float) -> None:
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "25", "s", "25 s", "1d", "-5s", 25, True, None, "5s5"])
def test_what_is_no_duration(duration: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(duration)


@given(st.integers(0, 1000), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(hours: int, minutes: int, secs: int, millis: int) -> None:
    written = f"{hours}h{minutes}m{secs}s{millis}ms"
    assert seconds(written) == pytest.approx(hours * 3600 + minutes * 60 + secs + millis / 1000)
