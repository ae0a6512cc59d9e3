"""``python -m RestAPI status``: what is there and how far behind, for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from WalletCore.postgres.connect import read_engine
from WalletCore.postgres.leadership import lock_name
from WalletCore.settings import Settings
from WalletCore.topology import Topology, bounded_url

CACHE_TIMEOUT_SECONDS: Final = 2
MAX_COUNTED_EVENTS: Final = 100_000
"""Of the newest events so many are compared with the inbox."""

START_WORKER: Final = "python -m NotificationWorker"

Line = tuple[bool, str]

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


def report(settings: Settings, url: str) -> tuple[list[str], bool]:
    """A line for each part, and whether everything that is configured is there."""
    lines: list[Line] = []
    lines.append(_asked("cache", lambda: _cache(settings)))
    lines += _broker(settings)
    engine = read_engine(url)
    try:
        with engine.connect() as connection:
            version, writable = connection.execute(VERSION).one()
            how = "" if writable else ", but only for reading"
            lines.insert(0, (bool(writable), f"database  PostgreSQL {version}{how}"))
            lines.append(_relay(connection))
            if settings.amqp_url is None:
                lines.append(_follower(connection))
            lines.append(_lag(connection))
    except SQLAlchemyError as error:
        lines.insert(0, (False, f"database  away: {type(error.__cause__ or error).__name__}"))
    finally:
        engine.dispose()
    return [("   " if good else "!! ") + line for good, line in lines], all(g for g, _ in lines)


def _asked(name: str, ask: Callable[[], str]) -> Line:
    try:
        return True, f"{name:<9} {ask()}"
    except (RedisError, AMQPError, OSError) as error:
        return False, f"{name:<9} away: {type(error).__name__}"


def _cache(settings: Settings) -> str:
    if settings.redis_url is None:
        return "none is configured (COFFER_REDIS_URL)"
    with Redis.from_url(
        settings.redis_url.get_secret_value(), socket_timeout=CACHE_TIMEOUT_SECONDS
    ) as redis:
        info: Any = redis.info("server")
        return f"Redis {info['redis_version']}"


def _broker(settings: Settings) -> list[Line]:
    """The broker, and the workers that consume from it."""
    if settings.amqp_url is None:
        return [(True, "broker    none is configured (COFFER_AMQP_URL): the worker reads the log")]
    topology = Topology.of(settings)
    url = bounded_url(settings.amqp_url.get_secret_value(), "coffer-status")
    try:
        connection = pika.BlockingConnection(pika.URLParameters(url))
        try:
            queue, dead = (
                connection.channel().queue_declare(name, passive=True).method
                for name in (topology.queue, topology.dead_queue)
            )
        finally:
            connection.close()
    except ChannelClosedByBroker:
        return [(True, "broker    RabbitMQ, without our queues: no relay or worker was there yet")]
    except (AMQPError, OSError) as error:
        return [(False, f"broker    away: {type(error).__name__}"), (False, "worker    not known")]
    waiting = f"RabbitMQ: {queue.message_count} messages wait, {dead.message_count} are dead"
    workers = queue.consumer_count
    return [
        (True, f"broker    {waiting}"),
        (workers > 0, f"worker    {workers or 'none'}: {'consuming' if workers else START_WORKER}"),
    ]


def _relay(connection: Connection) -> Line:
    leads = connection.execute(LEADS, {"name": lock_name("relay")}).scalar_one()
    sessions = connection.execute(SESSIONS, {"application": "coffer-relay"}).scalar_one()
    if not leads:
        return False, "relay     none leads: python -m RestAPI relay"
    return True, f"relay     one leads, {max(0, sessions - 1)} stand by"


def _follower(connection: Connection) -> Line:
    """The worker that reads the log where there is no broker."""
    if not connection.execute(LEADS, {"name": lock_name("worker")}).scalar_one():
        return False, f"worker    none: {START_WORKER}"
    return True, "worker    one follows the log"


def _lag(connection: Connection) -> Line:
    events, seconds = connection.execute(LAG, {"rows": MAX_COUNTED_EVENTS}).one()
    known = f"of the newest {MAX_COUNTED_EVENTS:,} events"
    if not events:
        return True, f"lag       none: every event is recorded ({known})"
    return (
        True,
        f"lag       {events:,} are not recorded, the oldest is {seconds:.0f} s old ({known})",
    )
