"""What finding wallets by how their owner or name begins needs: a function that takes the case
away, and an index on each of the two.

While an index is made no wallet changes, some seconds for a million: on a large ledger make them
before, under the same names, with CREATE INDEX CONCURRENTLY, after the function. What is there is
taken as it is, unless that was left unfinished.
"""

from __future__ import annotations

from alembic import op

from WalletCore.postgres.folding import FOLD_FUNCTION

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE NOT indisvalid AND indexrelid IN (
        to_regclass('coffer.ix_wallets_folded_owner'),
        to_regclass('coffer.ix_wallets_folded_name')))
    THEN
        RAISE EXCEPTION 'An index for searching is not valid: CREATE INDEX CONCURRENTLY has failed'
            USING HINT = 'Drop the index that is marked INVALID and make it again.';
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS ix_wallets_folded_owner
    ON coffer.wallets (coffer.fold(owner) text_pattern_ops) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_wallets_folded_name
    ON coffer.wallets (coffer.fold(name) text_pattern_ops) WHERE name IS NOT NULL;
"""

DOWNGRADE = """
DROP INDEX coffer.ix_wallets_folded_owner, coffer.ix_wallets_folded_name;
DROP FUNCTION coffer.fold(text);
"""


def upgrade() -> None:
    """Add the function and the indexes."""
    op.get_bind().exec_driver_sql(FOLD_FUNCTION)
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away."""
    op.execute(DOWNGRADE)
