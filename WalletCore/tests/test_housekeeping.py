"""What is kept for a time only goes when its time has come, and not before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import audit, deposit, new_wallet, postgres_store
from WalletCore.postgres import housekeeping
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.housekeeping import Housekeeper
from WalletCore.postgres.verify import verify

LOG_DAYS = 30
KEY_DAYS = 7
PARTITIONS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'coffer.events'::regclass ORDER BY 1"
)


def uuid7_of(moment: datetime) -> str:
    return f"{int(moment.timestamp() * 1000):012x}7{uuid7().hex[13:]}"


def asked(url: str, query: str, values: Any = None) -> list[Any]:
    with psycopg.connect(connection_info(url)) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def keep_house(url: str) -> None:
    Housekeeper(url, log_days=LOG_DAYS, key_days=KEY_DAYS).run(lambda: False)


def old_partition(url: str, days_ago: int) -> str:
    """Make the partition of the week that ended at least so many days ago; its name."""
    monday = datetime.now(UTC).date() - timedelta(days=days_ago)
    monday -= timedelta(days=monday.weekday() + 7)
    name = f"events_{monday.isocalendar().year}_{monday.isocalendar().week:02}"
    asked(
        url,
        f"CREATE TABLE coffer.{name} PARTITION OF coffer.events FOR VALUES FROM "
        f"(coffer.uuid7_floor('{monday}')) TO (coffer.uuid7_floor('{monday + timedelta(days=7)}'))",
    )
    return name


def event_in(url: str, name: str, *, recorded: bool) -> None:
    year, week = (int(part) for part in name.split("_")[1:])
    moment = datetime.combine(datetime.fromisocalendar(year, week, 3), datetime.min.time(), UTC)
    event_id = uuid7_of(moment)
    asked(
        url,
        "INSERT INTO coffer.events (id, type, body, created_at) VALUES (%s, 'test', 'b', %s)",
        (event_id, moment),
    )
    if recorded:
        asked(url, "INSERT INTO notifications.inbox (event_id) VALUES (%s)", (event_id,))


def partitions(url: str) -> set[str]:
    return {row[0] for row in asked(url, PARTITIONS)}


def test_only_old_partitions_that_are_recorded_are_dropped(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    before = partitions(url)
    done_with = old_partition(url, LOG_DAYS + 14)
    lacking = old_partition(url, LOG_DAYS + 7)
    empty = old_partition(url, LOG_DAYS + 21)
    young = old_partition(url, LOG_DAYS - 10)
    for name, recorded in ((done_with, True), (lacking, False), (young, True)):
        event_in(url, name, recorded=True)
        event_in(url, name, recorded=recorded)
    keep_house(url)
    assert partitions(url) == before | {lacking, young}
    for gone in (done_with, empty):
        assert asked(url, "SELECT to_regclass(%s)", (f"coffer.{gone}",)) == [(None,)]
    # What was recorded stays so: the inbox outlives the log.
    assert asked(url, "SELECT count(*) FROM notifications.inbox") == [(5,)]


@pytest.mark.parametrize(("days_over", "dropped"), [(0.1, True), (-0.1, False)])
def test_the_edge_of_the_retention(
    fresh_postgres_url: str, days_over: float, dropped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_postgres_url
    name = old_partition(url, LOG_DAYS + 7)
    year, week = (int(part) for part in name.split("_")[1:])
    end = datetime.combine(
        datetime.fromisocalendar(year, week, 1) + timedelta(days=7), datetime.min.time(), UTC
    )
    now = (end + timedelta(days=LOG_DAYS + days_over)).timestamp()

    class Clock:
        @staticmethod
        def time() -> float:
            return now

    monkeypatch.setattr(housekeeping, "time", Clock)
    keep_house(url)
    assert (name not in partitions(url)) is dropped


def test_large_partitions_are_compared_in_slices(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "ROWS_PER_SLICE", 3)
    url = fresh_postgres_url
    name = old_partition(url, LOG_DAYS + 7)
    for _ in range(7):
        event_in(url, name, recorded=True)
    event_in(url, name, recorded=False)
    keep_house(url)
    assert name in partitions(url)
    asked(
        url,
        f"INSERT INTO notifications.inbox (event_id) SELECT id FROM coffer.{name} "
        "ON CONFLICT DO NOTHING",
    )
    keep_house(url)
    assert name not in partitions(url)


def test_one_that_was_killed_between_detaching_and_dropping_is_finished(
    fresh_postgres_url: str,
) -> None:
    url = fresh_postgres_url
    name = old_partition(url, LOG_DAYS + 7)
    asked(url, f"ALTER TABLE coffer.events DETACH PARTITION coffer.{name}")
    keep_house(url)
    assert asked(url, "SELECT to_regclass(%s)", (f"coffer.{name}",)) == [(None,)]


def test_dropping_does_not_wait_for_writers_nor_they_for_it(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    name = old_partition(url, LOG_DAYS + 7)
    with postgres_store(url) as store:
        wallet_id = new_wallet(store)
        keep_house(url)
        for _ in range(3):
            assert store.execute(deposit(wallet_id)).status == 200
    assert name not in partitions(url)
    assert list(verify(url))[-1].difference is None
    assert audit(url) == []


def test_keys_are_forgotten_after_their_days_in_slices(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "KEYS_PER_STATEMENT", 4)
    url = fresh_postgres_url
    insert = (
        "INSERT INTO coffer.idempotency_keys (scope, key, request_hash, status, response, "
        "created_at) SELECT '', %s || n, decode(repeat('00', 32), 'hex'), 200, '{}', "
        "now() - make_interval(days => %s) + make_interval(secs => %s) "
        "FROM generate_series(1, 10) n"
    )
    asked(url, insert, ("old", KEY_DAYS, -1))
    asked(url, insert, ("young", KEY_DAYS, 60))
    keep_house(url)
    left = asked(
        url,
        "SELECT count(*), count(*) FILTER (WHERE key LIKE 'young%%') FROM coffer.idempotency_keys",
        (),
    )
    assert left == [(10, 10)]
