"""Probes and Prometheus ask one container by its own address, without TLS."""

import pytest


@pytest.fixture
def as_production(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["app.example.com"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_is_answered_at_a_containers_own_address(as_production, client, db, path):
    assert client.get(path, headers={"Host": "10.0.0.7:8000"}).json()["status"]


def test_prometheus_needs_its_key_and_no_host_name(as_production, client, db, settings):
    settings.METRICS_KEY = "k" * 40
    assert client.get("/metrics", headers={"Host": "10.0.0.7:8000"}).status_code == 403
    headers = {"Host": "10.0.0.7:8000", "Authorization": f"Bearer {settings.METRICS_KEY}"}
    assert client.get("/metrics", headers=headers).status_code == 200


def test_everybody_else_needs_an_allowed_host_name_and_https(as_production, client, db):
    assert client.get("/accounts/login/", headers={"Host": "10.0.0.7:8000"}).status_code == 400
    response = client.get("/accounts/login/", headers={"Host": "app.example.com"})
    assert response.headers["location"] == "https://app.example.com/accounts/login/"


def test_a_probe_can_only_read(as_production, client):
    assert client.post("/healthz").status_code == 405
