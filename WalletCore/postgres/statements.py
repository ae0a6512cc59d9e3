"""The committer's SQL, each statement with a name; batches go in as arrays, one per column.

What is inserted unnests them in its SELECT list, side by side: in a FROM clause PostgreSQL would
first put each column aside as a table of its own.
https://www.postgresql.org/docs/current/xfunc-sql.html#XFUNC-SQL-FUNCTIONS-RETURNING-SET
"""

from __future__ import annotations

from typing import Final

WALLET_COLUMNS: Final = (
    "id, owner, name, currency, balance, held, shortfall, min_balance, version, entry_seq, "
    "status, metadata, created_at, updated_at, max_balance"
)
HOLD_COLUMNS: Final = (
    "id, wallet_id, amount, captured, status, reference, description, metadata, expires_at, "
    "created_at, updated_at"
)
ENTRY_COLUMNS: Final = (
    "wallet_id, seq, operation_id, operation_type, delta, balance_after, counterparty, reference, "
    "description, metadata, created_at, related_id"
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
HOLDS: Final = f"SELECT {HOLD_COLUMNS} FROM coffer.holds WHERE id = ANY(%s::uuid[])"  # noqa: S608
"""Not locked: whoever changes a hold has locked its wallet."""
ORIGINALS: Final = (
    f"SELECT {ENTRY_COLUMNS} FROM coffer.entries WHERE operation_id = ANY(%s::uuid[]) "  # noqa: S608
    "ORDER BY operation_id, delta"
)
REVERSED: Final = (
    "SELECT related_id, wallet_id, sum(abs(delta)) FROM coffer.entries "
    "WHERE related_id = ANY(%s::uuid[]) AND operation_type IN ('REVERSAL_OUT', 'REVERSAL_IN') "
    "GROUP BY related_id, wallet_id"
)
REMEMBERED: Final = (
    "SELECT k.scope, k.key, k.request_hash, k.status, k.response FROM coffer.idempotency_keys k "
    "JOIN unnest(%s::text[], %s::text[]) AS v(scope, key) ON k.scope = v.scope AND k.key = v.key"
)
INSERT_WALLETS: Final = (
    f"INSERT INTO coffer.wallets ({WALLET_COLUMNS}) "
    "SELECT unnest(%s::uuid[]), unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]), "
    "unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::bigint[]), "
    "unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::text[]), unnest(%s::jsonb[]), "
    "unnest(%s::timestamptz[]), unnest(%s::timestamptz[]), unnest(%s::bigint[])"
)
UPDATE_WALLETS: Final = (
    "UPDATE coffer.wallets AS w SET balance = v.balance, held = v.held, shortfall = v.shortfall, "
    "version = v.version, entry_seq = v.entry_seq, updated_at = v.updated_at FROM unnest("
    "%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], "
    "%s::timestamptz[]) AS v(id, balance, held, shortfall, version, entry_seq, updated_at) "
    "WHERE w.id = v.id"
)
DESCRIBE_WALLETS: Final = (
    "UPDATE coffer.wallets AS w SET balance = v.balance, held = v.held, shortfall = v.shortfall, "
    "version = v.version, entry_seq = v.entry_seq, updated_at = v.updated_at, name = v.name, "
    "status = v.status, metadata = v.metadata, min_balance = v.min_balance, "
    "max_balance = v.max_balance FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], "
    "%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], "
    "%s::jsonb[], %s::bigint[], %s::bigint[]) AS v(id, balance, held, shortfall, version, "
    "entry_seq, updated_at, name, status, metadata, min_balance, max_balance) WHERE w.id = v.id"
)
INSERT_ENTRIES: Final = (
    f"INSERT INTO coffer.entries ({ENTRY_COLUMNS}) "
    "SELECT unnest(%s::uuid[]), unnest(%s::bigint[]), unnest(%s::uuid[]), unnest(%s::text[]), "
    "unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::text[]), unnest(%s::text[]), "
    "unnest(%s::text[]), unnest(%s::jsonb[]), unnest(%s::timestamptz[]), unnest(%s::uuid[])"
)
INSERT_EVENTS: Final = (
    "INSERT INTO coffer.events (id, wallet_id, seq, type, user_id, body, created_at) "
    "SELECT unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::bigint[]), unnest(%s::text[]), "
    "unnest(%s::text[]), unnest(%s::text[]), unnest(%s::timestamptz[])"
)
INSERT_HOLDS: Final = (
    f"INSERT INTO coffer.holds ({HOLD_COLUMNS}) "
    "SELECT unnest(%s::uuid[]), unnest(%s::uuid[]), unnest(%s::bigint[]), unnest(%s::bigint[]), "
    "unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]), unnest(%s::jsonb[]), "
    "unnest(%s::timestamptz[]), unnest(%s::timestamptz[]), unnest(%s::timestamptz[])"
)
UPDATE_HOLDS: Final = (
    "UPDATE coffer.holds AS h SET captured = v.captured, status = v.status, "
    "updated_at = v.updated_at "
    "FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::timestamptz[]) "
    "AS v(wallet_id, id, captured, status, updated_at) "
    "WHERE h.wallet_id = v.wallet_id AND h.id = v.id"
)
INSERT_MESSAGES: Final = (
    "INSERT INTO coffer.messages (id, user_id, description, status, created_at, updated_at) "
    "SELECT unnest(%s::uuid[]), unnest(%s::text[]), unnest(%s::text[]), unnest(%s::text[]), "
    "unnest(%s::timestamptz[]), unnest(%s::timestamptz[])"
)
MARK_MESSAGES: Final = (
    "UPDATE coffer.messages AS m SET status = v.status, updated_at = v.updated_at "
    "FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS v(id, status, updated_at) "
    "WHERE m.id = v.id"
)
INSERT_USERS: Final = (
    "INSERT INTO coffer.shop_users (username, wallet_id, password_hash, created_at) "
    "SELECT unnest(%s::text[]), unnest(%s::uuid[]), unnest(%s::text[]), unnest(%s::timestamptz[])"
)
INSERT_KEYS: Final = (
    "INSERT INTO coffer.idempotency_keys (scope, key, request_hash, status, response) "
    "SELECT unnest(%s::text[]), unnest(%s::text[]), unnest(%s::bytea[]), unnest(%s::smallint[]), "
    "unnest(%s::text[])"
)
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"

TRANSACTION_STATUS: Final = "SELECT pg_xact_status(%s::xid8)"
EVENT_EXISTS: Final = "SELECT EXISTS (SELECT FROM coffer.events WHERE id = %s)"
KEY_EXISTS: Final = (
    "SELECT EXISTS (SELECT FROM coffer.idempotency_keys "
    "WHERE scope = %s AND key = %s AND request_hash = %s)"
)
