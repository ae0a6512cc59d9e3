from __future__ import annotations

from datetime import datetime

import psycopg
import pytest

from benchmarks import event_log
from benchmarks.programs import CannotMeasure
from testkit.ledgers import audit, new_wallet, postgres_store

EVENTS = 100
"""Of one transaction, so that all have the same created_at."""

RECORD_LATER = """
INSERT INTO notifications.inbox (event_id, recorded_at)
SELECT id, created_at + make_interval(secs => place / 1000.0)
FROM (SELECT id, created_at, row_number() OVER (ORDER BY position) AS place FROM coffer.events
    WHERE type = 'coffer.operation.completed') e WHERE place <= %s
"""
"""The first after a millisecond, the second after two ..."""


class Log:
    """A log of deposits into one wallet."""

    def __init__(self, url: str) -> None:
        self.url = url
        with postgres_store(url) as store:
            self._ids = [str(new_wallet(store))]
        self.start = event_log.top(url)

    def fill(self, count: int = EVENTS) -> None:
        event_log.fill(self.url, self._ids, count)

    def record(self, count: int = EVENTS) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(RECORD_LATER, [count])

    def times(self) -> list[float]:
        """When the deposits happened, in the order of the log."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT created_at FROM coffer.events WHERE position > %s ORDER BY position",
                [self.start],
            ).fetchall()
        moments: list[datetime] = [row[0] for row in rows]
        return [moment.timestamp() for moment in moments]

    def delays(self, since: float, until: float) -> event_log.Delays:
        return event_log.delays(self.url, since, until)


@pytest.fixture
def log(fresh_postgres_url: str) -> Log:
    return Log(fresh_postgres_url)


def test_delays_from_commit_to_record(log: Log) -> None:
    log.fill()
    log.record()
    happened = log.times()[0]
    found = log.delays(happened, happened + 1)
    assert (found.events, found.missing) == (EVENTS, 0)
    percentiles = (found.p50_ms, found.p95_ms, found.p99_ms, found.max_ms)
    assert percentiles == pytest.approx((50, 95, 99, 100))
    assert found.details()["p99_ms"] == 99.0


def test_delays_of_the_counted_seconds_alone(log: Log) -> None:
    log.fill(10)
    log.fill(5)
    log.record()
    first, second = sorted(set(log.times()))
    assert log.delays(first, second).events == 10
    assert log.delays(first, second).max_ms == pytest.approx(10)
    assert log.delays(second, second + 1).events == 5


def test_what_is_not_recorded_is_counted(log: Log) -> None:
    log.fill()
    log.record(EVENTS - 3)
    happened = log.times()[0]
    assert log.delays(happened, happened + 1).missing == 3
    assert event_log.behind(log.url) == 3 + 1  # the wallet's own event


def test_delays_of_nothing(log: Log) -> None:
    with pytest.raises(CannotMeasure, match="No event"):
        log.delays(0, 1)
    log.fill()
    happened = log.times()[0]
    with pytest.raises(CannotMeasure, match="No event"):
        log.delays(happened, happened + 1)


def test_drained_counts_from_the_first_record_to_the_last(log: Log) -> None:
    log.fill()
    log.record()
    events, seconds = event_log.drained(log.url, log.start)
    assert events == EVENTS
    assert seconds == pytest.approx(0.099)
    assert event_log.drain_rate(events, seconds) == pytest.approx(1000)
    assert event_log.drained(log.url, event_log.top(log.url)) == (0, 0.0)


def test_a_backlog_is_made_by_the_rules_of_the_service(log: Log) -> None:
    count = event_log.FILL_COMMANDS + 1
    log.fill(count)
    with psycopg.connect(log.url) as connection:
        rows = connection.execute(
            "SELECT type, body::jsonb -> 'data' ->> 'operation_type' FROM coffer.events "
            "WHERE position > %s",
            [log.start],
        ).fetchall()
    assert rows == [("coffer.operation.completed", "DEPOSIT")] * count
    assert audit(log.url) == []
