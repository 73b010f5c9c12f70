"""What tests of notifications share: the handlers' work done at once, and inboxes with something in them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from conftest import Person
from events import handling, numbering
from events.models import Event
from notifications import actions
from notifications.actions import Message
from notifications.models import Inbox, Notification

HANDLERS = (
    "notify_of_access",
    "notify_of_alerts",
    "notify_of_deployments",
    "notify_of_escalations",
    "notify_of_invoices",
    "notify_of_notices",
    "notify_of_standing",
    "notify_of_usage",
)


@pytest.fixture
def handle(db) -> Callable[[], None]:
    """Everything that has been emitted since the test began is handled: `handle()`."""
    handling.start_cursors()

    def now() -> None:
        while numbering.number().is_due:
            pass
        for name in HANDLERS:
            handling.drain(handling.get(name), seconds=30)

    return now


@pytest.fixture
def tell() -> Callable[..., Notification | None]:
    """Notify somebody: `tell(bob, title="web #1 failed", tenant=acme)`; None if they were not to be told."""

    def one(person: Person, title: str = "web #1 failed", tenant: Any = None, **more: Any) -> Notification | None:
        facts = {
            "source": uuid4(),
            "kind": "test",
            "title": title,
            "message": "Step build ended.",
            "level": "info",
            "link": f"/t/{tenant.slug}/" if tenant else "/",
            "object_key": f"test:{title}",
            "group_key": f"test:{title}",
            "tenant": tenant,
        }
        return next(iter(actions.notify([person.user.pk], Message(**facts | more))), None)

    return one


@pytest.fixture
def at(monkeypatch) -> Callable[[datetime], None]:
    """It is this moment: `at(NOON)`."""

    def now_is(moment: datetime) -> None:
        monkeypatch.setattr(timezone, "now", lambda: moment)

    return now_is


def titles(person: Person) -> list[str]:
    """What is in this person's inbox, newest first."""
    shown = Notification.objects.of(person.user).kept().order_by("-number")
    return list(shown.values_list("title", flat=True))


def inbox(person: Person) -> Inbox:
    return Inbox.objects.get(pk=person.user.pk)


def emitted(kind: str) -> list[dict[str, Any]]:
    """The payloads of every event of this type, oldest first."""
    events = Event.objects.with_scopes_disabled().filter(type=kind).order_by("id")
    return [event.payload for event in events]
