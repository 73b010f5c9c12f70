"""Unread counters against the notifications themselves."""

from collections.abc import Iterator
from functools import partial

from django_scopes import scopes_disabled

from events.reconciling import Fault, check
from notifications import actions
from notifications.models import Inbox


@check("unread counters")
@scopes_disabled()
def unread_counters() -> Iterator[Fault]:
    """Every change counts anew, so a counter is wrong only if something else wrote."""
    for inbox in Inbox.objects.select_related("user").order_by("pk"):
        says, there = actions.counts(inbox.user)
        if says != there:
            problem = f"says {says} unread, there are {there}"
            yield Fault(str(inbox.user), problem, partial(actions.count_again, inbox.user))
