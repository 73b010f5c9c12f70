"""What load balancers, supervisors, Prometheus and developers ask."""

import socket
from datetime import timedelta

import pytest
import yaml
from django.core.management import call_command
from django.db import DatabaseError
from django.utils import timezone

from events import engine_client
from events.heartbeats import Heart
from events.models import Heartbeat
from portal.ops import health


@pytest.fixture(autouse=True)
def without_redis(settings):
    settings.REDIS_URL = ""


@pytest.fixture
def engine_answers(monkeypatch):
    monkeypatch.setattr(engine_client, "push", lambda commands, timeout=None: [{"info": {}}])


@pytest.fixture
def everything_runs(db):
    """Each process has just said that it is alive."""
    for kind in health.PROCESSES:
        Heart(kind).beat()


def test_a_live_process_says_so_whatever_else_is_away(client):
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_names_each_part(client, db, engine_answers, everything_runs):
    response = client.get("/readyz")
    assert response.status_code == 200
    ok = {"status": "ok"}
    assert response.json()["status"] == "ok"
    named = ["database", "engine", "relay", "runner", "worker", "beat", "pulse", "push", "dead_letters"]
    assert {name: response.json()["parts"][name] for name in named} == dict.fromkeys(named, ok)


def test_without_engine_and_relay_pages_are_still_served(client, db):
    response = client.get("/readyz")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "degraded"
    assert body["parts"]["database"] == {"status": "ok"}
    assert body["parts"]["engine"]["status"] == "failed"
    assert "manage.py relay" in body["parts"]["relay"]["reason"]


def test_a_relay_that_has_fallen_silent_is_noticed(client, everything_runs, engine_answers):
    Heartbeat.objects.filter(kind="relay").update(expires_at=timezone.now() - timedelta(seconds=1))
    relay = client.get("/readyz").json()["parts"]["relay"]
    assert relay["status"] == "failed"
    assert relay["reason"].startswith("Relay: silent since")


def test_nobody_reads_there_what_the_machines_are_called(client, everything_runs, engine_answers):
    assert socket.gethostname() not in client.get("/readyz").content.decode()


def test_without_the_database_it_is_not_ready(client, db, monkeypatch, engine_answers):
    def away() -> None:
        raise DatabaseError("no connection to host db-internal-17")

    monkeypatch.setattr(health, "_database", away)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "db-internal-17" not in response.content.decode()


def test_without_the_redis_that_was_configured_pages_are_still_served(client, db, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")
    assert response.json()["parts"]["redis"]["status"] == "failed"


def test_metrics_say_what_this_process_has_done(client, db):
    client.get("/accounts/login/")
    text = client.get("/metrics").content.decode()
    assert 'neostack_request_seconds_count{view="account_login"}' in text
    assert 'neostack_requests_total{method="GET",status="2xx"}' in text
    assert "neostack_gate_answers_total" in text
    assert "neostack_cursor_lag" not in text, "the platform as a whole is told by pulse, once"


def test_metrics_are_for_this_machine_only_unless_a_key_is_set(client, db, settings):
    assert client.get("/metrics", REMOTE_ADDR="203.0.113.5").status_code == 403
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403
    settings.METRICS_KEY = "a-key-for-prometheus"
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 403
    key = {"Authorization": "Bearer a-key-for-prometheus"}
    assert client.get("/metrics", headers=key, REMOTE_ADDR="203.0.113.5").status_code == 200


def test_the_schema_describes_what_is_there(client, db):
    schema = yaml.safe_load(client.get("/api/schema").content)
    assert {
        "/api/events",
        "/api/events/publish",
        "/api/realtime/token",
        "/api/realtime/subscriptions",
    } <= set(schema["paths"])
    assert schema["paths"]["/api/events/publish"]["post"]["responses"]["202"]
    assert "apiKey" in schema["components"]["securitySchemes"]
    assert headers(schema, "/api/deployments", "post") == {"X-Tenant", "Idempotency-Key"}
    assert headers(schema, "/api/deployments/{id}", "get") == {"X-Tenant", "If-None-Match"}
    assert headers(schema, "/api/events", "get") == set()


def headers(schema: dict, path: str, method: str) -> set[str]:
    return {one["name"] for one in schema["paths"][path][method].get("parameters", []) if one["in"] == "header"}


def test_the_schema_is_made_without_a_warning(capsys):
    call_command("spectacular", validate=True, fail_on_warn=True, file="/dev/null")


def test_only_the_page_of_the_api_may_have_inline_styles_and_loads_nothing_from_elsewhere(client, db):
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert "style-src 'self' 'unsafe-inline'" in page["Content-Security-Policy"]
    assert "unsafe-inline" not in client.get("/api/schema")["Content-Security-Policy"]
    assert b"https://" not in page.content
