"""Migrations: up and down, equal to the tables, append-only, beside a running service."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Engine, create_engine
from uuid_utils.compat import uuid7

from testkit.ledgers import audit, balance_of, deposit, keyed, new_wallet, postgres_store, withdraw
from testkit.services import TestDatabases
from WalletCore.postgres import migrate
from WalletCore.postgres.connect import connection_info, parse_url
from WalletCore.postgres.tables import SCHEMA, Xid8, metadata

PARTITIONS: Final = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i "
    "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'coffer.events'::regclass ORDER BY 1"
)
CONSTRAINTS: Final = """
    SELECT t.relname, c.conname, pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
    WHERE t.relnamespace = 'coffer'::regnamespace AND NOT t.relispartition AND c.contype <> 'n'
        AND t.relname <> 'alembic_version' ORDER BY 1, 2"""
INDEXES: Final = """
    SELECT i.relname, pg_get_indexdef(i.oid)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'coffer'::regnamespace AND NOT t.relispartition
        AND t.relname <> 'alembic_version' ORDER BY 1"""
COLUMNS: Final = """
    SELECT t.relname, t.relkind, t.reloptions, a.attname, format_type(a.atttypid, a.atttypmod),
           a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE t.relnamespace = 'coffer'::regnamespace AND t.relkind IN ('r', 'p', 'S')
        AND NOT t.relispartition AND t.relname <> 'alembic_version' ORDER BY 1, a.attnum"""
SEQUENCES: Final = """
    SELECT sequencename, data_type::text, start_value, increment_by, cache_size, cycle
    FROM pg_sequences WHERE schemaname = 'coffer'"""
LEFT_OVERS: Final = """
    SELECT relname FROM pg_class WHERE relnamespace = 'coffer'::regnamespace
        AND relname NOT LIKE 'alembic_version%'
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'coffer'::regnamespace"""
NAMES: Final = re.compile(
    r"(pk|ix|uq|ck|fk)_(wallets|entries|events|currencies|idempotency_keys)(_[a-z0-9_]+)?"
)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(connection_info(url), autocommit=True) as connection:
        yield connection


@pytest.fixture
def engine(empty_postgres_url: str) -> Iterator[Engine]:
    # A role of the schema's name would have that schema as its default one, which Alembic leaves
    # out of its names.
    engine = create_engine(
        parse_url(empty_postgres_url), connect_args={"options": "-c search_path=public"}
    )
    yield engine
    engine.dispose()


def fill(url: str) -> None:
    """A row in every table."""
    with postgres_store(url) as store:
        wallet_id = new_wallet(store)
        store.execute(deposit(wallet_id, 5), keyed("a"))
        store.execute(withdraw(wallet_id, 7), keyed("b"))


# -- Up and down -------------------------------------------------------------------------------


def test_up_and_down_and_up_again_on_an_empty_database(empty_postgres_url: str) -> None:
    assert migrate.current(empty_postgres_url) is None
    for _ in range(2):
        migrate.upgrade(empty_postgres_url)
        assert migrate.current(empty_postgres_url) == migrate.head()
        fill(empty_postgres_url)
        assert audit(empty_postgres_url) == []
        migrate.downgrade(empty_postgres_url)
        assert migrate.current(empty_postgres_url) is None
        with connected(empty_postgres_url) as connection:
            assert connection.execute(LEFT_OVERS).fetchall() == []


def test_upgrading_again_changes_nothing_and_keeps_the_rows(fresh_postgres_url: str) -> None:
    fill(fresh_postgres_url)
    migrate.upgrade(fresh_postgres_url)
    with connected(fresh_postgres_url) as connection:
        for table, rows in (("wallets", 1), ("entries", 1), ("events", 2), ("idempotency_keys", 2)):
            found = connection.execute(f"SELECT count(*) FROM coffer.{table}").fetchone()
            assert found == (rows,), table
    assert audit(fresh_postgres_url) == []


def test_several_upgrades_at_once_wait_for_each_other(empty_postgres_url: str) -> None:
    at_once = 4
    start = threading.Barrier(at_once)

    def upgrade() -> None:
        start.wait()
        migrate.upgrade(empty_postgres_url)

    with ThreadPoolExecutor(at_once) as pool:
        for future in [pool.submit(upgrade) for _ in range(at_once)]:
            future.result()
    assert migrate.current(empty_postgres_url) == migrate.head()
    fill(empty_postgres_url)


def test_a_migration_that_fails_leaves_no_trace(empty_postgres_url: str) -> None:
    with connected(empty_postgres_url) as connection:
        connection.execute("CREATE SCHEMA coffer")
        connection.execute("CREATE TABLE coffer.idempotency_keys (in_the_way int)")
    with pytest.raises(Exception, match="idempotency_keys"):
        migrate.upgrade(empty_postgres_url)
    assert migrate.current(empty_postgres_url) is None
    with connected(empty_postgres_url) as connection:
        assert connection.execute(LEFT_OVERS).fetchall() == [("idempotency_keys",)]
        connection.execute("DROP TABLE coffer.idempotency_keys")
    migrate.upgrade(empty_postgres_url)


# -- Equal to the tables -----------------------------------------------------------------------


def test_alembic_finds_no_difference_between_the_tables_and_the_migrations(
    empty_postgres_url: str, engine: Engine
) -> None:
    migrate.upgrade(empty_postgres_url)
    with connected(empty_postgres_url) as connection:
        partitions = {row[0] for row in connection.execute(PARTITIONS)}

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name == SCHEMA
        return not (kind == "table" and name in {*partitions, "alembic_version"})

    dialect: Any = engine.dialect
    dialect.ischema_names = {**dialect.ischema_names, "xid8": Xid8}
    with engine.connect() as comparing:
        context = MigrationContext.configure(
            comparing,
            opts={
                "include_schemas": True,
                "include_name": is_ours,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_the_catalogue_is_the_same_as_that_of_the_tables(
    empty_postgres_url: str, engine: Engine, test_databases: TestDatabases
) -> None:
    """What Alembic does not compare: CHECKs, fillfactor, partial indexes, sequences."""
    with engine.begin() as making:
        making.exec_driver_sql("CREATE SCHEMA coffer")
        metadata.create_all(making)
    with test_databases.empty() as migrated_url:
        migrate.upgrade(migrated_url)
        with connected(migrated_url) as migrated, connected(empty_postgres_url) as made:
            for query in (CONSTRAINTS, INDEXES, COLUMNS, SEQUENCES):
                rows = migrated.execute(query).fetchall()
                assert rows == made.execute(query).fetchall()
                assert rows


def test_every_constraint_and_index_is_named_by_the_convention(postgres_url: str) -> None:
    with connected(postgres_url) as connection:
        names = {row[1] for row in connection.execute(CONSTRAINTS)} | {
            row[0] for row in connection.execute(INDEXES)
        }
    assert len(names) > 15
    assert [name for name in names if not NAMES.fullmatch(name)] == []


# -- Append-only -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["entries", "events"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE coffer.{} SET created_at = created_at",
        "DELETE FROM coffer.{}",
        "TRUNCATE coffer.{}",
    ],
)
def test_history_cannot_be_changed_even_by_its_owner(
    fresh_postgres_url: str, table: str, statement: str
) -> None:
    fill(fresh_postgres_url)
    with connected(fresh_postgres_url) as connection:
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            connection.execute(sql.SQL(statement).format(sql.SQL(table)))
        assert connection.execute(f"SELECT count(*) > 0 FROM coffer.{table}").fetchone() == (True,)


def test_rows_of_a_partition_cannot_be_changed_either(fresh_postgres_url: str) -> None:
    fill(fresh_postgres_url)
    with connected(fresh_postgres_url) as connection:
        (partition,) = [
            name
            for name, _ in connection.execute(PARTITIONS).fetchall()
            if connection.execute(f"SELECT count(*) FROM coffer.{name}").fetchone() != (0,)
        ]
        for statement in ("UPDATE coffer.{} SET type = ''", "DELETE FROM coffer.{}"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                connection.execute(sql.SQL(statement).format(sql.Identifier(partition)))


# -- Partitions --------------------------------------------------------------------------------


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
