"""What can be done about a dead letter."""

from collections.abc import Callable

from django.db import transaction
from django.utils import timezone
from django_scopes import scopes_disabled

from events import engine_client, handling
from events.actors import HasActor
from events.models import DeadLetter

Resolution = DeadLetter.Resolution


class AlreadyResolved(Exception):
    """Somebody has retried or skipped this dead letter before."""


class StillFailing(Exception):
    """It failed again. It waits as before, with the new reason."""


def retry(letter: DeadLetter, by: HasActor) -> None:
    """Deliver it now. A push goes out without a version, since later events have passed it in its channel.

    Raises AlreadyResolved, and StillFailing with the reason.
    """
    letter = DeadLetter.objects.select_related("event__entry").get(pk=letter.pk)
    if not letter.is_waiting:
        raise AlreadyResolved(letter.get_resolution_display())
    try:
        _delivery(letter)()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        DeadLetter.objects.filter(pk=letter.pk).update(error=reason, attempts=letter.attempts + 1)
        raise StillFailing(reason) from error
    _resolve(letter, Resolution.RETRIED, by)


def skip(letter: DeadLetter, by: HasActor) -> None:
    """Give it up for good. Raises AlreadyResolved."""
    _resolve(letter, Resolution.SKIPPED, by)


@scopes_disabled()
def _delivery(letter: DeadLetter) -> Callable[[], object]:
    """What delivers it. Raises LookupError for a handler that is no more."""
    event, seq = letter.event, letter.event.entry.seq
    if letter.channel:
        return lambda: engine_client.publish_again(letter.channel, event.wire(seq))
    handler = handling.get(letter.cursor.removeprefix("handler:"))
    return lambda: handler.function(event, seq)


@transaction.atomic
def _resolve(letter: DeadLetter, resolution: Resolution, by: HasActor) -> None:
    resolved = DeadLetter.objects.filter(pk=letter.pk, resolution="").update(
        resolution=resolution, resolved_at=timezone.now(), resolved_by=by.actor.name
    )
    if not resolved:
        raise AlreadyResolved(DeadLetter.objects.get(pk=letter.pk).get_resolution_display())
