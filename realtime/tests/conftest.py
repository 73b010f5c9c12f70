from collections.abc import Callable, Iterator

import pytest

from realtime import keys
from tenants.actions import create_api_key
from tenants.models import ApiKey
from tests import services

MakeKey = Callable[..., tuple[ApiKey, str]]


@pytest.fixture
def make_key(acme) -> MakeKey:
    """Make an API key of acme: `key, secret = make_key("events:read")`."""

    def make(*scopes: str, tenant=acme, by=None, **fields) -> tuple[ApiKey, str]:
        return create_api_key(tenant, "ci", scopes, by=by, **fields)

    return make


@pytest.fixture
def as_service(client) -> Callable[[str], object]:
    """A caller with a key's secret and no browser: `service = as_service(secret); service.post(url, data)`."""

    class Service:
        def __init__(self, secret: str) -> None:
            self._headers = {"Authorization": f"Api-Key {secret}"}

        def get(self, url: str, **headers: str):
            return client.get(url, headers=self._headers | headers)

        def post(self, url: str, data: object, **headers: str):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.post(url, data, content_type="application/json", headers=self._headers | named)

    return Service


@pytest.fixture
def under_another_secret(db, settings, monkeypatch) -> Callable[[], None]:
    """From its call on the signing keys can't be read."""
    monkeypatch.setattr(keys, "ring", keys.KeyRing())
    keys.ring.signing_key()

    def change() -> None:
        settings.SIGNING_KEY_SECRET = "another-secret-of-more-than-thirty-two-characters"
        keys.ring.forget()

    return change


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis of the tests' own."""
    try:
        with services.redis() as url:
            yield url
    except services.NotHere as reason:
        pytest.skip(str(reason))
