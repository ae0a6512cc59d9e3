"""What announcing needs: messages of a client's own, the places of those who follow the log, the
cluster that the log belongs to, and an index for the housekeeping of idempotency keys.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE coffer.messages (
    id uuid NOT NULL,
    user_id text NOT NULL,
    description text NOT NULL,
    status text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT ck_messages_status CHECK (status IN ('NotProcessed', 'Processed'))
);

CREATE TABLE coffer.followers (
    name text NOT NULL,
    system_identifier text NOT NULL,
    cursor text,
    recorded text,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_followers PRIMARY KEY (name)
) WITH (fillfactor = 50);

CREATE TABLE coffer.log_origin (
    only_row boolean NOT NULL DEFAULT true,
    system_identifier text NOT NULL,
    adopted_position bigint NOT NULL,
    CONSTRAINT pk_log_origin PRIMARY KEY (only_row),
    CONSTRAINT ck_log_origin_one_row CHECK (only_row)
);
INSERT INTO coffer.log_origin (system_identifier, adopted_position)
    SELECT system_identifier::text, 0 FROM pg_control_system();

CREATE FUNCTION coffer.adopt_log() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Where the log was restored from another cluster, notes how far that part goes. SHARE waits for
-- those who are writing, so that no position up to the highest one is still to be committed.
DECLARE
    here text := (SELECT system_identifier::text FROM pg_control_system());
BEGIN
    IF EXISTS (SELECT FROM coffer.log_origin WHERE system_identifier = here) THEN
        RETURN false;
    END IF;
    LOCK TABLE coffer.events IN SHARE MODE;
    UPDATE coffer.log_origin SET system_identifier = here,
        adopted_position = (SELECT coalesce(max(position), 0) FROM coffer.events)
        WHERE system_identifier <> here;
    RETURN FOUND;
END $$;
REVOKE ALL ON FUNCTION coffer.adopt_log() FROM PUBLIC;

CREATE INDEX ix_idempotency_keys_created_at ON coffer.idempotency_keys (created_at);
"""

DOWNGRADE = """
DROP INDEX coffer.ix_idempotency_keys_created_at;
DROP FUNCTION coffer.adopt_log();
DROP TABLE coffer.log_origin, coffer.followers, coffer.messages;
"""


def upgrade() -> None:
    """Add the tables of announcing."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away: places in the log and statuses that were set by hand are forgotten."""
    op.execute(DOWNGRADE)
