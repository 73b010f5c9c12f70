"""People with a session on the running platform, and the companies they belong to."""

from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.whole.platform import Platform


@dataclass
class Person:
    """Somebody who is signed in. `http` carries their cookies; `post` also the CSRF token, as a page's script would."""

    platform: Platform
    id: str
    name: str
    email: str
    session: str
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.platform.url, cookies={"sessionid": self.session}, timeout=20)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, tenant: str | None = None, **options: Any) -> httpx.Response:
        if "csrftoken" not in self.http.cookies:
            self.http.cookies.set("csrftoken", "a" * 32)
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"], "Origin": self.platform.url}
        return self.http.post(path, headers=headers | ({"X-Tenant": tenant} if tenant else {}), **options)

    @property
    def cookies(self) -> list[dict[str, Any]]:
        """For a browser's context."""
        return [{"name": "sessionid", "value": self.session, "url": self.platform.url}]


@dataclass
class Company:
    """A tenant made for one test."""

    platform: Platform
    id: str
    slug: str
    name: str

    @property
    def path(self) -> str:
        return f"/t/{self.slug}/"

    def channel(self, topic: str) -> str:
        return f"tenant:{self.id}:{topic}"

    def hire(self, name: str, role: str) -> Person:
        """A new person with this role here."""
        email = f"{name.lower()}@{self.slug}.example"
        person = Person(self.platform, **self.platform.inside.make_person(name=name, email=email))
        self.platform.inside.join(tenant=self.id, person=person.id, role=role)
        return person


def found_company(platform: Platform, name: str, slug: str) -> Company:
    return Company(platform, **platform.inside.make_tenant(slug=slug, name=name))
