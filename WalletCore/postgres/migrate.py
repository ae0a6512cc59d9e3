"""Migrations: bring a database's schemas to the newest version, and say where they are.

There are two histories, that of the ledger (``coffer``) and that of what the worker records
(``notifications``). They are always brought up together, in this order, in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

from WalletCore.postgres import notification_tables, tables
from WalletCore.postgres.connect import parse_url
from WalletCore.postgres.event_log import ADOPT, PARTITION_DAYS_AHEAD_WANTED

HISTORIES = {tables.SCHEMA: "migrations", notification_tables.SCHEMA: "notification_migrations"}
"""The folder of each schema's migrations, in the order of upgrading."""

MIGRATION_LOCK_TIMEOUT_SECONDS = 10
"""How long a migration waits for a table that the service is using, before it gives up."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('coffer.migrations', 0))"

_SERVICE_GRANTS = """
GRANT USAGE ON SCHEMA coffer, notifications TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA coffer, notifications TO {role};
GRANT INSERT, UPDATE ON coffer.wallets, coffer.holds, coffer.messages, coffer.followers TO {role};
GRANT INSERT ON coffer.entries, coffer.events, coffer.currencies TO {role};
GRANT INSERT, DELETE ON coffer.idempotency_keys TO {role};
GRANT INSERT, UPDATE (revoked_at, revoked_by, last_used_at) ON coffer.api_keys TO {role};
GRANT INSERT, UPDATE (password_hash) ON coffer.shop_users TO {role};
GRANT INSERT, UPDATE (price, updated_at, changed_by) ON coffer.shop_items TO {role};
GRANT UPDATE (read_at) ON notifications.notifications TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA coffer TO {role};
GRANT EXECUTE ON FUNCTION coffer.ensure_event_partitions(integer), coffer.adopt_log() TO {role};
"""
"""What the service and the relay do; never a change of history."""

_WORKER_GRANTS = """
GRANT USAGE ON SCHEMA coffer, notifications TO {role};
GRANT SELECT ON coffer.events, coffer.log_origin, coffer.alembic_version TO {role};
GRANT SELECT, INSERT, UPDATE ON coffer.followers TO {role};
GRANT EXECUTE ON FUNCTION coffer.adopt_log() TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA notifications TO {role};
GRANT INSERT ON notifications.inbox, notifications.notifications TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA notifications TO {role};
"""
"""What a worker does: it sees the log and no wallet, and cannot touch any money."""


def upgrade(url: str, *, service_url: str | None = None, worker_url: str | None = None) -> None:
    """Bring the schemas at ``url`` (their owner's connection) to head; make the log's partitions.

    Safe to run at the same time from several places: one works, the others wait and find it done.
    ``service_url``, ``worker_url``: how the service (with the relay) and the worker will connect.
    Where that is another role than the owner, it is made (see ensure_login_role) and granted what
    it needs and nothing more.
    Raises sqlalchemy.exc.DBAPIError or psycopg.Error if the database refuses.
    """
    with _locked(url) as connection:
        for schema in HISTORIES:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            command.upgrade(_config(schema, connection), "head")
        connection.execute(
            text("SELECT coffer.ensure_event_partitions(:days)"),
            {"days": PARTITION_DAYS_AHEAD_WANTED},
        )
        connection.execute(ADOPT)
        _grant(connection, service_url, _SERVICE_GRANTS)
        _grant(connection, worker_url, _WORKER_GRANTS)


def _grant(connection: Connection, role_url: str | None, grants: str) -> None:
    if role_url is None or parse_url(role_url).username in (None, _owner(connection)):
        return
    name = ensure_login_role(connection, role_url)
    role = connection.dialect.identifier_preparer.quote_identifier(name)
    connection.exec_driver_sql(grants.format(role=role))


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


def downgrade(url: str, revision: str = "base", schema: str | None = None) -> None:
    """Take ``schema`` at ``url``, or both of them, back to ``revision``; ``base`` is empty."""
    with _locked(url) as connection:
        for name in reversed(HISTORIES) if schema is None else (schema,):
            command.downgrade(_config(name, connection), revision)


def current(url: str) -> str | None:
    """The revisions of the schemas at ``url``, None if nothing was ever migrated."""
    with _connected(url) as connection:
        found = {
            schema: MigrationContext.configure(
                connection, opts={"version_table_schema": schema}
            ).get_current_revision()
            for schema in HISTORIES
        }
    return _named(found) if any(found.values()) else None


def head() -> str:
    """The newest revisions that this program knows."""
    return _named(
        {
            schema: ScriptDirectory.from_config(_config(schema, None)).get_current_head()
            for schema in HISTORIES
        }
    )


def _named(revisions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{schema} {revision or 'none'}" for schema, revision in revisions.items())


def _owner(connection: Connection) -> str:
    """The role that the connection works as."""
    name: str = connection.execute(text("SELECT current_user")).scalar_one()
    return name


def _config(schema: str, connection: Connection | None) -> Config:
    config = Config()
    folder = Path(__file__).parent / HISTORIES[schema]
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
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
