"""The tables, as SQLAlchemy Core knows them. A test proves that the migrations make exactly these.

The CHECKs repeat every invariant that the domain holds, so that a defect there cannot reach the
money. Tables that belong to a wallet carry its id first in their key, towards distribution by it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

from WalletCore.domain.money import MAX_AMOUNT_MINOR, MAX_EXPONENT
from WalletCore.postgres.folding import FOLD_FUNCTION
from WalletCore.shop import MAX_NAME_CHARACTERS, MAX_PRICE_COINS

SCHEMA = "coffer"

WALLETS_FILLFACTOR_PERCENT = 50
"""Half of each page stays free: a balance changes in place (HOT) and no index is touched."""


class Xid8(UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"


NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}

metadata = MetaData(schema=SCHEMA, naming_convention=NAMING_CONVENTION)

_RANGE = f"BETWEEN {-MAX_AMOUNT_MINOR} AND {MAX_AMOUNT_MINOR}"

wallets = Table(
    "wallets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", Text),
    Column("name", Text),
    Column("currency", Text, nullable=False),
    Column("balance", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("shortfall", BigInteger, nullable=False),
    Column("min_balance", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("entry_seq", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("max_balance", BigInteger),
    CheckConstraint(f"balance {_RANGE}", name="balance_range"),
    CheckConstraint(f"min_balance {_RANGE}", name="min_balance_range"),
    CheckConstraint(f"held BETWEEN 0 AND {MAX_AMOUNT_MINOR}", name="held_range"),
    CheckConstraint("shortfall >= 0", name="shortfall_not_negative"),
    CheckConstraint("balance - held + shortfall >= min_balance", name="enough"),
    CheckConstraint("entry_seq >= 0 AND version > entry_seq", name="counters"),
    CheckConstraint("status IN ('active', 'frozen', 'closed')", name="status"),
    CheckConstraint(
        "status <> 'closed' OR (balance = 0 AND held = 0)", name="closed_wallets_are_empty"
    ),
    CheckConstraint(
        f"max_balance BETWEEN 0 AND {MAX_AMOUNT_MINOR} AND balance <= max_balance",
        name="max_balance",
    ),
    Index("ix_wallets_owner_id", "owner", "id"),
    postgresql_with={"fillfactor": str(WALLETS_FILLFACTOR_PERCENT)},
)
for _column in (wallets.c.owner, wallets.c.name):
    Index(
        f"ix_wallets_folded_{_column.name}",
        func.coffer.fold(_column).label("folded"),
        postgresql_ops={"folded": "text_pattern_ops"},
        postgresql_where=_column.is_not(None),
    )
event.listen(wallets, "before_create", DDL(FOLD_FUNCTION))  # type: ignore[no-untyped-call]
"""What these two indexes use."""

entries = Table(
    "entries",
    metadata,
    Column("wallet_id", Uuid, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("operation_id", Uuid, nullable=False),
    Column("operation_type", Text, nullable=False),
    Column("delta", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("counterparty", Text, nullable=False),
    Column("reference", Text),
    Column("description", Text),
    Column("metadata", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("related_id", Uuid),
    CheckConstraint("seq > 0", name="seq_from_one"),
    CheckConstraint(f"delta <> 0 AND delta {_RANGE}", name="delta_range"),
    CheckConstraint(f"balance_after {_RANGE}", name="balance_range"),
    CheckConstraint(
        "CASE WHEN operation_type IN "
        "('DEPOSIT', 'TRANSFER_IN', 'CAPTURE_IN', 'REVERSAL_IN', 'PURCHASE_IN') "
        "THEN delta > 0 "
        "ELSE delta < 0 AND operation_type IN "
        "('WITHDRAW', 'TRANSFER_OUT', 'CAPTURE_OUT', 'REVERSAL_OUT', 'PURCHASE_OUT') END",
        name="direction",
    ),
    CheckConstraint(
        "(related_id IS NULL) = (operation_type IN ('DEPOSIT', 'WITHDRAW'))", name="related"
    ),
    Index("ix_entries_wallet_id_created_at_seq", "wallet_id", "created_at", "seq"),
    Index("uq_entries_operation_id_wallet_id", "operation_id", "wallet_id", unique=True),
    Index(
        "ix_entries_wallet_id_reference_seq",
        "wallet_id",
        "reference",
        "seq",
        postgresql_where=text("reference IS NOT NULL"),
    ),
    Index(
        "ix_entries_related_id",
        "related_id",
        postgresql_where=text("related_id IS NOT NULL"),
    ),
    Index(
        "ix_entries_reference_operation_id_wallet_id",
        "reference",
        "operation_id",
        "wallet_id",
        postgresql_where=text("reference IS NOT NULL"),
    ),
    Index(
        "ix_entries_metadata",
        "metadata",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
        postgresql_with={"fastupdate": "off"},
        postgresql_where=text("metadata <> '{}'::jsonb"),
    ),
)

holds = Table(
    "holds",
    metadata,
    Column("wallet_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("reference", Text),
    Column("description", Text),
    Column("metadata", JSONB, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"amount BETWEEN 1 AND {MAX_AMOUNT_MINOR}", name="amount_range"),
    CheckConstraint("captured BETWEEN 0 AND amount", name="captured_range"),
    CheckConstraint("status IN ('open', 'captured', 'voided', 'expired')", name="status"),
    Index("ix_holds_id", "id"),
    Index("ix_holds_wallet_id_id", "wallet_id", "id", postgresql_where=text("status = 'open'")),
    Index("ix_holds_expires_at", "expires_at", postgresql_where=text("status = 'open'")),
)
"""Whoever changes a hold has locked its wallet. While it is open, ``amount - captured`` is part of
the wallet's ``held``."""

events_position = Sequence("events_position_seq", metadata=metadata, schema=SCHEMA)

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column(
        "position",
        BigInteger,
        nullable=False,
        server_default=text("nextval('coffer.events_position_seq')"),
    ),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("wallet_id", Uuid),
    Column("seq", BigInteger),
    Column("type", Text, nullable=False),
    Column("user_id", Text),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("(wallet_id IS NULL) = (seq IS NULL)", name="seq_of_wallet"),
    Index("ix_events_xid_position", "xid", "position"),
    Index("ix_events_position", "position"),
    Index("ix_events_wallet_id_seq", "wallet_id", "seq"),
    postgresql_partition_by="RANGE (id)",
)

currencies = Table(
    "currencies",
    metadata,
    Column("code", Text, primary_key=True),
    Column("exponent", SmallInteger, nullable=False),
    CheckConstraint(f"exponent BETWEEN 0 AND {MAX_EXPONENT}", name="exponent_range"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("response", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    CheckConstraint("octet_length(request_hash) = 32", name="request_hash_sha256"),
    CheckConstraint("char_length(key) BETWEEN 1 AND 255", name="key_length"),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("owner", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoked_by", Text),
    Column("last_used_at", DateTime(timezone=True)),
    CheckConstraint("octet_length(secret_hash) = 32", name="secret_hash_sha256"),
    CheckConstraint("cardinality(scopes) > 0", name="scopes_some"),
    CheckConstraint("owner IS NULL OR NOT 'admin' = ANY (scopes)", name="admin_of_all"),
    CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="revoked"),
)
"""API keys; of a secret only its SHA-256."""

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('NotProcessed', 'Processed')", name="status"),
)
"""Messages of a client's own. ``status``: set by hand; NULL: what the inbox says."""

shop_users = Table(
    "shop_users",
    metadata,
    Column("username", Text, primary_key=True),
    Column("wallet_id", Uuid, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(
        f"char_length(username) BETWEEN 1 AND {MAX_NAME_CHARACTERS}", name="username_length"
    ),
    Index("uq_shop_users_wallet_id", "wallet_id", unique=True),
)
"""Who may log in to the shop. Inserted with the wallet, in one transaction."""

shop_items = Table(
    "shop_items",
    metadata,
    Column("name", Text, primary_key=True),
    Column("price", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("changed_by", Text, nullable=False),
    CheckConstraint(f"char_length(name) BETWEEN 1 AND {MAX_NAME_CHARACTERS}", name="name_length"),
    CheckConstraint(f"price BETWEEN 1 AND {MAX_PRICE_COINS}", name="price_range"),
)
"""What the shop sells, and for how many coins now. ``changed_by``: the actor of the last change."""

followers = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("system_identifier", Text, nullable=False),
    Column("cursor", Text),
    Column("recorded", Text),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    postgresql_with={"fillfactor": "50"},
)
"""Where those who follow the log are. ``cursor``: behind what was passed on; ``recorded``: a
snapshot, all of which is in the inbox. Both mean something in one cluster alone."""

log_origin = Table(
    "log_origin",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default=text("true")),
    Column("system_identifier", Text, nullable=False),
    Column("adopted_position", BigInteger, nullable=False),
    CheckConstraint("only_row", name="one_row"),
)
"""The cluster that the log is in, and up to which position it came from another one."""
