"""Token buckets on a real Redis that processes share; it is killed, stopped and cut off."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest
from hypothesis import given, settings
from redis import Redis

from RestAPI import redis_rate_limits
from RestAPI.rate_limits import Limit, RateLimits, Verdict
from RestAPI.redis_rate_limits import KEY_PREFIX, PAUSE_SECONDS, TAKE, RedisRateLimits
from RestAPI.tests.limit_model import NEVER_AGAIN, Clock, agrees, scripts, skipped
from testkit.proxy import Proxy
from testkit.services import PrivateRedis
from testkit.waiting import eventually
from WalletCore.settings import MIN_RATE_PER_SECOND

PATIENCE_SECONDS: Final = 1.0


class FakeTimeRedis(RedisRateLimits):
    """The script on a real Redis, with the one line that asks for the time taken out."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(url)
        asking = "redis.call('TIME')"
        assert TAKE.count(asking) == 1
        script = self._redis.register_script(TAKE.replace(asking, "{ARGV[4], ARGV[5]}"))

        def run(keys: list[str], args: list[int]) -> Any:
            return script(keys=keys, args=[*args, *divmod(clock(), 1_000_000)])

        self._script = run  # type: ignore[assignment]

    def empty(self) -> None:
        self._redis.flushdb()


@pytest.fixture(scope="module")
def fake_time(redis_url: str) -> Iterator[tuple[FakeTimeRedis, Clock]]:
    clock = Clock()
    buckets = FakeTimeRedis(redis_url, clock)
    yield buckets, clock
    buckets.empty()
    buckets.close()


# Keys expire by Redis' own clock, so no bucket may fill up in the time that the test takes.
@given(script=scripts(MIN_RATE_PER_SECOND, 0.02))
@settings(deadline=None)
def test_the_buckets_on_redis_do_what_the_model_does(
    fake_time: tuple[FakeTimeRedis, Clock], script: tuple[Limit, list[Any]]
) -> None:
    buckets, clock = fake_time
    buckets.empty()
    before = skipped()
    agrees(buckets, clock, *script)
    assert skipped() == before  # otherwise nothing was asked of Redis


# -- On Redis ----------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as redis:
        yield redis


@contextmanager
def opened(url: str) -> Iterator[RedisRateLimits]:
    limits = RedisRateLimits(url)
    try:
        yield limits
    finally:
        limits.close()


def test_processes_share_the_buckets(redis: PrivateRedis) -> None:
    with opened(redis.url) as one, opened(redis.url) as other:
        assert [one.take("a", NEVER_AGAIN).remaining for _ in range(2)] == [4, 3]
        assert [other.take("a", NEVER_AGAIN).remaining for _ in range(2)] == [2, 1]
        assert one.take("a", NEVER_AGAIN).remaining == 0
        assert not other.take("a", NEVER_AGAIN).allowed
        assert not one.look("a", NEVER_AGAIN).allowed


def test_a_bucket_is_forgotten_when_it_is_full(redis: PrivateRedis) -> None:
    limit = Limit(20, 5)
    with opened(redis.url) as limits, Redis.from_url(redis.url) as client:
        limits.look("a", limit)
        assert client.keys("*") == []  # a full bucket is none
        for taken in range(1, 4):
            limits.take("a", limit)
            assert client.keys("*") == [KEY_PREFIX.encode() + b"a"]
            assert 0 < client.pttl(KEY_PREFIX + "a") <= taken * 50 + 1
        eventually(lambda: client.keys("*") == [], "the end of the key")
        assert limits.take("a", limit).remaining == 4


def test_a_key_never_expires_before_its_bucket_is_full(redis: PrivateRedis) -> None:
    with opened(redis.url) as limits, Redis.from_url(redis.url) as client:
        for number in range(200):
            name = f"{number}"
            limits.take(name, NEVER_AGAIN)
            full_at_milliseconds = int(client.get(KEY_PREFIX + name) or 0) / 1000
            assert client.pexpiretime(KEY_PREFIX + name) >= full_at_milliseconds


def commands(client: Redis) -> dict[str, int]:
    """How often Redis was asked what so far."""
    stats: dict[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}


def test_looking_writes_nothing(redis: PrivateRedis) -> None:
    with opened(redis.url) as limits, Redis.from_url(redis.url) as client:
        limits.take("a", NEVER_AGAIN)
        before = commands(client)["set"]
        for name in ("a", "b"):
            limits.look(name, NEVER_AGAIN)
        assert commands(client)["set"] == before


def test_one_round_trip_also_after_redis_has_forgotten_the_script(redis: PrivateRedis) -> None:
    with opened(redis.url) as limits, Redis.from_url(redis.url) as client:
        limits.take("a", NEVER_AGAIN)
        before = commands(client)
        for _ in range(10):
            limits.take("a", NEVER_AGAIN)
        after = commands(client)
        changed = {
            name: calls - before.get(name, 0)
            for name, calls in after.items()
            if calls != before.get(name, 0) and name != "info"
        }
        # All but evalsha are called by the script, in Redis.
        assert set(changed) <= {"evalsha", "time", "get", "set"}
        assert changed["evalsha"] == 10
        client.script_flush()
        missed = skipped()
        assert not limits.take("a", NEVER_AGAIN).allowed
        assert skipped() == missed


# -- Without Redis -----------------------------------------------------------------------------


@contextmanager
def stopped(redis: PrivateRedis) -> Iterator[None]:
    """A Redis that takes connections and says nothing: the kind of failure that times out."""
    with Redis.from_url(redis.url) as client:
        process_id = int(client.info("server")["process_id"])
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


def empty_bucket(limits: RateLimits) -> None:
    for _ in range(NEVER_AGAIN.burst):
        assert limits.take("a", NEVER_AGAIN).allowed
    assert not limits.take("a", NEVER_AGAIN).allowed


def limited_again(limits: RateLimits) -> Callable[[], bool]:
    return lambda: not limits.take("a", NEVER_AGAIN).allowed


def test_a_dead_redis_lets_everything_through_and_is_used_again(redis: PrivateRedis) -> None:
    with opened(redis.url) as limits:
        empty_bucket(limits)
        redis.kill()
        before = skipped()
        for _ in range(100):
            assert limits.take("a", NEVER_AGAIN) == Verdict(True, 5, 0.0, 0.0)
            assert limits.look("a", NEVER_AGAIN).allowed
        assert skipped() == before + 200
        redis.start()
        eventually(limited_again(limits), "a limit after the restart")
        after = skipped()
        assert not limits.take("a", NEVER_AGAIN).allowed
        assert skipped() == after


def test_a_redis_that_hangs_costs_one_time_out_a_pause(
    redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_rate_limits, "PAUSE_SECONDS", 3600.0)
    with opened(redis.url) as limits:
        empty_bucket(limits)
        with stopped(redis):
            started = time.monotonic()
            for _ in range(1000):
                assert limits.take("a", NEVER_AGAIN).allowed
            assert time.monotonic() - started < PATIENCE_SECONDS  # 100 s if each waited
        # It answers again, and is still not asked.
        assert limits.take("a", NEVER_AGAIN).allowed
        limits._paused_until = time.monotonic() - 1
        assert not limits.take("a", NEVER_AGAIN).allowed
        assert limits._paused_until == 0


def test_after_a_pause_one_thread_asks_for_all(
    redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(redis.url) as limits:
        empty_bucket(limits)
        asked: list[int] = []
        hanging, answer = threading.Event(), threading.Event()
        script: Any = limits._script

        def slowly(**given: Any) -> Any:
            asked.append(threading.get_ident())
            hanging.set()
            assert answer.wait(10)
            return script(**given)

        monkeypatch.setattr(limits, "_script", slowly)
        limits._paused_until = time.monotonic() - PAUSE_SECONDS
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(limits.take, "a", NEVER_AGAIN)
            assert hanging.wait(10)
            for _ in range(20):
                assert limits.take("a", NEVER_AGAIN).allowed  # at once, unlimited
            assert len(asked) == 1
            answer.set()
            assert not first.result(10).allowed
        assert not limits.take("a", NEVER_AGAIN).allowed


def test_a_network_that_swallows_everything_costs_one_time_out(redis: PrivateRedis) -> None:
    path = redis.url.removeprefix("unix://").partition("?")[0]
    with Proxy(path) as proxy, ExitStack() as stack:
        limits = stack.enter_context(opened(f"redis://127.0.0.1:{proxy.port}/0"))
        empty_bucket(limits)
        proxy.black_hole()
        started = time.monotonic()
        for _ in range(100):
            assert limits.take("a", NEVER_AGAIN).allowed
        assert time.monotonic() - started < PATIENCE_SECONDS
        proxy.restore()
        eventually(limited_again(limits), "a limit after the cut")


def test_a_bucket_that_another_has_broken_limits_nobody(redis: PrivateRedis) -> None:
    with opened(redis.url) as limits, Redis.from_url(redis.url) as client:
        client.set(KEY_PREFIX + "a", "nonsense")
        assert limits.take("a", NEVER_AGAIN).remaining == 4
        client.delete(KEY_PREFIX + "a")
        client.lpush(KEY_PREFIX + "a", "no string")
        before = skipped()
        assert limits.take("a", NEVER_AGAIN).allowed
        assert skipped() == before + 1
