"""The worker's tables, as SQLAlchemy Core knows them. A test proves that the migrations make them
exactly so.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    MetaData,
    Sequence,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from WalletCore.postgres.tables import NAMING_CONVENTION

SCHEMA = "notifications"

metadata = MetaData(schema=SCHEMA, naming_convention=NAMING_CONVENTION)

inbox = Table(
    "inbox",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column(
        "recorded_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("clock_timestamp()"),
    ),
)

notifications_position = Sequence("notifications_position_seq", metadata=metadata, schema=SCHEMA)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column(
        "position",
        BigInteger,
        nullable=False,
        server_default=text("nextval('notifications.notifications_position_seq')"),
    ),
    Column("event_id", Uuid, nullable=False),
    Column("wallet_id", Uuid),
    Column("user_id", Text),
    Column("type", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("clock_timestamp()"),
    ),
    Column("read_at", DateTime(timezone=True)),
    Index("uq_notifications_position", "position", unique=True),
    Index("uq_notifications_event_id", "event_id", unique=True),
    Index(
        "ix_notifications_wallet_id_position",
        "wallet_id",
        "position",
        postgresql_where=text("wallet_id IS NOT NULL"),
    ),
    Index(
        "ix_notifications_user_id_position",
        "user_id",
        "position",
        postgresql_where=text("user_id IS NOT NULL"),
    ),
)
