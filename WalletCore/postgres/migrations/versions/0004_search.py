"""What searching operations across wallets needs: an index on references and one on metadata.

Both leave out the entries that have none, which then pay nothing. While an index is made nothing is
written: on a large ledger make them before, under the same names, with CREATE INDEX CONCURRENTLY.
What is there is taken as it is, unless that was left unfinished.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE NOT indisvalid AND indexrelid IN (
        to_regclass('coffer.ix_entries_reference_operation_id_wallet_id'),
        to_regclass('coffer.ix_entries_metadata')))
    THEN
        RAISE EXCEPTION 'An index for searching is not valid: CREATE INDEX CONCURRENTLY has failed'
            USING HINT = 'Drop the index that is marked INVALID and make it again.';
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS ix_entries_reference_operation_id_wallet_id
    ON coffer.entries (reference, operation_id, wallet_id) WHERE reference IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_entries_metadata
    ON coffer.entries USING gin (metadata jsonb_path_ops) WITH (fastupdate = off)
    WHERE metadata <> '{}'::jsonb;
"""

DOWNGRADE = """
DROP INDEX coffer.ix_entries_reference_operation_id_wallet_id, coffer.ix_entries_metadata;
"""


def upgrade() -> None:
    """Add the indexes."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away."""
    op.execute(DOWNGRADE)
