"""How many events a second may be published: for each tenant, on each kind of channel."""

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

from events.channels import Channel, Topic

logger = logging.getLogger("realtime.rates")

_KINDS = {f"tenant_{Topic.NOTIFICATIONS}": "notifications", f"tenant_{Topic.DASHBOARD}": "dashboard"}


def seconds_to_wait(channel: Channel) -> int:
    """Count one publication on a channel: 0 if it may go ahead, else in how many whole seconds to try again."""
    kind = "admin" if channel.namespace == "admin" else _KINDS.get(channel.kind, "other")
    limit = RateLimitItemPerSecond(settings.PUBLISHED_PER_SECOND[kind])
    whose = (kind, str(channel.tenant_id or "platform"))
    try:
        return _count(_limiter(settings.REDIS_URL), limit, whose)
    except StorageError:
        logger.exception("Redis does not count publications: this process counts for itself.")
        return _count(_limiter(""), limit, whose)


def _count(limiter: MovingWindowRateLimiter, limit: RateLimitItem, whose: tuple[str, str]) -> int:
    if limiter.hit(limit, *whose):
        return 0
    return max(1, math.ceil(limiter.get_window_stats(limit, *whose).reset_time - time.time()))


@cache
def _limiter(redis_url: str) -> MovingWindowRateLimiter:
    """In Redis one limit holds for all web processes; without it each process counts for itself."""
    if not redis_url:
        return MovingWindowRateLimiter(MemoryStorage())
    timeouts: dict[str, Any] = {"socket_timeout": 1, "socket_connect_timeout": 1}
    return MovingWindowRateLimiter(RedisStorage(redis_url, wrap_exceptions=True, **timeouts))
