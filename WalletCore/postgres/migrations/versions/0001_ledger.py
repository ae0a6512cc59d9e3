"""The ledger: wallets, entries, the event log, the idempotency keys and the currencies.

Entries and events are append-only for everybody: a trigger refuses UPDATE, DELETE and TRUNCATE.
A currency's decimals never change, because they give every stored amount its value.
The log goes away by whole partitions only, one a week, which ensure_event_partitions makes ahead;
that function runs with its owner's rights, so that the service's role needs none to change tables.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE coffer.wallets (
    id uuid NOT NULL,
    owner text,
    name text,
    currency text NOT NULL,
    balance bigint NOT NULL,
    held bigint NOT NULL,
    shortfall bigint NOT NULL,
    min_balance bigint NOT NULL,
    version bigint NOT NULL,
    entry_seq bigint NOT NULL,
    status text NOT NULL,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_wallets PRIMARY KEY (id),
    CONSTRAINT ck_wallets_balance_range
        CHECK (balance BETWEEN -1000000000000000000 AND 1000000000000000000),
    CONSTRAINT ck_wallets_min_balance_range
        CHECK (min_balance BETWEEN -1000000000000000000 AND 1000000000000000000),
    CONSTRAINT ck_wallets_held_range CHECK (held BETWEEN 0 AND 1000000000000000000),
    CONSTRAINT ck_wallets_shortfall_not_negative CHECK (shortfall >= 0),
    CONSTRAINT ck_wallets_enough CHECK (balance - held + shortfall >= min_balance),
    CONSTRAINT ck_wallets_counters CHECK (entry_seq >= 0 AND version > entry_seq),
    CONSTRAINT ck_wallets_status CHECK (status IN ('active', 'frozen', 'closed')),
    CONSTRAINT ck_wallets_closed_wallets_are_empty
        CHECK (status <> 'closed' OR (balance = 0 AND held = 0))
) WITH (fillfactor = 50);
CREATE INDEX ix_wallets_owner_id ON coffer.wallets (owner, id);

CREATE TABLE coffer.entries (
    wallet_id uuid NOT NULL,
    seq bigint NOT NULL,
    operation_id uuid NOT NULL,
    operation_type text NOT NULL,
    delta bigint NOT NULL,
    balance_after bigint NOT NULL,
    counterparty text NOT NULL,
    reference text,
    description text,
    metadata jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_entries PRIMARY KEY (wallet_id, seq),
    CONSTRAINT ck_entries_seq_from_one CHECK (seq > 0),
    CONSTRAINT ck_entries_delta_range
        CHECK (delta <> 0 AND delta BETWEEN -1000000000000000000 AND 1000000000000000000),
    CONSTRAINT ck_entries_balance_range
        CHECK (balance_after BETWEEN -1000000000000000000 AND 1000000000000000000),
    CONSTRAINT ck_entries_direction CHECK (
        (operation_type = 'DEPOSIT' AND delta > 0) OR (operation_type = 'WITHDRAW' AND delta < 0))
);
CREATE INDEX ix_entries_wallet_id_created_at_seq ON coffer.entries (wallet_id, created_at, seq);
CREATE UNIQUE INDEX uq_entries_operation_id_wallet_id
    ON coffer.entries (operation_id, wallet_id);
CREATE INDEX ix_entries_wallet_id_reference_seq
    ON coffer.entries (wallet_id, reference, seq) WHERE reference IS NOT NULL;

CREATE SEQUENCE coffer.events_position_seq AS bigint CACHE 1;
CREATE TABLE coffer.events (
    id uuid NOT NULL,
    position bigint NOT NULL DEFAULT nextval('coffer.events_position_seq'),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    wallet_id uuid,
    seq bigint,
    type text NOT NULL,
    user_id text,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT ck_events_seq_of_wallet CHECK ((wallet_id IS NULL) = (seq IS NULL))
) PARTITION BY RANGE (id);
CREATE INDEX ix_events_xid_position ON coffer.events (xid, position);
CREATE INDEX ix_events_position ON coffer.events (position);
CREATE INDEX ix_events_wallet_id_seq ON coffer.events (wallet_id, seq);

CREATE TABLE coffer.currencies (
    code text NOT NULL,
    exponent smallint NOT NULL,
    CONSTRAINT pk_currencies PRIMARY KEY (code),
    CONSTRAINT ck_currencies_exponent_range CHECK (exponent BETWEEN 0 AND 8)
);

CREATE TABLE coffer.idempotency_keys (
    scope text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint NOT NULL,
    response text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (scope, key),
    CONSTRAINT ck_idempotency_keys_request_hash_sha256 CHECK (octet_length(request_hash) = 32),
    CONSTRAINT ck_idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 255)
);

CREATE FUNCTION coffer.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON coffer.entries
    FOR EACH ROW EXECUTE FUNCTION coffer.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON coffer.events
    FOR EACH ROW EXECUTE FUNCTION coffer.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON coffer.currencies
    FOR EACH ROW EXECUTE FUNCTION coffer.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON coffer.entries
    FOR EACH STATEMENT EXECUTE FUNCTION coffer.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON coffer.events
    FOR EACH STATEMENT EXECUTE FUNCTION coffer.refuse_change();

CREATE FUNCTION coffer.ensure_event_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Makes the partitions from last week to days_ahead from now, one a week; the bounds are the
-- smallest UUIDv7 of their moments (48 bits of milliseconds first). Attached rather than created
-- in place, because ATTACH does not wait for writers. Gives the days that are covered from now.
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    monday date := date_trunc('week', today)::date - 7;
    name text;
BEGIN
    IF days_ahead NOT BETWEEN 0 AND 3660 THEN
        RAISE EXCEPTION 'days_ahead must be between 0 and 3660, not %', days_ahead;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('coffer.events.partitions', 0));
    WHILE monday <= today + days_ahead LOOP
        name := 'events_' || to_char(monday, 'IYYY_IW');
        IF to_regclass(format('coffer.%I', name)) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE coffer.%I '
                '(LIKE coffer.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
            EXECUTE format(
                'ALTER TABLE coffer.events ATTACH PARTITION coffer.%I FOR VALUES FROM (%L) TO (%L)',
                name, coffer.uuid7_floor(monday), coffer.uuid7_floor(monday + 7));
        END IF;
        monday := monday + 7;
    END LOOP;
    RETURN monday - today;
END $$;
CREATE FUNCTION coffer.uuid7_floor(day date) RETURNS uuid LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
    SELECT (lpad(to_hex((extract(epoch FROM day::timestamp)::bigint * 1000)), 12, '0')
            || '00000000000000000000')::uuid
$$;
REVOKE ALL ON FUNCTION coffer.ensure_event_partitions(integer) FROM PUBLIC;
"""

DOWNGRADE = """
DROP TABLE coffer.idempotency_keys, coffer.currencies, coffer.events, coffer.entries,
    coffer.wallets;
DROP SEQUENCE coffer.events_position_seq;
DROP FUNCTION coffer.ensure_event_partitions(integer), coffer.uuid7_floor(date),
    coffer.refuse_change();
"""


def upgrade() -> None:
    """Make the ledger."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the whole ledger away, with all that is in it."""
    op.execute(DOWNGRADE)
