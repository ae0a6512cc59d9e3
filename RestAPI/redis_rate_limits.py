"""Token buckets on Redis, which all processes share: one script, one round trip, Redis' own clock.

Redis is not needed for money to be right. When it is away, or does not answer in time, everything
is let through and counted (``coffer_rate_limits_skipped``), and Redis is left alone for a moment:
its absence costs one request a second a time-out, and the others nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from RestAPI.rate_limits import Limit, Verdict
from WalletCore.telemetry import RATE_LIMITS_SKIPPED, get_logger

SOCKET_TIMEOUT_SECONDS: Final = 0.1
"""A bucket answers in 0.1 ms; a request that waits longer for it is not worth limiting."""

PAUSE_SECONDS: Final = 1.0
"""After a failure Redis is left alone for so long; then one request asks, the others still not."""

MAX_POOL_CONNECTIONS: Final = 128
KEY_PREFIX: Final = "coffer:limit:"

TAKE: Final = """
local moment = redis.call('TIME')
local now = moment[1] * 1000000 + moment[2]
local capacity, cost, taken = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = tonumber(redis.call('GET', KEYS[1])) or now
local until_full = math.min(math.max(full_at - now, 0), capacity)
if until_full + cost > capacity then return {0, until_full} end
if taken > 0 then
    until_full = until_full + taken
    local milliseconds = math.ceil(until_full / 1000) + 1
    redis.call('SET', KEYS[1], string.format('%.0f', now + until_full), 'PX', milliseconds)
end
return {1, until_full}
"""
"""``LocalRateLimits._ask`` in Lua, whose numbers are exact for the microseconds of some centuries.
A key expires when its bucket is full: one millisecond later, as Redis counts from the last full
one."""


class RedisRateLimits:
    """The buckets at ``url``, see ``RateLimits``. Made after fork."""

    def __init__(self, url: str) -> None:
        self._paused_until = 0.0
        """Not 0 from a failure until Redis has answered again."""
        self._log = get_logger()
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            max_connections=MAX_POOL_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(TAKE)
        self._changing = threading.Lock()

    def take(self, name: str, limit: Limit, tokens: int = 1) -> Verdict:
        """See ``RateLimits``."""
        cost = limit.cost(tokens)
        return self._ask(name, limit, cost, cost)

    def look(self, name: str, limit: Limit) -> Verdict:
        """See ``RateLimits``."""
        return self._ask(name, limit, limit.cost(1), 0)

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()

    def _ask(self, name: str, limit: Limit, cost: int, taken: int) -> Verdict:
        """Take ``taken`` if the bucket holds ``cost``; if that cannot be known, it is full."""
        if self._paused_until and not self._may_try():
            RATE_LIMITS_SKIPPED.inc()
            return Verdict.of(limit, cost, 0, allowed=True)
        # A character that UTF-8 cannot write must not count as a fault of Redis.
        key = KEY_PREFIX + ascii(name)[1:-1]
        try:
            allowed, until_full = self._script(
                keys=[key], args=[limit.capacity_microseconds, cost, taken]
            )
        except Exception as error:  # noqa: BLE001 - no fault of Redis is worth a request
            self._failed(error)
            RATE_LIMITS_SKIPPED.inc()
            return Verdict.of(limit, cost, 0, allowed=True)
        if self._paused_until:
            self._paused_until = 0.0
        return Verdict.of(limit, cost, until_full, allowed=allowed == 1)

    def _may_try(self) -> bool:
        """Whether the pause is over and no other thread is trying: the next pause begins now."""
        with self._changing:
            now = time.monotonic()
            if now < self._paused_until:
                return False
            self._paused_until = now + PAUSE_SECONDS
            return True

    def _failed(self, error: Exception) -> None:
        with self._changing:
            if not self._paused_until:
                self._log.warning("rate_limits_away", error=type(error).__name__)
            self._paused_until = time.monotonic() + PAUSE_SECONDS
        # What else the pool holds may have died with this one.
        self._redis.connection_pool.disconnect(inuse_connections=False)
