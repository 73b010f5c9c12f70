"""Which change becomes which event. The signals are sent by actions, inside their transaction."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.dispatch import Signal, receiver

from events.emit import emit
from notifications.events import InboxUpdate, NotificationArrived
from notifications.models import Inbox, Notification

#: A person was notified: notification, inbox.
notified = Signal()
#: Something in an inbox changed: inbox, change (a field of InboxUpdate), ids; with "solved" also solved_by, in words.
inbox_changed = Signal()

# No actor in either: what somebody does in their own inbox is nobody's activity.


@receiver(notified)
def say_it_arrived(notification: Notification, inbox: Inbox, **_: Any) -> None:
    emit(NotificationArrived.of(notification, inbox))


@receiver(inbox_changed)
def say_how_it_is(inbox: Inbox, change: str, ids: Sequence[UUID], solved_by: str = "", **_: Any) -> None:
    facts = {"user_id": inbox.user_id, "unread": inbox.unread, "version": inbox.version, change: list(ids)}
    emit(InboxUpdate.model_validate(facts | {"solved_by": solved_by}))
