"""How the database and those who follow the log are doing: bounded reads, each with a name."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from WalletCore.condition import (
    HOT_SECONDS,
    MAX_HOT_EVENTS,
    MAX_HOT_WALLETS,
    START_WORKER,
    Condition,
    HotWallet,
    Lag,
    Part,
    State,
)
from WalletCore.postgres.leadership import lock_name

_MILLISECONDS: Final = 1000
_UUID7_RANDOM_BITS: Final = 80
"""Of the 128; the 48 before are the time in milliseconds (RFC 9562, section 5.7)."""

VERSION = text(
    "SELECT current_setting('server_version'), current_setting('transaction_read_only') = 'off'"
)
LEADS = text(
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(:name, 0))"
)
SESSIONS = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = :application"
)
LAG = text(
    "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) "
    "FROM (SELECT id, created_at FROM coffer.events ORDER BY position DESC LIMIT :rows) e "
    "WHERE NOT EXISTS (SELECT FROM notifications.inbox i WHERE i.event_id = e.id)"
)
HOT_WALLETS = text(
    "SELECT wallet_id, count(*) FROM (SELECT wallet_id FROM coffer.events WHERE id >= :first "
    "ORDER BY id DESC LIMIT :rows) e WHERE wallet_id IS NOT NULL "
    "GROUP BY wallet_id ORDER BY count(*) DESC, wallet_id LIMIT :wallets"
)
"""The ids begin with the time, so the last seconds are a range of the primary key."""


def read_condition(connection: Connection, newest_events: int) -> Condition:
    """How things are. ``newest_events``: so many are compared with what was recorded."""
    version, writable = connection.execute(VERSION).one()
    how = "" if writable else ", but only for reading"
    events, seconds = connection.execute(LAG, {"rows": newest_events}).one()
    wanted = {"first": first_id(time.time()), "rows": MAX_HOT_EVENTS, "wallets": MAX_HOT_WALLETS}
    hot = connection.execute(HOT_WALLETS, wanted).all()
    return Condition(
        Part("database", State.UP if writable else State.DOWN, f"PostgreSQL {version}{how}"),
        _relay(connection),
        _follower(connection),
        Lag(events, max(0.0, float(seconds)), newest_events),
        tuple(HotWallet(wallet_id, count) for wallet_id, count in hot),
    )


def first_id(now: float) -> UUID:
    """The smallest UUIDv7 of the HOT_SECONDS before ``now``, in seconds since 1970."""
    return UUID(int=int((now - HOT_SECONDS) * _MILLISECONDS) << _UUID7_RANDOM_BITS)


def _relay(connection: Connection) -> Part:
    leads = connection.execute(LEADS, {"name": lock_name("relay")}).scalar_one()
    sessions = connection.execute(SESSIONS, {"application": "coffer-relay"}).scalar_one()
    if not leads:
        return Part("relay", State.DOWN, "none leads: python -m RestAPI relay")
    return Part("relay", State.UP, f"one leads, {max(0, sessions - 1)} stand by")


def _follower(connection: Connection) -> Part:
    """The worker that reads the log where there is no broker."""
    if not connection.execute(LEADS, {"name": lock_name("worker")}).scalar_one():
        return Part("worker", State.DOWN, f"none: {START_WORKER}")
    return Part("worker", State.UP, "one follows the log")
