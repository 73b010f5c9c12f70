"""How often in a second somebody may do something."""

import logging
import math
import time
from functools import cache
from typing import Any

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

logger = logging.getLogger("tenants.rates")


def seconds_to_wait(per_second: int, what: str, whose: str) -> int:
    """Count once `what` somebody does: 0 if they may go ahead, else in how many whole seconds to try again."""
    limit = RateLimitItemPerSecond(per_second)
    try:
        return _count(_limiter(settings.REDIS_URL), limit, (what, whose))
    except StorageError:
        logger.exception("Redis does not count %s: this process counts for itself.", what)
        return _count(_limiter(""), limit, (what, whose))


def _count(limiter: MovingWindowRateLimiter, limit: RateLimitItem, key: tuple[str, str]) -> int:
    if limiter.hit(limit, *key):
        return 0
    return max(1, math.ceil(limiter.get_window_stats(limit, *key).reset_time - time.time()))


@cache
def _limiter(redis_url: str) -> MovingWindowRateLimiter:
    """In Redis one limit holds for all web processes; without it each process counts for itself."""
    if not redis_url:
        return MovingWindowRateLimiter(MemoryStorage())
    timeouts: dict[str, Any] = {"socket_timeout": 1, "socket_connect_timeout": 1}
    return MovingWindowRateLimiter(RedisStorage(redis_url, wrap_exceptions=True, **timeouts))
