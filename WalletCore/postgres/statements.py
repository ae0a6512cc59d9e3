"""The committer's SQL, each statement with a name; batches go in as arrays, one per column."""

from __future__ import annotations

from typing import Final

WALLET_COLUMNS: Final = (
    "id, owner, name, currency, balance, held, shortfall, min_balance, version, entry_seq, "
    "status, metadata, created_at, updated_at"
)

BEGIN: Final = "BEGIN"
TRANSACTION_ID: Final = "SELECT pg_current_xact_id()::text"
LOCK_KEYS: Final = "SELECT pg_advisory_xact_lock(h) FROM unnest(%s::bigint[]) AS h"
TRY_LOCK_KEYS: Final = "SELECT h, pg_try_advisory_xact_lock(h) FROM unnest(%s::bigint[]) AS h"
LOCK_WALLETS: Final = (
    f"SELECT {WALLET_COLUMNS} FROM coffer.wallets WHERE id = ANY(%s::uuid[]) "  # noqa: S608
    "ORDER BY id FOR NO KEY UPDATE"
)
TRY_LOCK_WALLETS: Final = f"{LOCK_WALLETS} SKIP LOCKED"
EXISTING_WALLETS: Final = "SELECT id FROM coffer.wallets WHERE id = ANY(%s::uuid[])"
LOCK_MESSAGES: Final = (
    "SELECT id, user_id, description, status, created_at, updated_at FROM coffer.messages "
    "WHERE id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE"
)
TRY_LOCK_MESSAGES: Final = f"{LOCK_MESSAGES} SKIP LOCKED"
EXISTING_MESSAGES: Final = "SELECT id FROM coffer.messages WHERE id = ANY(%s::uuid[])"
REMEMBERED: Final = (
    "SELECT k.scope, k.key, k.request_hash, k.status, k.response FROM coffer.idempotency_keys k "
    "JOIN unnest(%s::text[], %s::text[]) AS v(scope, key) ON k.scope = v.scope AND k.key = v.key"
)
INSERT_WALLETS: Final = (
    f"INSERT INTO coffer.wallets ({WALLET_COLUMNS}) SELECT * FROM unnest("  # noqa: S608
    "%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::jsonb[], %s::timestamptz[], "
    "%s::timestamptz[])"
)
UPDATE_WALLETS: Final = (
    "UPDATE coffer.wallets AS w SET balance = v.balance, held = v.held, shortfall = v.shortfall, "
    "version = v.version, entry_seq = v.entry_seq, updated_at = v.updated_at FROM unnest("
    "%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::timestamptz[]) AS v(id, balance, held, shortfall, version, entry_seq, updated_at) "
    "WHERE w.id = v.id"
)
DESCRIBE_WALLETS: Final = (
    "UPDATE coffer.wallets AS w SET name = v.name, status = v.status, metadata = v.metadata "
    "FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::jsonb[]) "
    "AS v(id, name, status, metadata) WHERE w.id = v.id"
)
INSERT_ENTRIES: Final = (
    "INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, "
    "balance_after, counterparty, reference, description, metadata, created_at) "
    "SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::uuid[], %s::text[], %s::bigint[], "
    "%s::bigint[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])"
)
INSERT_EVENTS: Final = (
    "INSERT INTO coffer.events (id, wallet_id, seq, type, user_id, body, created_at) "
    "SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::text[], "
    "%s::text[], %s::timestamptz[])"
)
INSERT_MESSAGES: Final = (
    "INSERT INTO coffer.messages (id, user_id, description, status, created_at, updated_at) "
    "SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], "
    "%s::timestamptz[])"
)
MARK_MESSAGES: Final = (
    "UPDATE coffer.messages AS m SET status = v.status, updated_at = v.updated_at "
    "FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS v(id, status, updated_at) "
    "WHERE m.id = v.id"
)
INSERT_KEYS: Final = (
    "INSERT INTO coffer.idempotency_keys (scope, key, request_hash, status, response) "
    "SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::smallint[], %s::text[])"
)
COMMIT: Final = "COMMIT"

TRANSACTION_STATUS: Final = "SELECT pg_xact_status(%s::xid8)"
EVENT_EXISTS: Final = "SELECT EXISTS (SELECT FROM coffer.events WHERE id = %s)"
KEY_EXISTS: Final = (
    "SELECT EXISTS (SELECT FROM coffer.idempotency_keys "
    "WHERE scope = %s AND key = %s AND request_hash = %s)"
)
