"""Access generations in Redis, for the connect gate. Without REDIS_URL there are none: the gate reads the row.

The relay writes those that were raised, the gate those it had to read from the database. What Redis has forgotten is
read from the database again, so a generation is kept no longer than it saves reads.

A Redis that was restarted or took over from another may know older generations than were written, and would let in
people whose access was taken. So each is kept with the name of the data set it was written to (Redis gives it a new one
on both occasions), and counts as forgotten under any other.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from uuid import UUID

import redis
from django.conf import settings
from redis.client import Pipeline

#: After so long without a new one it is read from the database once more.
KEPT_SECONDS = 7 * 86_400

_DATA_SET = """
local data_set = string.match(redis.call("INFO", "replication"), "master_replid:(%w+)") or "?"
"""
# The relay and the gate, or two relays, may write at once: the higher generation stays.
_RAISE = (
    _DATA_SET
    + """
for i, key in ipairs(KEYS) do
  local generation, written_to = string.match(redis.call("GET", key) or "", "^(%d+) ?(%w*)")
  local old, new = tonumber(generation or "0"), tonumber(ARGV[i])
  if new > old or (new == old and written_to ~= data_set) then
    redis.call("SET", key, ARGV[i] .. " " .. data_set, "EX", ARGV[#KEYS + 1])
  end
end
"""
)
_READ = (
    _DATA_SET
    + """
local found = {}
for i, value in ipairs(redis.call("MGET", unpack(KEYS))) do
  local generation, written_to = string.match(value or "", "^(%d+) ?(%w*)")
  found[i] = written_to == data_set and generation or ""
end
return found
"""
)


class GenerationsAway(Exception):
    """Redis did not take or give an access generation."""


def server() -> redis.Redis | None:
    """The Redis that relay and gate share; None without REDIS_URL."""
    return _redis_at(settings.REDIS_URL) if settings.REDIS_URL else None


@cache
def _redis_at(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, **settings.REDIS_TLS)


def key(user_id: UUID) -> str:
    return f"neostack:generation:{user_id}"


def write(user_id: UUID, generation: int) -> None:
    """Tell the gate a person's generation; an older one never replaces a newer. Raises GenerationsAway."""
    write_many({user_id: generation})


def write_many(found: Mapping[UUID, int]) -> None:
    """The same for many people in one call. Raises GenerationsAway."""
    shared = server()
    if shared is None or not found:
        return
    try:
        shared.eval(_RAISE, len(found), *map(key, found), *found.values(), KEPT_SECONDS)
    except redis.RedisError as error:
        raise GenerationsAway(f"Redis did not take an access generation: {error}") from error


def read(user_id: UUID) -> int | None:
    """The generation last written; None if there is none, or no Redis. Raises GenerationsAway."""
    return read_many({user_id}).get(user_id)


def read_many(user_ids: Collection[UUID], beside: Callable[[Pipeline], object] | None = None) -> dict[UUID, int]:
    """The generations last written of those who have one; of nobody without Redis. Raises GenerationsAway.

    `beside` may put commands of its own into the same round trip. Nothing depends on what Redis answers to these.
    """
    shared = server()
    if shared is None or not user_ids:
        return {}
    pipeline = shared.pipeline(transaction=False)
    pipeline.eval(_READ, len(user_ids), *map(key, user_ids))
    if beside:
        beside(pipeline)
    try:
        values, *_ = pipeline.execute(raise_on_error=False)
        if isinstance(values, redis.RedisError):
            raise values
    except redis.RedisError as error:
        raise GenerationsAway(f"Redis did not give access generations: {error}") from error
    return {user_id: int(value) for user_id, value in zip(user_ids, values, strict=True) if value}
