"""Production refuses what would make it unsafe. Each setting is tried in a process of its own."""

import os
import subprocess
import sys

import pytest

from neostack import checks, processes

pytestmark = pytest.mark.once

SAFE = {
    "DEBUG": "0",
    "SITE_URL": "https://app.example.com",
    "ALLOWED_HOSTS": "app.example.com",
    "ALLOWED_ORIGINS": "https://app.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://app.example.com",
    "ENGINE": "centrifugo",
    "ENGINE_API_URL": "http://centrifugo:9001/engine/api",
    "ENGINE_PORT": "8001",
    "ENGINE_REDIS_URL": "rediss://redis.example.com:6379",
    "DATABASE_URL": "postgres://neostack@db.example.com/neostack",
}


@pytest.fixture(scope="module")
def safe() -> dict[str, str]:
    return SAFE | processes.new_secrets()


def run(arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=processes.BASE_DIR,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def check(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(["manage.py", "check", "--deploy"], environ)


def test_safe_settings_pass(safe):
    result = check(safe)
    assert result.returncode == 0, result.stderr
    assert "neostack." not in result.stderr


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("DEBUG", "1", "DEBUG is on"),
        ("SECRET_KEY", "development-only-not-a-secret-secret_key", "SECRET_KEY is the development value"),
        ("GATE_KEY", "short", "GATE_KEY is shorter than 32 characters"),
        ("ENGINE_API_KEY", "", "ENGINE_API_KEY is not set"),
        ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS lets any host name in"),
        ("ALLOWED_ORIGINS", "", "ALLOWED_ORIGINS checks nothing"),
        ("ALLOWED_ORIGINS", "https://*", "ALLOWED_ORIGINS checks nothing"),
        ("PAYMENT_GATEWAY", "local", "anybody could call an invoice paid"),
        ("PAYMENT_GATEWAY", "stripe", "needs STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET"),
        ("PAYMENT_GATEWAY", "barter", "PAYMENT_GATEWAY=barter is not known"),
    ],
)
def test_an_unsafe_setting_fails_the_deploy_check(safe, setting, value, sentence):
    result = check(safe | {setting: value})
    assert result.returncode != 0
    assert sentence in result.stderr


def test_the_development_secret_of_the_local_gateway_is_refused(safe):
    known = safe | {"PAYMENT_GATEWAY": "local", "LOCAL_GATEWAY_SECRET": "development-only-not-a-secret-local_gateway"}
    result = run(["manage.py", "migrate"], known)
    assert result.returncode != 0
    assert "LOCAL_GATEWAY_SECRET is the development value" in result.stderr


def test_gateways_that_move_no_money_are_only_warned_of(safe):
    local = check(safe | {"PAYMENT_GATEWAY": "local", "LOCAL_GATEWAY_SECRET": "x" * 40})
    test_key = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}
    stripe = check(safe | {"PAYMENT_GATEWAY": "stripe"} | test_key)
    assert (local.returncode, stripe.returncode) == (0, 0)
    assert "neostack.W005" in local.stderr
    assert "neostack.W006" in stripe.stderr
    assert "sk_test_1" not in stripe.stderr


def test_secrets_must_differ(safe):
    result = check(safe | {"GATE_KEY": safe["ENGINE_API_KEY"]})
    assert result.returncode != 0
    assert "ENGINE_API_KEY and GATE_KEY are the same" in result.stderr


def test_sqlite_and_an_engine_in_memory_are_only_warned_of(safe):
    result = check(safe | {"ENGINE": "embedded", "DATABASE_URL": "sqlite:////tmp/neostack-never-opened.sqlite3"})
    assert result.returncode == 0
    assert "neostack.W001" in result.stderr
    assert "neostack.W002" in result.stderr


def test_the_web_process_does_not_start_unsafe(safe):
    result = run(["-c", "import neostack.asgi"], safe | {"ALLOWED_HOSTS": "*", "GATE_KEY": "short"})
    assert result.returncode != 0
    assert "Not started." in result.stderr
    assert "ALLOWED_HOSTS" in result.stderr
    assert "GATE_KEY" in result.stderr


@pytest.mark.parametrize("command", ["migrate", "relay", "runner"])
def test_a_command_does_not_start_unsafe(safe, command):
    result = run(["manage.py", command], safe | {"ALLOWED_ORIGINS": ""})
    assert result.returncode != 0
    assert "ALLOWED_ORIGINS checks nothing" in result.stderr


def test_the_engine_has_one_redis_and_encrypts_to_all_of_it_or_to_none(settings):
    settings.ENGINE_REDIS_URL = ["rediss://one.example.com:6379", "redis://two.example.com:6379"]
    assert "neostack.E008" in {error.id for error in checks.errors()}
    settings.ENGINE_REDIS_URL = ["one.example.com"]
    assert "neostack.E008" in {error.id for error in checks.errors()}
    settings.ENGINE_REDIS_URL = ["redis://one.example.com:6379", "redis://two.example.com:6379"]
    assert not {"neostack.E007", "neostack.E008"} & {error.id for error in checks.errors()}
    settings.ENGINE_REDIS_CLUSTER = ["redis://cluster.example.com:7000"]
    assert "neostack.E007" in {error.id for error in checks.errors()}


def test_a_signing_key_must_be_known_everywhere_before_it_signs(settings):
    settings.SIGNING_KEY_LEAD_SECONDS = 1.0
    assert "neostack.E009" in {error.id for error in checks.errors()}


def test_a_server_api_where_browsers_come_is_warned_of(settings):
    settings.ENGINE = "centrifugo"
    assert "neostack.W004" in {warning.id for warning in checks.warnings()}
    settings.ENGINE_PORT = 8001
    assert "neostack.W004" not in {warning.id for warning in checks.warnings()}
