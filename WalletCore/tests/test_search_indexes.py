"""The indexes for searching, which a large ledger gets before the migration does it."""

from __future__ import annotations

from typing import Final

import psycopg
import pytest

from testkit.ledgers import deposit, new_wallet, postgres_store
from WalletCore.postgres import migrate
from WalletCore.tests.test_migrations import connected, fill

REFERENCES: Final = "coffer.entries (reference, operation_id, wallet_id)"


def test_indexes_that_were_made_before_are_taken(fresh_postgres_url: str) -> None:
    """So that a large ledger need not stand still for them."""
    fill(fresh_postgres_url)
    migrate.downgrade(fresh_postgres_url, "0003", "coffer")
    name = "ix_entries_reference_operation_id_wallet_id"
    with connected(fresh_postgres_url) as connection:
        connection.execute(
            f"CREATE INDEX CONCURRENTLY {name} ON {REFERENCES} WHERE reference IS NOT NULL"
        )
        made = connection.execute("SELECT %s::regclass::oid", [f"coffer.{name}"]).fetchone()
        migrate.upgrade(fresh_postgres_url)
        assert connection.execute("SELECT %s::regclass::oid", [f"coffer.{name}"]).fetchone() == made
    assert migrate.current(fresh_postgres_url) == migrate.head()


def test_an_index_that_was_not_finished_is_not_taken(fresh_postgres_url: str) -> None:
    fill(fresh_postgres_url)
    with postgres_store(fresh_postgres_url) as store:
        store.execute(deposit(new_wallet(store)))
    migrate.downgrade(fresh_postgres_url, "0003", "coffer")
    with connected(fresh_postgres_url) as connection:
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(
                "CREATE UNIQUE INDEX CONCURRENTLY ix_entries_metadata "
                "ON coffer.entries (operation_type)"
            )
        with pytest.raises(Exception, match="is not valid"):
            migrate.upgrade(fresh_postgres_url)
        connection.execute("DROP INDEX coffer.ix_entries_metadata")
    migrate.upgrade(fresh_postgres_url)
    assert migrate.current(fresh_postgres_url) == migrate.head()
