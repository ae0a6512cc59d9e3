"""What Alembic runs around each migration; ``WalletCore.postgres.migrate`` hands the connection."""

from __future__ import annotations

from alembic import context

from WalletCore.postgres.notification_tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
