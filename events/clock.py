"""What time it is everybody here asks `django.utils.timezone.now`. A demo that has a past puts that clock back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings
from django.utils import timezone


@contextmanager
def put_back_to(moment: datetime) -> Iterator[None]:
    """Let it be this moment, and what happens meanwhile is of that time: for a command, which has a process to itself,
    since all threads of one read the same clock.

    Defaults of models' fields are of the real time all the same. Raises RuntimeError without DEBUG: there is no demo.
    """
    if not settings.DEBUG:
        raise RuntimeError("The clock is put back for a demo alone, and there is none without DEBUG.")
    real = timezone.now
    timezone.now = lambda: moment
    try:
        yield
    finally:
        timezone.now = real
