"""A model of token buckets that only counts, and what the tests of both kinds share."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from RestAPI.rate_limits import Limit, RateLimits, Verdict
from WalletCore.telemetry import RATE_LIMITS_SKIPPED

NEVER_AGAIN: Final = Limit(0.001, 5)
"""Within a test no token comes."""

FIRST_MOMENT: Final = 1_800_000_000_000_000
"""Of the fake clock: as many microseconds as a clock of these years counts."""


class Clock:
    """Goes only when it is told to."""

    def __init__(self) -> None:
        self.microseconds = FIRST_MOMENT

    def __call__(self) -> int:
        return self.microseconds


class NaiveBuckets:
    """What a token bucket is: a level that rises with time, up to its brim."""

    def __init__(self) -> None:
        self.levels: dict[str, int] = {}

    def wait(self, microseconds: int) -> None:
        self.levels = {name: level + microseconds for name, level in self.levels.items()}

    def ask(self, name: str, limit: Limit, tokens: int, *, take: bool) -> Verdict:
        token = round(1_000_000 / limit.per_second)
        brim = limit.burst * token
        level = min(self.levels.get(name, brim), brim)
        wanted = min(tokens, limit.burst) * token
        allowed = level >= wanted
        if allowed and take:
            level -= wanted
        self.levels[name] = level
        wait = 0.0 if allowed else (wanted - level) / 1_000_000
        return Verdict(allowed, level // token, wait, (brim - level) / 1_000_000)


@st.composite
def scripts(draw: st.DrawFn, slowest: float, fastest: float) -> tuple[Limit, list[Any]]:
    """A limit, and what is asked of it: (pause, name, tokens, whether to take)."""
    limit = Limit(draw(st.floats(slowest, fastest)), draw(st.integers(1, 6)))
    token = limit.token_microseconds
    pauses = st.one_of(
        st.integers(0, 8).map(lambda tokens: tokens * token),
        st.integers(0, 8).map(lambda tokens: max(0, tokens * token - 1)),
        st.integers(0, 3 * token),
    )
    step = st.tuples(pauses, st.sampled_from("ab"), st.integers(1, 8), st.booleans())
    return limit, draw(st.lists(step, max_size=25))


def agrees(buckets: RateLimits, clock: Clock, limit: Limit, steps: list[Any]) -> None:
    naive = NaiveBuckets()
    for pause, name, tokens, take in steps:
        clock.microseconds += pause
        naive.wait(pause)
        expected = naive.ask(name, limit, tokens if take else 1, take=take)
        found = buckets.take(name, limit, tokens) if take else buckets.look(name, limit)
        assert found == expected


def skipped() -> float:
    """How often a limit was not looked at so far."""
    (metric,) = RATE_LIMITS_SKIPPED.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_total"))
