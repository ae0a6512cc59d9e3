"""Migrations: up and down, equal to the tables, append-only, beside a running service."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Engine, create_engine
from uuid_utils.compat import uuid7

from testkit.following import recording, wait_until_recorded
from testkit.ledgers import (
    CURRENCIES,
    MONEY_AUDITS,
    audit,
    capture,
    code_of,
    deposit,
    keyed,
    new_wallet,
    place_hold,
    postgres_store,
    transfer,
    void,
    withdraw,
)
from testkit.services import TestDatabases
from testkit.waiting import eventually
from WalletCore.domain.commands import (
    Command,
    CreateWallet,
    OpenAccount,
    Purchase,
    Reverse,
    SendMessage,
    SetMessageStatus,
)
from WalletCore.domain.model import MessageStatus
from WalletCore.keys import Scope, new_key
from WalletCore.postgres import migrate, notification_tables, tables
from WalletCore.postgres.connect import connection_info, parse_url
from WalletCore.postgres.tables import Xid8
from WalletCore.store import IdempotencyKey

SCHEMAS: Final = (tables.SCHEMA, notification_tables.SCHEMA)
TABLES: Final = [*tables.metadata.sorted_tables, *notification_tables.metadata.sorted_tables]
PARTITIONS: Final = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i "
    "JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'coffer.events'::regclass ORDER BY 1"
)
CONSTRAINTS: Final = """
    SELECT t.relnamespace::regnamespace::text, t.relname, c.conname, pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
    WHERE t.relnamespace::regnamespace::text IN ('coffer', 'notifications')
        AND NOT t.relispartition AND c.contype <> 'n' AND t.relname <> 'alembic_version'
    ORDER BY 1, 2, 3"""
INDEXES: Final = """
    SELECT i.relname, pg_get_indexdef(i.oid)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace::regnamespace::text IN ('coffer', 'notifications')
        AND NOT t.relispartition AND t.relname <> 'alembic_version' ORDER BY 1"""
COLUMNS: Final = """
    SELECT t.relnamespace::regnamespace::text, t.relname, t.relkind, t.reloptions, a.attname,
           format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE t.relnamespace::regnamespace::text IN ('coffer', 'notifications')
        AND t.relkind IN ('r', 'p', 'S') AND NOT t.relispartition
        AND t.relname <> 'alembic_version' ORDER BY 1, 2, a.attnum"""
SEQUENCES: Final = """
    SELECT schemaname, sequencename, data_type::text, start_value, increment_by, cache_size, cycle
    FROM pg_sequences WHERE schemaname IN ('coffer', 'notifications') ORDER BY 1"""
PLACES: Final = "SELECT count(*) FROM coffer.followers"
LEFT_OVERS: Final = """
    SELECT relname FROM pg_class
        WHERE relnamespace::regnamespace::text IN ('coffer', 'notifications')
        AND relname NOT LIKE 'alembic_version%'
    UNION ALL SELECT proname FROM pg_proc
        WHERE pronamespace::regnamespace::text IN ('coffer', 'notifications')"""
NAMES: Final = re.compile(
    rf"(pk|ix|uq|ck|fk)_({'|'.join(table.name for table in TABLES)})(_[a-z0-9_]+)?"
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
        wallet_id, message_id = new_wallet(store, limit=-1), uuid7()
        store.execute(deposit(wallet_id, 5), keyed("a"))
        store.execute(withdraw(wallet_id, 7), keyed("b"))
        store.execute(placed := place_hold(wallet_id, 1))
        store.execute(void(placed))
        store.execute(SendMessage(message_id, "alice", "hello"))
        store.execute(SetMessageStatus(message_id, MessageStatus.PROCESSED))
        store.keys.add(new_key("shop", [Scope.READ], created_by="shell")[0])
        if store.shop.user("alice") is None:
            opened = OpenAccount("alice", "hash", uuid7(), uuid7(), Decimal(7))
            assert store.execute(opened).status == 201
    with recording(url), connected(url) as connection:
        wait_until_recorded(url)
        eventually(lambda: connection.execute(PLACES).fetchone() == (1,), "the follower's place")


def counts(url: str) -> dict[str, int]:
    """The number of rows of every table that there is, but for those of partitions."""
    with connected(url) as connection:
        found = {}
        for table in TABLES:
            there = connection.execute("SELECT to_regclass(%s)", (table.fullname,)).fetchone()
            if there != (None,):
                row = connection.execute(f"SELECT count(*) FROM {table.fullname}").fetchone()
                assert row is not None
                found[table.fullname] = row[0]
        return found


def dumped(url: str, without: Sequence[str] = ()) -> dict[str, list[Any]]:
    """All rows of every table that there is, as text, but for the columns named in ``without``."""
    with connected(url) as connection:
        return {
            name: sorted(
                connection.execute(
                    f"SELECT (to_jsonb(t) - %s::text[])::text FROM {name} t", (list(without),)
                ).fetchall()
            )
            for name in counts(url)
        }


FILLED: Final = {
    "coffer.api_keys": 1,
    "coffer.currencies": len(list(CURRENCIES)),
    "coffer.entries": 2,
    "coffer.events": 8,
    "coffer.followers": 1,
    "coffer.holds": 1,
    "coffer.idempotency_keys": 2,
    "coffer.log_origin": 1,
    "coffer.messages": 1,
    "coffer.shop_items": 10,
    "coffer.shop_users": 1,
    "coffer.wallets": 2,
    "notifications.inbox": 8,
    "notifications.notifications": 8,
}
"""``counts`` after ``fill``."""


# -- Up and down -------------------------------------------------------------------------------


def test_up_and_down_and_up_again_on_an_empty_database(empty_postgres_url: str) -> None:
    assert migrate.current(empty_postgres_url) is None
    for _ in range(2):
        migrate.upgrade(empty_postgres_url)
        assert migrate.current(empty_postgres_url) == migrate.head()
        fill(empty_postgres_url)
        assert counts(empty_postgres_url) == FILLED
        assert audit(empty_postgres_url) == []
        migrate.downgrade(empty_postgres_url)
        assert migrate.current(empty_postgres_url) is None
        with connected(empty_postgres_url) as connection:
            assert connection.execute(LEFT_OVERS).fetchall() == []


def test_upgrading_again_changes_nothing_and_keeps_the_rows(fresh_postgres_url: str) -> None:
    fill(fresh_postgres_url)
    migrate.upgrade(fresh_postgres_url)
    assert counts(fresh_postgres_url) == FILLED
    assert audit(fresh_postgres_url) == []


LATER_COLUMNS: Final = ("related_id", "max_balance")
"""What 0003 added to tables that were there."""
SHOP_TABLES: Final = {"coffer.shop_items", "coffer.shop_users"}
LATER_TABLES: Final = {
    "0006": set(),
    "0005": SHOP_TABLES,
    "0004": SHOP_TABLES | {"coffer.api_keys"},
    "0002": SHOP_TABLES | {"coffer.api_keys", "coffer.holds"},
    "0001": SHOP_TABLES
    | {
        "coffer.api_keys",
        "coffer.holds",
        "coffer.messages",
        "coffer.followers",
        "coffer.log_origin",
    },
}
"""By revision, the tables that it does not know."""


@pytest.mark.parametrize("revision", LATER_TABLES)
def test_the_ledger_steps_back_and_on_with_its_rows_in_place(
    fresh_postgres_url: str, revision: str
) -> None:
    """What came later goes; money, history and what was recorded stay."""
    fill(fresh_postgres_url)
    everything = dumped(fresh_postgres_url)
    before = dumped(fresh_postgres_url, without=LATER_COLUMNS if revision < "0003" else ())
    migrate.downgrade(fresh_postgres_url, revision, "coffer")
    assert migrate.current(fresh_postgres_url) == f"coffer {revision}, notifications 0001"
    gone = LATER_TABLES[revision]
    assert counts(fresh_postgres_url).keys() == FILLED.keys() - gone
    assert dumped(fresh_postgres_url) == {
        name: rows for name, rows in before.items() if name not in gone
    }
    assert audit(fresh_postgres_url, MONEY_AUDITS) == []
    migrate.upgrade(fresh_postgres_url)
    assert migrate.current(fresh_postgres_url) == migrate.head()
    again = dumped(fresh_postgres_url)
    assert {name: again[name] for name in again if name not in gone} == {
        name: rows for name, rows in everything.items() if name not in gone
    }
    assert again["coffer.log_origin"] == everything["coffer.log_origin"]
    assert len(again["coffer.shop_items"]) == FILLED["coffer.shop_items"]
    assert all(again[name] == [] for name in gone - {"coffer.log_origin", "coffer.shop_items"})
    fill(fresh_postgres_url)
    assert audit(fresh_postgres_url) == []
    # Whoever follows told nothing again, also where it began anew: of the second filling only a
    # wallet, a hold, a message and, where it was forgotten, a user are new, as the other answers
    # were remembered.
    assert counts(fresh_postgres_url)["notifications.notifications"] == 8 + (7 if gone else 5)


def test_a_ceiling_is_forgotten_on_the_way_back(fresh_postgres_url: str) -> None:
    wallet_id = uuid7()
    with postgres_store(fresh_postgres_url) as store:
        store.execute(CreateWallet(wallet_id, "USD", max_balance=Decimal(5)))
        assert code_of(store.execute(deposit(wallet_id, 6))) == "limit_exceeded"
    migrate.downgrade(fresh_postgres_url, "0002", "coffer")
    migrate.upgrade(fresh_postgres_url)
    with postgres_store(fresh_postgres_url) as store:
        assert store.wallet(wallet_id)["max_balance"] is None
        assert code_of(store.execute(deposit(wallet_id, 6))) == ""
    assert audit(fresh_postgres_url) == []


def test_there_is_no_way_back_from_a_purchase(fresh_postgres_url: str) -> None:
    fill(fresh_postgres_url)
    with postgres_store(fresh_postgres_url) as store:
        buyer_id, merchant_id = (new_wallet(store, "COIN", balance=9) for _ in range(2))
        bought = Purchase(buyer_id, merchant_id, uuid7(), uuid7(), "cup", Decimal(9))
        assert store.execute(bought).status == 200
    everything = dumped(fresh_postgres_url)
    with pytest.raises(Exception, match="There are purchases"):
        migrate.downgrade(fresh_postgres_url, "0005", "coffer")
    assert dumped(fresh_postgres_url) == everything


def test_who_was_forgotten_on_the_way_back_can_be_made_again(fresh_postgres_url: str) -> None:
    key = IdempotencyKey("shop", "open alice", bytes(32))
    for _ in range(2):
        with postgres_store(fresh_postgres_url) as store:
            opened = OpenAccount("alice", "hash", uuid7(), uuid7(), Decimal(7))
            assert not store.execute(opened, key).replayed
            assert store.shop.user("alice") is not None
        migrate.downgrade(fresh_postgres_url, "0005", "coffer")
        migrate.upgrade(fresh_postgres_url)
        with postgres_store(fresh_postgres_url) as store:
            assert store.shop.user("alice") is None
    assert audit(fresh_postgres_url) == []


@pytest.mark.parametrize("what", ["transfer", "capture", "reversal", "open hold"])
def test_there_is_no_way_back_from_what_older_tables_cannot_tell(
    fresh_postgres_url: str, what: str
) -> None:
    fill(fresh_postgres_url)
    with postgres_store(fresh_postgres_url) as store:
        wallet_id, other_id = new_wallet(store), new_wallet(store)
        put, placed = deposit(wallet_id, 5), place_hold(wallet_id, 2)
        commands: dict[str, list[Command]] = {
            "transfer": [put, transfer(wallet_id, other_id)],
            "capture": [put, placed, capture(placed)],
            "reversal": [put, Reverse(put.operation_id, (wallet_id,), uuid7())],
            "open hold": [put, placed],
        }
        for command in commands[what]:
            assert store.execute(command).status < 300
    everything = dumped(fresh_postgres_url)
    reason = "open holds" if what == "open hold" else "transfers, captures or reversals"
    for revision in ("0002", "0001", "base"):
        with pytest.raises(Exception, match=reason):
            migrate.downgrade(fresh_postgres_url, revision, "coffer")
        assert migrate.current(fresh_postgres_url) == migrate.head()
        assert dumped(fresh_postgres_url) == everything
    assert audit(fresh_postgres_url) == []


def test_what_was_recorded_steps_back_alone(fresh_postgres_url: str) -> None:
    fill(fresh_postgres_url)
    migrate.downgrade(fresh_postgres_url, schema="notifications")
    assert migrate.current(fresh_postgres_url) == "coffer 0007, notifications none"
    ledger = {name: rows for name, rows in FILLED.items() if name.startswith("coffer.")}
    assert counts(fresh_postgres_url) == ledger
    migrate.upgrade(fresh_postgres_url)
    recorded = {"notifications.inbox": 0, "notifications.notifications": 0}
    assert counts(fresh_postgres_url) == ledger | recorded


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
            return name in SCHEMAS
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
        both: Any = [tables.metadata, notification_tables.metadata]
        assert compare_metadata(context, both) == []


def test_the_catalogue_is_the_same_as_that_of_the_tables(
    empty_postgres_url: str, engine: Engine, test_databases: TestDatabases
) -> None:
    """What Alembic does not compare: CHECKs, fillfactor, partial indexes, sequences."""
    with engine.begin() as making:
        for metadata in (tables.metadata, notification_tables.metadata):
            making.exec_driver_sql(f"CREATE SCHEMA {metadata.schema}")
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
        names = {row[2] for row in connection.execute(CONSTRAINTS)} | {
            row[0] for row in connection.execute(INDEXES)
        }
    assert len(names) > 39
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
