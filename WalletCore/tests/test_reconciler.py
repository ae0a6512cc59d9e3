"""What was passed on and never recorded is found, when it is old enough, and not too often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from testkit.following import FakeSink, Following, log_ids
from testkit.waiting import eventually
from WalletCore.postgres import reconciler as module
from WalletCore.postgres.connect import connection_info, read_engine
from WalletCore.postgres.event_log import snapshot
from WalletCore.postgres.reconciler import MAX_BACKOFF_SECONDS, Reconciler

AGE_SECONDS = 60.0


class Clock:
    """Stands for the module ``time`` there."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def connection(fresh_postgres_url: str) -> Iterator[Connection]:
    engine = read_engine(fresh_postgres_url)
    # There is a place once a follower was there.
    with Following(fresh_postgres_url, FakeSink()), engine.connect() as found:
        eventually(
            lambda: found.exec_driver_sql("SELECT count(*) FROM coffer.followers").scalar(), "place"
        )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def write(url: str, count: int) -> None:
    with psycopg.connect(connection_info(url)) as writing:
        writing.execute(
            "INSERT INTO coffer.events (id, type, body, created_at) "
            "SELECT id, 'test', 'b', now() FROM unnest(%s::uuid[]) AS v(id)",
            ([str(uuid7()) for _ in range(count)],),
        )


def record(url: str, ids: list[str]) -> None:
    with psycopg.connect(connection_info(url)) as writing:
        writing.execute(
            "INSERT INTO notifications.inbox (event_id) SELECT * FROM unnest(%s::uuid[])", (ids,)
        )


def missing(reconciler: Reconciler, connection: Connection) -> list[str]:
    return [str(event.id) for event in reconciler.missing(connection)]


def test_only_what_is_old_enough_and_not_recorded_is_missing(
    fresh_postgres_url: str, connection: Connection, clock: Clock
) -> None:
    url, reconciler = fresh_postgres_url, Reconciler("test", AGE_SECONDS)
    write(url, 5)
    first = log_ids(url)
    record(url, first[:3])
    reconciler.sample(snapshot(connection))
    assert missing(reconciler, connection) == []
    clock.now += AGE_SECONDS - 0.1
    write(url, 2)
    reconciler.sample(snapshot(connection))
    assert missing(reconciler, connection) == []
    clock.now += 0.1
    assert missing(reconciler, connection) == first[3:]
    # One that is never recorded keeps nothing else from being found.
    clock.now += AGE_SECONDS - 0.1
    assert missing(reconciler, connection) == log_ids(url)[5:]
    assert reconciler.pending() == 4
    # What is recorded by the time that it would be passed on again is forgotten.
    record(url, log_ids(url)[3:])
    clock.now += MAX_BACKOFF_SECONDS
    assert missing(reconciler, connection) == []
    assert reconciler.pending() == 0


def test_each_event_waits_twice_as_long_for_the_next_time(
    fresh_postgres_url: str, connection: Connection, clock: Clock
) -> None:
    url, reconciler = fresh_postgres_url, Reconciler("test", AGE_SECONDS)
    write(url, 1)
    reconciler.sample(snapshot(connection))
    clock.now += AGE_SECONDS
    pause, times = AGE_SECONDS, 0
    assert len(missing(reconciler, connection)) == 1
    while pause < MAX_BACKOFF_SECONDS:
        clock.now += pause - 0.1
        assert missing(reconciler, connection) == []
        clock.now += 0.1
        assert len(missing(reconciler, connection)) == 1
        pause, times = min(pause * 2, MAX_BACKOFF_SECONDS), times + 1
    assert times == 6
    clock.now += MAX_BACKOFF_SECONDS
    assert len(missing(reconciler, connection)) == 1


def test_the_rate_is_limited(
    fresh_postgres_url: str,
    connection: Connection,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RESEND_EVENTS", 10)
    monkeypatch.setattr(module, "SLICE_POSITIONS", 4)
    url, reconciler = fresh_postgres_url, Reconciler("test", AGE_SECONDS)
    write(url, 25)
    reconciler.sample(snapshot(connection))
    clock.now += AGE_SECONDS
    found = []
    for _ in range(3):
        part = missing(reconciler, connection)
        assert len(part) <= 10
        record(url, part)
        found += part
    assert found == log_ids(url)
    assert missing(reconciler, connection) == []


def test_what_is_recorded_is_not_compared_again_by_the_next_one(
    fresh_postgres_url: str, connection: Connection, clock: Clock
) -> None:
    url = fresh_postgres_url
    write(url, 3)
    record(url, log_ids(url))
    reconciler = Reconciler("test", AGE_SECONDS)
    reconciler.sample(until := snapshot(connection))
    clock.now += AGE_SECONDS
    assert missing(reconciler, connection) == []
    kept: Any = connection.exec_driver_sql("SELECT recorded FROM coffer.followers").scalar()
    assert kept == until
    write(url, 2)
    again = Reconciler("test", AGE_SECONDS)
    again.sample(snapshot(connection))
    clock.now += AGE_SECONDS
    assert missing(again, connection) == log_ids(url)[3:]


def test_samples_are_bounded(
    fresh_postgres_url: str,
    connection: Connection,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLES", 8)
    url, reconciler = fresh_postgres_url, Reconciler("test", AGE_SECONDS)
    for _ in range(40):
        clock.now += module.SAMPLE_INTERVAL_SECONDS
        write(url, 1)
        reconciler.sample(snapshot(connection))
    assert len(reconciler._samples) <= 8
    clock.now += AGE_SECONDS
    found: list[str] = []
    while part := missing(reconciler, connection):
        record(url, part)
        found += part
    assert found == log_ids(url)


def test_the_place_that_is_kept_is_before_all_that_is_pending(
    fresh_postgres_url: str, connection: Connection, clock: Clock
) -> None:
    url, reconciler = fresh_postgres_url, Reconciler("test", AGE_SECONDS)
    write(url, 1)
    record(url, log_ids(url))
    reconciler.sample(first := snapshot(connection))
    clock.now += AGE_SECONDS
    write(url, 1)
    reconciler.sample(snapshot(connection))
    clock.now += AGE_SECONDS
    lost = log_ids(url)[1:]
    assert missing(reconciler, connection) == lost
    for _ in range(3):
        write(url, 1)
        record(url, log_ids(url)[-1:])
        reconciler.sample(snapshot(connection))
        clock.now += AGE_SECONDS
        missing(reconciler, connection)
    assert connection.exec_driver_sql("SELECT recorded FROM coffer.followers").scalar() == first
    # The next leader finds it again.
    again = Reconciler("test", AGE_SECONDS)
    again.sample(snapshot(connection))
    clock.now += AGE_SECONDS
    assert missing(again, connection) == lost


def test_what_is_pending_is_bounded(
    fresh_postgres_url: str,
    connection: Connection,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING_EVENTS", 5)
    url, reconciler = fresh_postgres_url, Reconciler("test", AGE_SECONDS)
    for count in (4, 1, 3):
        write(url, count)
        reconciler.sample(snapshot(connection))
        clock.now += module.SAMPLE_INTERVAL_SECONDS
    clock.now += AGE_SECONDS
    assert missing(reconciler, connection) == log_ids(url)[:5]
    record(url, log_ids(url)[:1])
    clock.now += MAX_BACKOFF_SECONDS
    missing(reconciler, connection)
    clock.now += MAX_BACKOFF_SECONDS
    assert set(log_ids(url)[5:]) <= set(missing(reconciler, connection))
