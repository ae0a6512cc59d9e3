"""The balance cache on a real Redis, which is killed, stopped, flushed and cut off under load."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from redis import Redis
from uuid_utils.compat import uuid7

from testkit.ledgers import audit, deposit, new_wallet, postgres_store
from testkit.proxy import Proxy
from testkit.services import PrivateRedis
from testkit.waiting import eventually
from WalletCore import cache as cache_module
from WalletCore.cache import UNDELETED_WAIT_SECONDS, BalanceCache
from WalletCore.domain.model import Document
from WalletCore.postgres.store import PostgresStore

READERS: Final = 3
WRITERS: Final = 2
ROUNDS_PER_FAULT: Final = 15
QUICKLY_SECONDS: Final = 1.0


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture
def cache(redis: PrivateRedis) -> Iterator[BalanceCache]:
    cache = BalanceCache(redis.url)
    yield cache
    cache.close()


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


def keys_in(redis: PrivateRedis) -> list[bytes]:
    with Redis.from_url(redis.url) as client:
        return sorted(client.keys("*"))


class Source:
    """What is loaded on a miss; counts how often."""

    def __init__(self) -> None:
        self.version = 1
        self.loads = 0

    def load(self) -> Document:
        self.loads += 1
        return {"version": self.version}


# -- One step at a time ------------------------------------------------------------------------


def test_a_balance_is_loaded_once_and_forgotten_at_a_write(
    cache: BalanceCache, redis: PrivateRedis
) -> None:
    wallet_id, source = uuid7(), Source()
    for _ in range(3):
        assert cache.read(wallet_id, source.load) == {"version": 1}
    assert source.loads == 1
    source.version = 2
    assert cache.forget({wallet_id, uuid7()}) == 0.0
    assert keys_in(redis) == []
    assert cache.read(wallet_id, source.load) == {"version": 2}
    assert source.loads == 2


def test_everything_in_redis_expires(cache: BalanceCache, redis: PrivateRedis) -> None:
    wallet_id = uuid7()
    seen: list[int] = []
    with Redis.from_url(redis.url) as client:

        def load() -> Document:
            seen.append(client.pttl(keys_in(redis)[0]))
            return {}

        cache.read(wallet_id, load)
        seen.append(client.pttl(keys_in(redis)[0]))
    lease, value = seen
    assert 0 < lease <= cache_module.LEASE_TTL_MILLISECONDS
    assert 0 < value <= cache_module.VALUE_TTL_MILLISECONDS
    assert lease + value < UNDELETED_WAIT_SECONDS * 1000


def test_what_was_read_before_a_write_is_not_cached_after_it(
    cache: BalanceCache, redis: PrivateRedis
) -> None:
    wallet_id, source = uuid7(), Source()

    def load_slowly() -> Document:
        document = source.load()
        source.version = 2
        cache.forget({wallet_id})
        return document

    # The reader may still show what it read: the write was not acknowledged when it began.
    assert cache.read(wallet_id, load_slowly) == {"version": 1}
    assert keys_in(redis) == []
    assert cache.read(wallet_id, source.load) == {"version": 2}


def test_only_the_holder_of_the_lease_fills(cache: BalanceCache) -> None:
    wallet_id, source = uuid7(), Source()

    def load_beside_another() -> Document:
        assert cache.read(wallet_id, lambda: {"version": "not kept"}) == {"version": "not kept"}
        return source.load()

    cache.read(wallet_id, load_beside_another)
    assert cache.read(wallet_id, source.load) == {"version": 1}
    assert source.loads == 1


def test_a_lease_that_expired_fills_nothing(
    cache: BalanceCache, redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LEASE_TTL_MILLISECONDS", 20)
    wallet_id, source = uuid7(), Source()

    def load_too_slowly() -> Document:
        eventually(lambda: keys_in(redis) == [], "the end of the lease")
        return source.load()

    cache.read(wallet_id, load_too_slowly)
    assert keys_in(redis) == []


def test_an_error_of_the_load_comes_through_and_is_not_cached(cache: BalanceCache) -> None:
    wallet_id, source = uuid7(), Source()

    def fail() -> Document:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.read(wallet_id, fail)
    assert cache.read(wallet_id, source.load) == {"version": 1}


# -- Without Redis -----------------------------------------------------------------------------


def test_a_redis_that_was_killed_costs_nothing_and_is_used_again(
    cache: BalanceCache, redis: PrivateRedis
) -> None:
    wallet_id, source = uuid7(), Source()
    cache.read(wallet_id, source.load)
    redis.kill()
    started = time.monotonic()
    for version in range(2, 6):
        source.version = version
        assert cache.forget({wallet_id}) == 0.0
        assert cache.read(wallet_id, source.load) == {"version": version}
    assert time.monotonic() - started < QUICKLY_SECONDS
    redis.start()

    def hits() -> bool:
        before = source.loads
        assert cache.read(wallet_id, source.load) == {"version": 5}
        return source.loads == before

    eventually(hits, "a hit after the restart")


def test_what_a_redis_brings_back_from_its_file_is_never_shown() -> None:
    with PrivateRedis(["--appendonly", "yes", "--appendfsync", "always"]) as redis:
        cache = BalanceCache(redis.url)
        wallet_id, source = uuid7(), Source()
        cache.read(wallet_id, source.load)
        before = keys_in(redis)
        assert len(before) == 1
        redis.kill()
        source.version = 2
        assert cache.forget({wallet_id}) == 0.0  # acknowledged while Redis is dead
        redis.start()
        assert keys_in(redis) == before
        for _ in range(3):
            assert cache.read(wallet_id, source.load) == {"version": 2}
        # Another process that never saw the first Redis finds the same.
        another = BalanceCache(redis.url)
        assert another.read(wallet_id, source.load) == {"version": 2}
        another.close()
        cache.close()


def test_a_redis_that_hangs_makes_answers_wait_and_reads_go_past_it(
    cache: BalanceCache, redis: PrivateRedis
) -> None:
    wallet_id, source = uuid7(), Source()
    cache.read(wallet_id, source.load)
    with stopped(redis):
        started = time.monotonic()
        for _ in range(3):
            assert cache.forget({wallet_id}) == UNDELETED_WAIT_SECONDS
        for version in range(2, 5):
            source.version = version
            assert cache.read(wallet_id, source.load) == {"version": version}
        assert time.monotonic() - started < QUICKLY_SECONDS
    eventually(lambda: cache.forget({wallet_id}) == 0.0, "a delete after the pause")


def test_a_process_that_is_cut_off_from_redis_holds_its_answers_back(
    redis: PrivateRedis, fresh_postgres_url: str
) -> None:
    """Another process still reads from Redis what this one could not delete."""
    with Proxy(redis.url.removeprefix("unix://").partition("?")[0]) as proxy, ExitStack() as stack:
        cut_off, other = (
            stack.enter_context(postgres_store(fresh_postgres_url, cache=BalanceCache(url)))
            for url in (f"redis://127.0.0.1:{proxy.port}/0", redis.url)
        )
        wallet_id = new_wallet(cut_off)
        assert other.balance(wallet_id)["version"] == 1
        proxy.black_hole()
        with ThreadPoolExecutor() as pool:
            sent = pool.submit(cut_off.execute, deposit(wallet_id))
            eventually(lambda: other.wallet(wallet_id)["version"] == 2, "the commit")
            assert other.balance(wallet_id)["version"] == 1  # allowed: nothing is acknowledged yet
            assert not sent.done()
            assert sent.result().status == 200
        assert other.balance(wallet_id)["version"] == 2
        # The one that is cut off reads past the cache.
        assert cut_off.balance(wallet_id)["version"] == 2
        proxy.restore()


# -- Under load --------------------------------------------------------------------------------


class Watch:
    """Writers and readers of a few wallets on two stores, which are two processes to Redis.

    A read must not be behind what had been acknowledged, to whomever, before it began.
    """

    def __init__(self, stores: list[PostgresStore]) -> None:
        self._stores = stores
        self._wallets = [new_wallet(stores[0]) for _ in range(2)]
        self._acknowledged = dict.fromkeys(self._wallets, 1)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.rounds = [0] * (READERS + WRITERS)
        self.stale: list[tuple[UUID, int, int]] = []

    def write(self, thread: int) -> None:
        while not self._ended.is_set():
            for wallet_id in self._wallets:
                outcome = self._stores[thread % 2].execute(deposit(wallet_id))
                assert outcome.status == 200
                version = orjson.loads(outcome.body)["seq"] + 1  # creation was 1
                with self._lock:
                    newest = max(version, self._acknowledged[wallet_id])
                    self._acknowledged[wallet_id] = newest
            self.rounds[thread] += 1

    def read(self, thread: int) -> None:
        while not self._ended.is_set():
            for wallet_id in self._wallets:
                before = self._acknowledged[wallet_id]
                version = self._stores[thread % 2].balance(wallet_id)["version"]
                if version < before:
                    self.stale.append((wallet_id, version, before))
            self.rounds[thread] += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(READERS + WRITERS) as pool:
            threads: list[Future[Any]] = [
                pool.submit(self.write if thread < WRITERS else self.read, thread)
                for thread in range(READERS + WRITERS)
            ]
            try:
                yield
            finally:
                self._ended.set()
            for future in threads:
                future.result()

    def go_on(self, rounds: int) -> None:
        """Return when every thread has done so many more rounds."""
        goal = [done + rounds for done in self.rounds]
        eventually(
            lambda: all(now >= then for now, then in zip(self.rounds, goal, strict=True)),
            "reads and writes",
            60,
        )


def flush(redis: PrivateRedis) -> None:
    with Redis.from_url(redis.url) as client:
        client.flushall()


FAULTS: Final[dict[str, Callable[[PrivateRedis], Any]]] = {
    "flush": flush,
    "kill": PrivateRedis.kill,
    "start": PrivateRedis.start,
    "restart": PrivateRedis.restart,
}


@pytest.mark.parametrize("options", [[], ["--appendonly", "yes"]], ids=["empty", "from a file"])
def test_no_error_and_no_stale_read_while_redis_is_killed_and_flushed(
    fresh_postgres_url: str, options: list[str]
) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(PrivateRedis(options))
        stores = [
            stack.enter_context(postgres_store(fresh_postgres_url, cache=BalanceCache(redis.url)))
            for _ in range(2)
        ]
        watch = Watch(stores)
        with watch.running():
            watch.go_on(ROUNDS_PER_FAULT)
            for fault in ("flush", "kill", "start", "restart", "flush", "restart"):
                FAULTS[fault](redis)
                watch.go_on(ROUNDS_PER_FAULT)
        assert watch.stale == []
    assert audit(fresh_postgres_url) == []


def test_no_error_and_no_stale_read_while_redis_hangs(
    redis: PrivateRedis, fresh_postgres_url: str
) -> None:
    with ExitStack() as stack:
        stores = [
            stack.enter_context(postgres_store(fresh_postgres_url, cache=BalanceCache(redis.url)))
            for _ in range(2)
        ]
        watch = Watch(stores)
        with watch.running():
            watch.go_on(ROUNDS_PER_FAULT)
            with stopped(redis):
                watch.go_on(1)
            watch.go_on(ROUNDS_PER_FAULT)
        assert watch.stale == []
    assert audit(fresh_postgres_url) == []
