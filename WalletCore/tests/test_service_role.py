"""The role that the service works as when it is not the owner: it can do its work, and no harm."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from psycopg import errors, sql
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from uuid_utils.compat import uuid7

from testkit import services
from WalletCore.domain.commands import CreateWallet, Deposit, Withdraw
from WalletCore.open_store import open_store
from WalletCore.postgres import migrate
from WalletCore.settings import Settings
from WalletCore.store import IdempotencyKey

DAYS_AHEAD = 90


@pytest.fixture
def role() -> Iterator[str]:
    """The name of a role that does not exist yet. Asked for before the database, to go after it."""
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
def owner_url(role: str, fresh_postgres_url: str) -> str:
    return fresh_postgres_url


@pytest.fixture
def service_url(role: str, owner_url: str) -> str:
    """How the service connects, as a role that migrating has made."""
    url = url_as(owner_url, role, "first/pass@word%")
    migrate.upgrade(owner_url, service_url=url)
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
        "UPDATE coffer.idempotency_keys SET response = response",
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
    with (
        psycopg.connect(service_url, autocommit=True) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


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
