"""What a process beside the tests' own does about notifications. See `tests/processes.py`."""

import time
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.utils import timezone  # noqa: E402

from notifications import actions, mails  # noqa: E402
from notifications.actions import Message  # noqa: E402
from tests.worker import work  # noqa: E402


def set_clock(now: str, began: float, speed: float) -> None:
    """It is this moment when `time.time()` says `began`, and goes on so many times as fast as the real one."""
    first = datetime.fromisoformat(now)
    timezone.now = lambda: first + timedelta(seconds=(time.time() - began) * speed)


def mail_to(port: int) -> None:
    """Mails go to the server on this port, and nobody who sends one counts as dead, however fast the clock is."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", port, False
    settings.MAIL_LEASE_SECONDS = 30 * 86_400


def tell(people: list[str], name: str, count: int) -> None:
    for number in range(count):
        _notify(people, f"{name}-{number}.")


def tell_until(people: list[str], name: str, end: str) -> int:
    """Tell again and again until it is this moment, fewer a second than one mail tells of. How many were told."""
    last, count = datetime.fromisoformat(end), 0
    while timezone.now() < last:
        _notify(people, f"{name}-{count}.")
        count += 1
        time.sleep(0.05)
    return count


def _notify(people: list[str], title: str, cause: str = "") -> None:
    message = Message(uuid4(), "deployment_failed", title, "", "error", "/", f"o:{title}", "g", None, cause, 1)
    actions.notify([UUID(person) for person in people], message)


def send(seconds: float) -> int:
    """What is due, and whatever becomes due within so many seconds. How many were sent."""
    ends, sent = time.monotonic() + seconds, mails.send_due(60)
    while time.monotonic() < ends:
        time.sleep(0.02)
        sent += mails.send_due(60)
    return sent


def tell_causes(people: list[str], count: int) -> None:
    for number in range(count):
        _notify(people, f"cause {number}", f"cause:{number}")


def solve_causes(count: int) -> None:
    for number in range(count):
        actions.solve(f"cause:{number}", order=2, by=f"{number} is done")


if __name__ == "__main__":
    work(set_clock, mail_to, tell, tell_until, send, tell_causes, solve_causes)
