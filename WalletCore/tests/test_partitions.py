"""The partitions of the log: made ahead, without a gap, beside those who write."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import balance_of, deposit, new_wallet, postgres_store
from WalletCore.postgres import migrate
from WalletCore.postgres.connect import connection_info
from WalletCore.tests.test_migrations import PARTITIONS, connected


def test_the_partitions_cover_the_days_ahead_without_a_gap(empty_postgres_url: str) -> None:
    migrate.upgrade(empty_postgres_url)
    with connected(empty_postgres_url) as connection:
        partitions = connection.execute(PARTITIONS).fetchall()
        bounds = [re.findall(r"'([0-9a-f-]{36})'", bound) for _, bound in partitions]
        assert [end for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]
        now = datetime.now(UTC)
        first, last = (_moment(bounds[0][0]), _moment(bounds[-1][1]))
        assert first <= now - timedelta(days=7)
        assert now + timedelta(days=30) <= last <= now + timedelta(days=38)
        for days in (0, 15, 30):
            covered = connection.execute(
                "SELECT coffer.ensure_event_partitions(%s)", (days,)
            ).fetchone()
            assert covered is not None
            assert covered[0] >= days
        assert connection.execute(PARTITIONS).fetchall() == partitions
        connection.execute("SELECT coffer.ensure_event_partitions(45)")
        assert len(connection.execute(PARTITIONS).fetchall()) > len(partitions)


def test_every_moment_ahead_has_its_partition(fresh_postgres_url: str) -> None:
    now = datetime.now(UTC)
    with connected(fresh_postgres_url) as connection:
        for hours in range(-24, 30 * 24, 5):
            moment = now + timedelta(hours=hours)
            milliseconds = int(moment.timestamp() * 1000)
            text = f"{milliseconds:012x}" + "7" + uuid7().hex[13:]
            connection.execute(
                "INSERT INTO coffer.events (id, type, body, created_at) "
                "VALUES (%s, 't', 'b', now())",
                (text,),
            )
        for days in (-1, 3661):
            with pytest.raises(psycopg.errors.RaiseException):
                connection.execute("SELECT coffer.ensure_event_partitions(%s)", (days,))


def test_making_partitions_and_writing_do_not_wait_for_each_other(
    fresh_postgres_url: str,
) -> None:
    insert = "INSERT INTO coffer.events (id, type, body, created_at) VALUES (%s, 't', 'b', now())"
    with (
        psycopg.connect(connection_info(fresh_postgres_url)) as writer,
        psycopg.connect(connection_info(fresh_postgres_url)) as maker,
    ):
        for connection in (writer, maker):
            connection.execute("SET lock_timeout = '1s'")
            connection.commit()
        writer.execute(insert, (uuid7(),))
        maker.execute("SELECT coffer.ensure_event_partitions(60)")
        # Neither has committed; a third one writes, and the two go on.
        with postgres_store(fresh_postgres_url) as store:
            wallet_id = new_wallet(store)
            assert store.execute(deposit(wallet_id)).status == 200
            assert balance_of(store, wallet_id) == 1
        writer.execute(insert, (uuid7(),))
        maker.commit()
        writer.execute(insert, (uuid7(),))


def test_several_makers_of_partitions_at_once(fresh_postgres_url: str) -> None:
    def make(days: int) -> None:
        with connected(fresh_postgres_url) as connection:
            connection.execute("SELECT coffer.ensure_event_partitions(%s)", (days,))

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(make, 60 + number * 7 % 21) for number in range(6)]:
            future.result()
    with connected(fresh_postgres_url) as connection:
        names = [name for name, _ in connection.execute(PARTITIONS)]
    assert len(names) == len(set(names)) >= 11


def _moment(floor: str) -> datetime:
    return datetime.fromtimestamp(int(floor.replace("-", "")[:12], 16) / 1000, UTC)
