"""The roles that the service and the worker work as when they are not the owner: each can do its
work, and no harm.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final
from uuid import UUID

import psycopg
import pytest
from psycopg import errors, sql
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from uuid_utils.compat import uuid7

from testkit import services
from testkit.following import recording, wait_until_recorded
from testkit.ledgers import new_wallet, postgres_store
from testkit.notices import notice_of
from testkit.waiting import eventually
from WalletCore.domain.commands import CreateWallet, Deposit, Withdraw
from WalletCore.inbox import NotificationFilter
from WalletCore.open_store import open_store
from WalletCore.paging import PageRequest
from WalletCore.postgres import migrate
from WalletCore.postgres.inbox import PostgresInbox
from WalletCore.settings import Settings
from WalletCore.store import IdempotencyKey

DAYS_AHEAD = 90


@pytest.fixture
def role() -> Iterator[str]:
    """The name of a role that does not exist yet. Asked for before the database, to go after it."""
    with new_role() as name:
        yield name


@pytest.fixture
def worker_role() -> Iterator[str]:
    """Another one."""
    with new_role() as name:
        yield name


@contextmanager
def new_role() -> Iterator[str]:
    name = f"coffer_test_{secrets.token_hex(4)}"
    with psycopg.connect(services.server_url(), autocommit=True) as connection:
        allowed = connection.execute(
            "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        if allowed != (True,):
            raise services.ServiceUnavailable(
                f"The role of {services.DATABASE_URL_VARIABLE} may not make roles: "
                "ALTER ROLE ... CREATEROLE"
            )
        yield name
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def owner_url(role: str, worker_role: str, fresh_postgres_url: str) -> str:
    return fresh_postgres_url


@pytest.fixture
def service_url(role: str, owner_url: str) -> str:
    """How the service connects, as a role that migrating has made."""
    url = url_as(owner_url, role, "first/pass@word%")
    migrate.upgrade(owner_url, service_url=url)
    return url


@pytest.fixture
def worker_url(worker_role: str, owner_url: str) -> str:
    """How the worker connects, as a role that migrating has made."""
    url = url_as(owner_url, worker_role, "worker")
    migrate.upgrade(owner_url, worker_url=url)
    return url


def url_as(url: str, role: str, password: str) -> str:
    parts = make_url(url).set(username=role, password=password)
    return parts.render_as_string(hide_password=False)


def test_it_moves_money_and_reads(service_url: str) -> None:
    store = open_store(Settings(database_url=SecretStr(service_url)))
    try:
        wallet = uuid7()
        assert store.execute(CreateWallet(wallet, "USD")).status == 201
        for replayed in (False, True):
            deposit = Deposit(wallet, uuid7(), Decimal("10.50"))
            outcome = store.execute(deposit, IdempotencyKey("", "key", b"1" * 32))
            assert (outcome.status, outcome.replayed) == (200, replayed)
        assert store.execute(Withdraw(wallet, uuid7(), Decimal("0.50"))).status == 200
        assert store.balance(wallet)["balance"] == "10.00"
        assert store.missing() == []
    finally:
        store.close()


def test_it_makes_the_partitions(service_url: str) -> None:
    with psycopg.connect(service_url) as connection:
        covered = connection.execute("SELECT coffer.ensure_event_partitions(%s)", [DAYS_AHEAD])
        assert covered.fetchone() is not None
        # And with the owner's rights: what it made is not the role's own.
        owned = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"
        ).fetchone()
        assert owned == (0,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE coffer.entries SET delta = delta",
        "DELETE FROM coffer.entries",
        "TRUNCATE coffer.entries",
        "UPDATE coffer.events SET body = body",
        "DELETE FROM coffer.events",
        "TRUNCATE coffer.events",
        "ALTER TABLE coffer.entries DISABLE TRIGGER append_only",
        "DELETE FROM coffer.wallets",
        "DELETE FROM coffer.messages",
        "DELETE FROM coffer.followers",
        "DELETE FROM coffer.shop_items",
        "DELETE FROM coffer.shop_users",
        "UPDATE coffer.shop_items SET name = name",
        "UPDATE coffer.shop_users SET wallet_id = wallet_id",
        "UPDATE coffer.idempotency_keys SET response = response",
        "UPDATE coffer.log_origin SET adopted_position = 0",
        "INSERT INTO notifications.inbox (event_id) VALUES (gen_random_uuid())",
        "UPDATE notifications.inbox SET recorded_at = recorded_at",
        "DELETE FROM notifications.inbox",
        "TRUNCATE notifications.inbox",
        "INSERT INTO notifications.notifications SELECT * FROM notifications.notifications",
        "UPDATE notifications.notifications SET text = text",
        "UPDATE notifications.notifications SET read_at = read_at, position = position",
        "DELETE FROM notifications.notifications",
        "TRUNCATE notifications.notifications",
        "SELECT nextval('notifications.notifications_position_seq')",
        "UPDATE notifications.alembic_version SET version_num = version_num",
        "UPDATE coffer.alembic_version SET version_num = version_num",
        "DROP TABLE coffer.wallets",
        "CREATE TABLE coffer.mine (id integer)",
        "CREATE TABLE public.mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE DATABASE coffer_test_mine",
        "CREATE ROLE coffer_test_mine",
    ],
)
def test_it_can_do_nothing_else(service_url: str, statement: str) -> None:
    refused(service_url, statement)


def refused(url: str, statement: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


# -- The worker --------------------------------------------------------------------------------


def test_a_worker_records_and_the_service_marks_as_read(
    worker_url: str, service_url: str, owner_url: str
) -> None:
    inbox = PostgresInbox(worker_url)
    event_ids = [uuid7(), uuid7()]
    told = [notice_of(event_id) for event_id in event_ids]
    try:
        assert inbox.record(told) == set(event_ids)
        assert inbox.record(told) == set()
    finally:
        inbox.close()
    store = open_store(Settings(database_url=SecretStr(service_url)))
    try:
        page = store.notifications.oldest_first(NotificationFilter(), PageRequest())
        assert [item["event_id"] for item in page.items] == [str(id_) for id_ in event_ids]
        marked = store.notifications.mark_read(UUID(page.items[0]["id"]))
        assert marked["read_at"] is not None
        assert store.notifications.mark_all_read(NotificationFilter(user_id="alice")) == 1
    finally:
        store.close()


def test_a_worker_follows_the_log(worker_url: str, service_url: str, owner_url: str) -> None:
    """Without a broker, out of what the service writes."""
    with postgres_store(service_url) as store:
        new_wallet(store, balance=5)
        with recording(worker_url), psycopg.connect(owner_url, autocommit=True) as connection:
            wait_until_recorded(owner_url)
            eventually(
                lambda: (
                    connection.execute("SELECT name FROM coffer.followers").fetchall()
                    == [("worker",)]
                ),
                "the worker's place",
            )
            recorded = connection.execute("SELECT count(*) FROM notifications.notifications")
            assert recorded.fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM coffer.wallets",
        "SELECT FROM coffer.entries",
        "SELECT FROM coffer.idempotency_keys",
        "SELECT FROM coffer.messages",
        "SELECT FROM coffer.currencies",
        "SELECT FROM coffer.shop_users",
        "SELECT FROM coffer.shop_items",
        "UPDATE coffer.wallets SET balance = balance",
        "INSERT INTO coffer.messages SELECT FROM coffer.messages",
        "INSERT INTO coffer.events SELECT * FROM coffer.events",
        "UPDATE coffer.events SET body = body",
        "DELETE FROM coffer.events",
        "TRUNCATE coffer.events",
        "SELECT nextval('coffer.events_position_seq')",
        "SELECT coffer.ensure_event_partitions(90)",
        "DELETE FROM coffer.followers",
        "UPDATE coffer.log_origin SET adopted_position = 0",
        "UPDATE coffer.alembic_version SET version_num = version_num",
        "UPDATE notifications.inbox SET recorded_at = recorded_at",
        "DELETE FROM notifications.inbox",
        "TRUNCATE notifications.inbox",
        "UPDATE notifications.notifications SET read_at = read_at",
        "UPDATE notifications.notifications SET text = text",
        "DELETE FROM notifications.notifications",
        "TRUNCATE notifications.notifications",
        "UPDATE notifications.alembic_version SET version_num = version_num",
        "CREATE TABLE notifications.mine (id integer)",
        "CREATE TABLE public.mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE ROLE coffer_test_mine",
    ],
)
def test_a_worker_can_do_nothing_else(worker_url: str, statement: str) -> None:
    refused(worker_url, statement)


# -- What each may do with which table ---------------------------------------------------------

PRIVILEGES: Final = """
    SELECT t.relnamespace::regnamespace::text || '.' || t.relname, array_agg(p ORDER BY p)
    FROM pg_class t, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p
    WHERE t.relnamespace::regnamespace::text IN ('coffer', 'notifications')
        AND t.relkind IN ('r', 'p') AND NOT t.relispartition
        AND has_table_privilege(%s, t.oid, p) GROUP BY 1"""
COLUMN_PRIVILEGES: Final = """
    SELECT table_schema || '.' || table_name, column_name, privilege_type
    FROM information_schema.column_privileges c
    WHERE grantee = %s AND NOT has_table_privilege(
        %s, (table_schema || '.' || table_name)::regclass, privilege_type)"""


def granted(owner_url: str, role: str) -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """The privileges on each table, and those on single columns."""
    with psycopg.connect(owner_url) as connection:
        whole = connection.execute(PRIVILEGES, [role]).fetchall()
        single = connection.execute(COLUMN_PRIVILEGES, [role, role]).fetchall()
    return {name: " ".join(privileges) for name, privileges in whole}, single


def test_the_service_has_exactly_these_privileges(
    role: str, owner_url: str, service_url: str
) -> None:
    whole, single = granted(owner_url, role)
    assert whole == {
        "coffer.alembic_version": "SELECT",
        "coffer.api_keys": "INSERT SELECT",
        "coffer.currencies": "INSERT SELECT",
        "coffer.entries": "INSERT SELECT",
        "coffer.events": "INSERT SELECT",
        "coffer.followers": "INSERT SELECT UPDATE",
        "coffer.holds": "INSERT SELECT UPDATE",
        "coffer.idempotency_keys": "DELETE INSERT SELECT",
        "coffer.log_origin": "SELECT",
        "coffer.messages": "INSERT SELECT UPDATE",
        "coffer.shop_items": "INSERT SELECT",
        "coffer.shop_users": "INSERT SELECT",
        "coffer.wallets": "INSERT SELECT UPDATE",
        "notifications.alembic_version": "SELECT",
        "notifications.inbox": "SELECT",
        "notifications.notifications": "SELECT",
    }
    assert sorted(single) == [
        ("coffer.api_keys", "last_used_at", "UPDATE"),
        ("coffer.api_keys", "revoked_at", "UPDATE"),
        ("coffer.api_keys", "revoked_by", "UPDATE"),
        ("coffer.shop_items", "changed_by", "UPDATE"),
        ("coffer.shop_items", "price", "UPDATE"),
        ("coffer.shop_items", "updated_at", "UPDATE"),
        ("coffer.shop_users", "password_hash", "UPDATE"),
        ("notifications.notifications", "read_at", "UPDATE"),
    ]


def test_the_worker_has_exactly_these_privileges(
    worker_role: str, owner_url: str, worker_url: str
) -> None:
    whole, single = granted(owner_url, worker_role)
    assert whole == {
        "coffer.alembic_version": "SELECT",
        "coffer.events": "SELECT",
        "coffer.followers": "INSERT SELECT UPDATE",
        "coffer.log_origin": "SELECT",
        "notifications.alembic_version": "SELECT",
        "notifications.inbox": "INSERT SELECT",
        "notifications.notifications": "INSERT SELECT",
    }
    assert single == []


# -- The roles themselves ----------------------------------------------------------------------


def test_migrating_again_sets_the_password(role: str, owner_url: str, service_url: str) -> None:
    changed = url_as(owner_url, role, "second")
    migrate.upgrade(owner_url, service_url=changed)
    psycopg.connect(changed).close()
    if services.DATABASE_URL_VARIABLE not in os.environ:
        # A named server may trust its neighbours, the private one asks for the password.
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(service_url)


def test_the_owner_is_left_as_it_is(fresh_postgres_url: str) -> None:
    """The same user with another password: a typing error must not change the owner's password."""
    user = make_url(fresh_postgres_url).username
    assert user is not None
    migrate.upgrade(fresh_postgres_url, service_url=url_as(fresh_postgres_url, user, "wrong"))
    psycopg.connect(fresh_postgres_url).close()


def test_a_role_of_somebody_else_is_not_touched(owner_url: str, service_url: str) -> None:
    """Where others keep the roles, migrating needs no right to change them."""
    user = make_url(owner_url).username
    assert user is not None
    with migrate._connected(service_url) as weak, weak.begin():
        assert migrate.ensure_login_role(weak, url_as(owner_url, user, "wrong")) == user
        assert weak.execute(text("SELECT 1")).scalar_one() == 1
    psycopg.connect(owner_url).close()


def test_a_url_without_a_role_is_refused(owner_url: str) -> None:
    with migrate._connected(owner_url) as connection, pytest.raises(ValueError, match="no role"):
        migrate.ensure_login_role(connection, "postgresql:///coffer")
