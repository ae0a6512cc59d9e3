"""Token buckets, in this process and on a real Redis, against a model that only counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from redis import Redis

from RestAPI.problems import problem_response
from RestAPI.rate_limits import (
    FAILED_LOGINS,
    FORGOTTEN_SHARE,
    MAX_LOCAL_BUCKETS,
    MAX_REFILL_SECONDS,
    Limit,
    LocalRateLimits,
    RateLimits,
    Verdict,
    open_rate_limits,
    rate_limit_headers,
    retry_after,
    too_many_requests,
)
from RestAPI.redis_rate_limits import RedisRateLimits
from RestAPI.tests.limit_model import NEVER_AGAIN, Clock, agrees, scripts, skipped
from testkit.waiting import eventually
from WalletCore.settings import MAX_RATE_PER_SECOND, MIN_RATE_PER_SECOND, Settings

LOCAL_LIMIT_SECONDS: Final = 100e-6
"""``take`` takes some 3 us in this process; the machine of a test run is shared."""


@given(scripts(MIN_RATE_PER_SECOND, MAX_RATE_PER_SECOND))
def test_the_local_buckets_do_what_the_model_does(script: tuple[Limit, list[Any]]) -> None:
    clock = Clock()
    agrees(LocalRateLimits(clock), clock, *script)


@pytest.fixture(params=["local", "redis"])
def limits(request: pytest.FixtureRequest) -> Iterator[RateLimits]:
    """Both kinds, with a real clock and no buckets yet."""
    if request.param == "local":
        yield LocalRateLimits()
        return
    url: str = request.getfixturevalue("redis_url")
    with Redis.from_url(url) as client:
        client.flushdb()
    buckets = RedisRateLimits(url)
    yield buckets
    buckets.close()


# -- Both kinds --------------------------------------------------------------------------------


def test_a_burst_passes_and_the_next_one_waits(limits: RateLimits) -> None:
    limit = Limit(20, 5)
    passed = 0
    while (asked := time.monotonic()) and (refused := limits.take("a", limit)).allowed:
        assert refused.retry_after_seconds == 0
        passed += 1
    assert passed >= 5
    assert refused.remaining == 0
    assert 0 < refused.retry_after_seconds <= 0.05
    assert 0.2 < refused.reset_seconds <= 0.25
    assert limits.take("b", limit).remaining == 4
    eventually(lambda: limits.take("a", limit).allowed, "the next token")
    # Redis has a clock of its own, which may run a little faster.
    assert time.monotonic() - asked > refused.retry_after_seconds - 0.001


def test_looking_takes_nothing(limits: RateLimits) -> None:
    for _ in range(10):
        assert limits.look("a", NEVER_AGAIN) == Verdict(True, 5, 0.0, 0.0)
    for _ in range(5):
        assert limits.take("a", NEVER_AGAIN).allowed
    for _ in range(3):
        verdict = limits.look("a", NEVER_AGAIN)
        assert (verdict.allowed, verdict.remaining) == (False, 0)
        assert verdict.retry_after_seconds == pytest.approx(1000, abs=60)


def test_all_tokens_or_none(limits: RateLimits) -> None:
    assert limits.take("a", NEVER_AGAIN, 3).remaining == 2
    assert not limits.take("a", NEVER_AGAIN, 3).allowed
    assert limits.take("a", NEVER_AGAIN, 2).remaining == 0


def test_more_than_there_ever_is_counts_as_all_of_it(limits: RateLimits) -> None:
    assert limits.take("a", NEVER_AGAIN, 10_000).remaining == 0
    refused = limits.take("a", NEVER_AGAIN, 10_000)
    assert not refused.allowed
    assert refused.retry_after_seconds == pytest.approx(5000, abs=60)


@pytest.mark.parametrize("tokens", [0, -1])
def test_nothing_can_be_given_back(limits: RateLimits, tokens: int) -> None:
    with pytest.raises(ValueError, match="no taking of"):
        limits.take("a", NEVER_AGAIN, tokens)


def test_another_limit_finds_a_bucket_that_is_at_most_empty(limits: RateLimits) -> None:
    """As after a restart with other settings: nobody has to wait for hours that are over."""
    for _ in range(5):
        limits.take("a", NEVER_AGAIN)
    refused = limits.take("a", Limit(100, 10))
    assert not refused.allowed
    assert refused.retry_after_seconds <= 0.01
    assert refused.reset_seconds <= 0.1


def test_threads_never_share_a_token(limits: RateLimits) -> None:
    limit = Limit(1 / 100, 200)
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda _: limits.take("a", limit), range(400)))
    assert sum(verdict.allowed for verdict in verdicts) == 200


@pytest.mark.parametrize("name", ["", "a b", "a'b\"c", "\xff\n", "\ud800", "{a}" * 100])
def test_any_name_is_a_bucket_of_its_own(limits: RateLimits, name: str) -> None:
    before = skipped()
    limits.take(name, NEVER_AGAIN)
    assert limits.take(name, NEVER_AGAIN).remaining == 3
    assert limits.take(name + "x", NEVER_AGAIN).remaining == 4
    assert skipped() == before


# -- In this process ---------------------------------------------------------------------------


class SlowName(str):
    """Lets other threads run whenever it is looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0.0005)
        return super().__hash__()


def test_between_a_look_at_a_local_bucket_and_its_change_comes_nobody() -> None:
    buckets = LocalRateLimits()
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(
            pool.map(lambda _: buckets.take(SlowName("a"), Limit(0.001, 20)), range(40))
        )
    assert sum(verdict.allowed for verdict in verdicts) == 20


def test_buckets_are_bounded_and_the_full_ones_go_first() -> None:
    clock = Clock()
    buckets = LocalRateLimits(clock)
    quick, slow = Limit(1000, 5), Limit(1 / 100, 5)
    spared = MAX_LOCAL_BUCKETS - MAX_LOCAL_BUCKETS // FORGOTTEN_SHARE
    for number in range(spared):
        buckets.take(f"slow{number}", slow)
    for number in range(spared, MAX_LOCAL_BUCKETS):
        buckets.take(f"quick{number}", quick)
    assert len(buckets._full_at) == MAX_LOCAL_BUCKETS
    # Who is there already needs no place.
    buckets.take("slow0", slow)
    assert len(buckets._full_at) == MAX_LOCAL_BUCKETS
    clock.microseconds += quick.token_microseconds
    buckets.take("new", slow)
    assert len(buckets._full_at) == spared + 1
    assert buckets.look("slow0", slow).remaining == 3
    assert all(buckets.look(f"slow{number}", slow).remaining == 4 for number in range(1, spared))


def test_with_none_full_those_go_that_would_be_the_soonest() -> None:
    clock = Clock()
    buckets = LocalRateLimits(clock)
    slow, forgotten = Limit(1 / 100, 5), MAX_LOCAL_BUCKETS // FORGOTTEN_SHARE
    for number in range(MAX_LOCAL_BUCKETS):
        clock.microseconds += 1
        buckets.take(f"{number}", slow)
    buckets.take("new", slow)
    assert len(buckets._full_at) == MAX_LOCAL_BUCKETS - forgotten + 1
    assert buckets.look(f"{forgotten - 1}", slow).remaining == 5
    assert buckets.look(f"{forgotten}", slow).remaining == 4
    assert buckets.look("new", slow).remaining == 4


def test_the_local_buckets_cost_next_to_nothing() -> None:
    buckets = LocalRateLimits()
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            buckets.take("a", NEVER_AGAIN)
        times.append((time.perf_counter() - started) / 100)
    assert min(times) < LOCAL_LIMIT_SECONDS


# -- Limits and what is said of them -----------------------------------------------------------


@pytest.mark.parametrize(
    ("per_second", "burst"),
    [
        (MIN_RATE_PER_SECOND, 1),
        (MAX_RATE_PER_SECOND, 1),
        (1, MAX_REFILL_SECONDS),
        (0.2, 20),
    ],
)
def test_limits_at_their_edges(per_second: float, burst: int) -> None:
    assert Limit(per_second, burst).burst == burst


@pytest.mark.parametrize(
    ("per_second", "burst"),
    [
        (0, 1),
        (-1, 1),
        (float("nan"), 1),
        (float("inf"), 1),
        (MIN_RATE_PER_SECOND * 0.99, 1),
        (MAX_RATE_PER_SECOND + 1, 1),
        (1, 0),
        (1, -1),
        (1, MAX_REFILL_SECONDS + 1),
    ],
)
def test_limits_beyond_them(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        Limit(per_second, burst)


@given(st.floats(MIN_RATE_PER_SECOND, MAX_RATE_PER_SECOND))
def test_rounding_to_microseconds_changes_no_rate_by_much(per_second: float) -> None:
    kept = 1_000_000 / Limit(per_second, 1).token_microseconds
    assert kept == pytest.approx(per_second, rel=0.00503)


@pytest.mark.parametrize(
    ("per_second", "seconds", "burst"),
    [(10, 2, 20), (10, 0, 1), (0.4, 2, 1), (0.6, 2, 2), (2.5, 1, 3), (10_000, 3600, 36_000_000)],
)
def test_a_bucket_lasts_for_some_seconds(per_second: float, seconds: float, burst: int) -> None:
    assert Limit.lasting(per_second, seconds) == Limit(per_second, burst)


def test_no_rate_is_no_limit() -> None:
    assert Limit.lasting(0, 2) is None


@given(
    rate=st.one_of(st.just(0.0), st.floats(MIN_RATE_PER_SECOND, MAX_RATE_PER_SECOND)),
    seconds=st.floats(0, 3600),
)
def test_every_setting_makes_a_limit(rate: float, seconds: float) -> None:
    given = Settings(rate_limit_per_key=rate, rate_limit_burst_seconds=seconds)
    limit = Limit.lasting(given.rate_limit_per_key, given.rate_limit_burst_seconds)
    assert (limit is None) is (rate == 0)


@pytest.mark.parametrize("name", ["rate_limit_per_key", "rate_limit_per_address"])
@pytest.mark.parametrize(
    "value", [-1, MIN_RATE_PER_SECOND / 2, MAX_RATE_PER_SECOND + 1, "nan", "inf", "many"]
)
def test_settings_that_are_no_rate_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_by_default_only_failed_logins_are_limited() -> None:
    given = Settings()
    assert (given.rate_limit_per_key, given.rate_limit_per_address) == (0, 0)
    assert given.rate_limit_burst_seconds == 2
    limits = LocalRateLimits(clock := Clock())
    assert all(limits.take("a", FAILED_LOGINS).allowed for _ in range(20))
    refused = limits.take("a", FAILED_LOGINS)
    assert (refused.allowed, refused.retry_after_seconds) == (False, 5)
    clock.microseconds += 3600 * 1_000_000
    assert limits.take("a", FAILED_LOGINS).remaining == 19


def test_redis_is_used_if_there_is_one(redis_url: str) -> None:
    with_redis = open_rate_limits(Settings(redis_url=SecretStr(redis_url)))
    assert isinstance(with_redis, RedisRateLimits)
    with_redis.close()
    without = open_rate_limits(Settings(redis_url=None))
    assert isinstance(without, LocalRateLimits)
    without.close()
    with pytest.raises(ValueError, match="Redis URL must specify"):
        open_rate_limits(Settings(redis_url=SecretStr("nonsense")))


@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        (Limit(10, 20), "10;w=1;burst=20"),
        (Limit(0.2, 20), "1;w=5;burst=20"),
        (Limit(2.5, 5), "5;w=2;burst=5"),
        (Limit(0.001, 1), "1;w=1000;burst=1"),
        (Limit(1 / 3, 1), "1;w=3;burst=1"),
    ],
)
def test_headers_of_a_request_that_passes(limit: Limit, policy: str) -> None:
    verdict = LocalRateLimits(Clock()).take("a", limit)
    assert dict(rate_limit_headers(limit, verdict)) == {
        "RateLimit-Limit": str(limit.burst),
        "RateLimit-Remaining": str(limit.burst - 1),
        "RateLimit-Reset": str(-(-limit.token_microseconds // 1_000_000)),
        "RateLimit-Policy": policy,
    }


def test_the_answer_to_a_request_too_many() -> None:
    limit = Limit(0.4, 2)
    limits = LocalRateLimits(clock := Clock())
    limits.take("a", limit, 2)
    clock.microseconds += 1
    verdict = limits.take("a", limit)
    response = problem_response(too_many_requests(limit, verdict))
    document = response.get_json()
    assert (response.status_code, document["code"]) == (429, "rate_limited")
    assert "0.4 times a second" in document["detail"]
    assert "Wait for 3 s" in document["detail"]
    found = {name: value for name, value in response.headers if name.startswith("R")}
    assert found == {
        "Retry-After": "3",
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "5",
        "RateLimit-Policy": "2;w=5;burst=2",
    }


@pytest.mark.parametrize(("wait", "said"), [(1e-6, 1), (1.0, 1), (1.000001, 2), (86_400.0, 86_400)])
def test_nobody_is_told_to_come_too_early(wait: float, said: int) -> None:
    assert retry_after(Verdict(False, 0, wait, wait)) == said
