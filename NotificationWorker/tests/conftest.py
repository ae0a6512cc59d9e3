"""A consumer on a thread of its own, on a queue and a database of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import orjson
import pika
import psycopg
import pytest
from uuid_utils.compat import uuid7

from NotificationWorker.consumer import Consumer
from NotificationWorker.sweeper import Sweeper
from testkit.waiting import eventually
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.inbox import PostgresInbox
from WalletCore.recorder import Recorder
from WalletCore.topology import Topology

DELIVERY_LIMIT = 3
JOIN_SECONDS = 10.0


def message_event(text: str = "hello", event_id: UUID | None = None) -> dict[str, Any]:
    """An event of a message."""
    event_id = event_id or uuid7()
    return {
        "specversion": "1.0",
        "id": str(event_id),
        "source": "/coffer",
        "type": "coffer.message",
        "subject": f"messages/{event_id}",
        "time": "2026-11-24T12:00:00.000000Z",
        "datacontenttype": "application/json",
        "userid": "ann",
        "data": {"user_id": "ann", "description": text},
    }


class Broker:
    """The queues of one test, from outside."""

    def __init__(self, url: str, topology: Topology) -> None:
        self.url = url
        self.topology = topology
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel: Any = self.connection.channel()
        self.channel.confirm_delivery()
        self.declare()

    def declare(self) -> None:
        """What relay and worker declare."""
        for method, arguments in self.topology.steps():
            getattr(self.channel, method)(**arguments)

    def publish(self, *bodies: object) -> None:
        """Send documents as JSON, and bytes as they are."""
        for body in bodies:
            raw = body if isinstance(body, bytes) else orjson.dumps(body)
            properties = pika.BasicProperties(message_id=str(uuid7()), delivery_mode=2)
            self.channel.basic_publish(
                self.topology.exchange, "coffer.message", raw, properties, mandatory=True
            )

    def waiting(self, queue: str | None = None) -> int:
        """How many messages are ready in the queue."""
        found = self.channel.queue_declare(queue or self.topology.queue, passive=True)
        return int(found.method.message_count)

    def dead(self) -> list[tuple[str, bytes]]:
        """Reason and body of each dead message; they are gone afterwards."""
        found: list[tuple[str, bytes]] = []
        while True:
            method, properties, body = self.channel.basic_get(
                self.topology.dead_queue, auto_ack=True
            )
            if method is None:
                return found
            found.append((str((properties.headers or {}).get("x-coffer-reason")), body))


@pytest.fixture
def topology(amqp_prefix: str) -> Topology:
    """Names of this test's own."""
    return Topology(amqp_prefix, DELIVERY_LIMIT)


@pytest.fixture
def broker(amqp_url: str, topology: Topology) -> Iterator[Broker]:
    """The broker, with everything declared."""
    broker = Broker(amqp_url, topology)
    yield broker
    if broker.connection.is_open:
        broker.connection.close()


Consuming = Callable[..., Any]


@contextmanager
def consuming(amqp_url: str, topology: Topology, database_url: str) -> Iterator[Consumer]:
    """A consumer that runs in the block."""
    stop = threading.Event()
    inbox = PostgresInbox(database_url)
    consumer = Consumer(amqp_url, topology, Recorder(inbox), stop)
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    sweepers_inbox = PostgresInbox(database_url)
    sweeper = Sweeper(amqp_url, topology, Recorder(sweepers_inbox), stop)
    sweeping = threading.Thread(target=sweeper.run, daemon=True)
    sweeping.start()
    try:
        eventually(lambda: consumer.connected, "the consumer")
        yield consumer
    finally:
        stop.set()
        thread.join(JOIN_SECONDS)
        sweeping.join(JOIN_SECONDS)
        inbox.close()
        sweepers_inbox.close()
        assert not thread.is_alive()


def texts(database_url: str) -> list[str]:
    """The texts of all notifications, in their order."""
    with psycopg.connect(connection_info(database_url)) as connection:
        rows = connection.execute(
            "SELECT text FROM notifications.notifications ORDER BY position"
        ).fetchall()
    return [row[0] for row in rows]


def wait_for_texts(database_url: str, wanted: Sequence[str]) -> None:
    """Return when these are the texts, in any order."""
    eventually(
        lambda: sorted(texts(database_url)) == sorted(wanted), f"{len(wanted)} notifications"
    )
