"""Transfers, holds and reversals: what an entry belongs to, holds, ceilings of wallets."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE coffer.wallets ADD COLUMN max_balance bigint,
    ADD CONSTRAINT ck_wallets_max_balance CHECK (
        max_balance BETWEEN 0 AND 1000000000000000000 AND balance <= max_balance);

ALTER TABLE coffer.entries ADD COLUMN related_id uuid,
    DROP CONSTRAINT ck_entries_direction,
    ADD CONSTRAINT ck_entries_direction CHECK (
        CASE WHEN operation_type IN ('DEPOSIT', 'TRANSFER_IN', 'CAPTURE_IN', 'REVERSAL_IN')
        THEN delta > 0
        ELSE delta < 0 AND operation_type IN
            ('WITHDRAW', 'TRANSFER_OUT', 'CAPTURE_OUT', 'REVERSAL_OUT') END),
    ADD CONSTRAINT ck_entries_related CHECK (
        (related_id IS NULL) = (operation_type IN ('DEPOSIT', 'WITHDRAW')));
CREATE INDEX ix_entries_related_id ON coffer.entries (related_id) WHERE related_id IS NOT NULL;

CREATE TABLE coffer.holds (
    wallet_id uuid NOT NULL,
    id uuid NOT NULL,
    amount bigint NOT NULL,
    captured bigint NOT NULL,
    status text NOT NULL,
    reference text,
    description text,
    metadata jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_holds PRIMARY KEY (wallet_id, id),
    CONSTRAINT ck_holds_amount_range CHECK (amount BETWEEN 1 AND 1000000000000000000),
    CONSTRAINT ck_holds_captured_range CHECK (captured BETWEEN 0 AND amount),
    CONSTRAINT ck_holds_status CHECK (status IN ('open', 'captured', 'voided', 'expired'))
);
CREATE INDEX ix_holds_id ON coffer.holds (id);
CREATE INDEX ix_holds_wallet_id_id ON coffer.holds (wallet_id, id) WHERE status = 'open';
CREATE INDEX ix_holds_expires_at ON coffer.holds (expires_at) WHERE status = 'open';
"""

DOWNGRADE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM coffer.entries WHERE related_id IS NOT NULL) THEN
        RAISE EXCEPTION 'There are transfers, captures or reversals, which the tables before '
            'do not know: entries are append-only, so there is no way back.';
    END IF;
    IF EXISTS (SELECT FROM coffer.holds WHERE status = 'open') THEN
        RAISE EXCEPTION 'There are open holds, whose money would stay held for ever: void them.';
    END IF;
END $$;
DROP TABLE coffer.holds;
ALTER TABLE coffer.entries DROP COLUMN related_id,
    DROP CONSTRAINT ck_entries_direction,
    ADD CONSTRAINT ck_entries_direction CHECK (
        (operation_type = 'DEPOSIT' AND delta > 0) OR (operation_type = 'WITHDRAW' AND delta < 0));
ALTER TABLE coffer.wallets DROP COLUMN max_balance;
"""


def upgrade() -> None:
    """Add them; what is there stays as it is."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away, unless money has moved that only they can tell of. Resolved holds and
    ceilings are forgotten.
    """
    op.execute(DOWNGRADE)
