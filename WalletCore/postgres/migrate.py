"""Migrations: bring a database's schema to the newest version, and say where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import errors, sql
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from WalletCore.postgres.connect import parse_url
from WalletCore.postgres.event_log import PARTITION_DAYS_AHEAD_WANTED
from WalletCore.postgres.tables import SCHEMA

MIGRATION_LOCK_TIMEOUT_SECONDS = 10
"""How long a migration waits for a table that the service is using, before it gives up."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('coffer.migrations', 0))"

_GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT INSERT, UPDATE ON {schema}.wallets TO {role};
GRANT INSERT ON {schema}.entries, {schema}.events, {schema}.currencies TO {role};
GRANT INSERT, DELETE ON {schema}.idempotency_keys TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION {schema}.ensure_event_partitions(integer) TO {role};
"""


def upgrade(url: str, *, service_url: str | None = None) -> None:
    """Bring the schema at ``url`` (its owner's connection) to head and make the log's partitions.

    Safe to run at the same time from several places: one works, the others wait and find it done.
    ``service_url``: how the service will connect. If it does so as another role than the owner, the
    role is made (see ensure_login_role) and granted what the service needs and nothing more.
    Raises sqlalchemy.exc.DBAPIError or psycopg.Error if the database refuses.
    """
    with _locked(url) as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        command.upgrade(_config(connection), "head")
        connection.execute(
            text(f"SELECT {SCHEMA}.ensure_event_partitions(:days)"),
            {"days": PARTITION_DAYS_AHEAD_WANTED},
        )
        service_role = parse_url(service_url).username if service_url is not None else None
        if service_url is not None and service_role not in (None, _owner(connection)):
            name = ensure_login_role(connection, service_url)
            role = connection.dialect.identifier_preparer.quote_identifier(name)
            connection.exec_driver_sql(_GRANTS.format(schema=SCHEMA, role=role))


def ensure_login_role(connection: Connection, url: str) -> str:
    """Make the role that ``url`` names, with its password, and return its name.

    It may log in and nothing else. If there is one already it is given the password, where the
    connection's role may do that; a role that somebody else keeps stays as it is.
    Raises ValueError if the URL names no role, psycopg.Error if the database refuses.
    """
    parts = parse_url(url)
    if parts.username is None:
        raise ValueError("The URL names no role: postgresql://role:password@host:5432/name")
    driver: Any = connection.connection.driver_connection
    wanted = sql.SQL("{} LOGIN").format(sql.Identifier(parts.username))
    if parts.password is not None:
        # Sent as what the server would store (RFC 5803), so that no log of statements holds it.
        verifier = driver.pgconn.encrypt_password(
            str(parts.password).encode(), parts.username.encode(), b"scram-sha-256"
        )
        wanted += sql.SQL(" PASSWORD {}").format(sql.Literal(verifier.decode()))
    found = driver.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [parts.username])
    if found.fetchone() is None:
        driver.execute(sql.SQL("CREATE ROLE {}").format(wanted))
    else:
        with suppress(errors.InsufficientPrivilege), driver.transaction():
            driver.execute(sql.SQL("ALTER ROLE {}").format(wanted))
    return parts.username


def downgrade(url: str, revision: str = "base") -> None:
    """Take the schema at ``url`` back to ``revision``; ``base`` is an empty schema."""
    with _locked(url) as connection:
        command.downgrade(_config(connection), revision)


def current(url: str) -> str | None:
    """The revision of the schema at ``url``, None if nothing was ever migrated."""
    with _connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        return context.get_current_revision()


def head() -> str:
    """The newest revision that this program knows."""
    revision = ScriptDirectory.from_config(_config(None)).get_current_head()
    if revision is None:
        raise RuntimeError("the program has no migrations; it is not installed whole")
    return revision


def _owner(connection: Connection) -> str:
    """The role that the connection works as."""
    name: str = connection.execute(text("SELECT current_user")).scalar_one()
    return name


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    """A transaction that no other migration shares its time with."""
    with _connected(url) as connection, connection.begin():
        connection.execute(text(_LOCK))
        connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT_SECONDS}s'"))
        yield connection


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(parse_url(url), poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
