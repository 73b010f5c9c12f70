"""How a schedule goes through what is due."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from django.conf import settings
from django.db.models import Model

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Model)


def each(rows: Iterable[Row], do: Callable[[Row], object]) -> int:
    """Do it to every row, each by itself: what goes wrong with one is logged, and the others go on.

    Gateways may be slow, and whoever runs the schedule has other work: what is left after ASKING_AT_MOST_SECONDS waits
    for the next run. Returns how many went well.
    """
    went_well, until = 0, time.monotonic() + settings.ASKING_AT_MOST_SECONDS
    for row in rows:
        if time.monotonic() > until:
            break
        try:
            do(row)
            went_well += 1
        except Exception:
            logger.exception("Not done: %s of %s %s.", do.__name__, type(row).__name__, row.pk)
    return went_well
