"""How often something may be done: token buckets, in one process or on Redis for all of them.

A bucket holds ``burst`` tokens and gets ``per_second`` new ones each second; whoever finds none is
told how long to wait. All that is kept of a bucket is the moment at which it will be full again,
as in the generic cell rate algorithm of ATM (ITU-T I.371): one number, and none for a full bucket.
It is counted in whole microseconds, so that ``LocalRateLimits`` here and the script of
``RestAPI.redis_rate_limits`` decide alike to the token.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from operator import itemgetter
from typing import Final, Protocol, Self

from RestAPI.problems import TooManyRequests
from WalletCore.settings import MAX_RATE_PER_SECOND, MIN_RATE_PER_SECOND, Settings

MICROSECONDS: Final = 1_000_000
"""In a second."""

MAX_REFILL_SECONDS: Final = 86_400
"""In this time every bucket is full again, and then forgotten."""

MAX_LOCAL_BUCKETS: Final = 10_000
"""Of one process, some 130 bytes each. Addresses are cheap for whoever has many."""

FORGOTTEN_SHARE: Final = 4
"""With no place left, so much of all buckets (1 / 4) is forgotten at once, 3 ms for 2,500."""

MIN_RETRY_AFTER_SECONDS: Final = 1
"""``Retry-After`` counts in whole seconds, and 0 would mean at once."""

FAILED_LOGINS_PER_SECOND: Final = 0.2
FAILED_LOGINS_BURST: Final = 20
"""Of one address: some typing errors and wrong configurations at once, then 720 an hour. At that
speed nobody guesses a password, and several people behind one address still get in."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``per_second`` tokens come each second, ``burst`` are kept at most.

    The time for one token is rounded to microseconds, which is exact to 0.5 % of any rate. Raises
    ValueError for a rate or burst out of range.
    """

    per_second: float
    burst: int
    token_microseconds: int = field(init=False, repr=False, compare=False)
    """In which one token comes."""
    capacity_microseconds: int = field(init=False, repr=False, compare=False)
    """In which an empty bucket is full."""

    def __post_init__(self) -> None:
        """Count in microseconds."""
        if not MIN_RATE_PER_SECOND <= self.per_second <= MAX_RATE_PER_SECOND:
            raise ValueError(
                f"A limit is {MIN_RATE_PER_SECOND} to {MAX_RATE_PER_SECOND} a second, "
                f"not {self.per_second}."
            )
        token = round(MICROSECONDS / self.per_second)
        if not 0 < self.burst * token <= MAX_REFILL_SECONDS * MICROSECONDS:
            raise ValueError(
                f"A burst of {self.burst} at {self.per_second} a second is none, or takes longer "
                f"than {MAX_REFILL_SECONDS} s to be there again."
            )
        object.__setattr__(self, "token_microseconds", token)
        object.__setattr__(self, "capacity_microseconds", self.burst * token)

    @classmethod
    def lasting(cls, per_second: float, burst_seconds: float) -> Self | None:
        """A bucket for what comes in ``burst_seconds``, of one token at least. None for 0: there is
        no limit.
        """
        if per_second == 0:
            return None
        return cls(per_second, max(1, math.ceil(per_second * burst_seconds)))

    def cost(self, tokens: int) -> int:
        """The microseconds in which so many tokens come.

        More than a bucket ever holds counts as all that it holds: otherwise it could never pass.
        Raises ValueError for less than one.
        """
        if tokens < 1:
            raise ValueError(f"There is no taking of {tokens} tokens.")
        return min(tokens, self.burst) * self.token_microseconds


FAILED_LOGINS: Final = Limit(FAILED_LOGINS_PER_SECOND, FAILED_LOGINS_BURST)
"""Always on. ``look`` before a secret is compared, ``take`` if it was wrong."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bucket says.

    ``remaining``: whole tokens that are left; ``retry_after_seconds``: until as many as were wanted
    are there, 0 if they were; ``reset_seconds``: until it is full again.
    """

    allowed: bool
    remaining: int
    retry_after_seconds: float
    reset_seconds: float

    @classmethod
    def of(cls, limit: Limit, cost: int, until_full: int, *, allowed: bool) -> Self:
        """The verdict on what costs ``cost``; a bucket is full in ``until_full`` microseconds."""
        level = limit.capacity_microseconds - until_full
        return cls(
            allowed,
            level // limit.token_microseconds,
            0.0 if allowed else (cost - level) / MICROSECONDS,
            until_full / MICROSECONDS,
        )


class RateLimits(Protocol):
    """Buckets by their names, each full at first. Shared by threads; never fails."""

    def take(self, name: str, limit: Limit, tokens: int = 1) -> Verdict:
        """Take ``tokens`` out of a bucket: all, or none if there are fewer. See ``Limit.cost``."""
        ...

    def look(self, name: str, limit: Limit) -> Verdict:
        """What ``take`` would say of one token; nothing is taken."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


def monotonic_microseconds() -> int:
    """A clock that nobody sets back."""
    return time.monotonic_ns() // 1000


class LocalRateLimits:
    """The buckets of this process, at most MAX_LOCAL_BUCKETS. ``clock`` counts microseconds.

    With no place left those are forgotten first that are full, then those that will be the soonest.
    """

    def __init__(self, clock: Callable[[], int] = monotonic_microseconds) -> None:
        self._clock = clock
        self._full_at: dict[str, int] = {}
        self._changing = threading.Lock()

    def take(self, name: str, limit: Limit, tokens: int = 1) -> Verdict:
        """See ``RateLimits``."""
        cost = limit.cost(tokens)
        return self._ask(name, limit, cost, cost)

    def look(self, name: str, limit: Limit) -> Verdict:
        """See ``RateLimits``."""
        return self._ask(name, limit, limit.cost(1), 0)

    def close(self) -> None:
        """Nothing to let go of."""

    def _ask(self, name: str, limit: Limit, cost: int, taken: int) -> Verdict:
        """Take ``taken`` if the bucket holds ``cost``. What the script on Redis does, line by line.

        A bucket is never emptier than empty, whatever another limit has taken out of it.
        """
        capacity = limit.capacity_microseconds
        with self._changing:
            now = self._clock()
            until_full = min(max(self._full_at.get(name, now) - now, 0), capacity)
            allowed = until_full + cost <= capacity
            if allowed and taken:
                until_full += taken
                if len(self._full_at) >= MAX_LOCAL_BUCKETS and name not in self._full_at:
                    self._make_room()
                self._full_at[name] = now + until_full
        return Verdict.of(limit, cost, until_full, allowed=allowed)

    def _make_room(self) -> None:
        latest = sorted(self._full_at.items(), key=itemgetter(1), reverse=True)
        self._full_at = dict(latest[: MAX_LOCAL_BUCKETS - MAX_LOCAL_BUCKETS // FORGOTTEN_SHARE])


def open_rate_limits(settings: Settings) -> RateLimits:
    """Buckets on Redis for all processes if there is one, otherwise those of this process.

    Call it after fork. Raises ValueError for a URL that cannot be used.
    """
    if settings.redis_url is None:
        return LocalRateLimits()
    from RestAPI.redis_rate_limits import RedisRateLimits  # noqa: PLC0415 - only if it is used

    return RedisRateLimits(settings.redis_url.get_secret_value())


def rate_limit_headers(limit: Limit, verdict: Verdict) -> list[tuple[str, str]]:
    """What an answer says of a limit, in seconds rounded up; ``Retry-After`` only if it refuses.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06
    """
    headers = [
        ("RateLimit-Limit", str(limit.burst)),
        ("RateLimit-Remaining", str(verdict.remaining)),
        ("RateLimit-Reset", str(math.ceil(verdict.reset_seconds))),
        ("RateLimit-Policy", _policy(limit)),
    ]
    if not verdict.allowed:
        headers.append(("Retry-After", str(retry_after(verdict))))
    return headers


def retry_after(verdict: Verdict) -> int:
    """Whole seconds after which a request that was refused may be tried again."""
    return max(MIN_RETRY_AFTER_SECONDS, math.ceil(verdict.retry_after_seconds))


def too_many_requests(limit: Limit, verdict: Verdict) -> TooManyRequests:
    """The problem that answers a request which ``verdict`` does not allow."""
    return TooManyRequests(
        f"This was asked too often: {limit.per_second:g} times a second, and {limit.burst} at "
        f"once, are allowed. Wait for {retry_after(verdict)} s; nothing was done.",
        headers=rate_limit_headers(limit, verdict),
    )


@functools.lru_cache(maxsize=64)
def _policy(limit: Limit) -> str:
    """The rate as a quota in a window of whole seconds, the shortest one that says it.

    >>> _policy(Limit(2.5, burst=5))
    '5;w=2;burst=5'
    """
    rate = Fraction(limit.per_second).limit_denominator(MAX_REFILL_SECONDS)
    return f"{rate.numerator};w={rate.denominator};burst={limit.burst}"
