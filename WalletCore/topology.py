"""What Coffer has in the broker: names and arguments, as relay and worker both declare them.

RabbitMQ is disposable: everything is declared on every connect, and what is lost with it is
published again. Quorum queues, even on one node, because a classic one may keep a node that was
killed from booting. https://www.rabbitmq.com/docs/quorum-queues
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

from WalletCore.settings import Settings

PREFETCH_MESSAGES: Final = 500
"""How many messages a worker holds at once, so also the most that it records in one transaction."""

DEAD_DELIVERY_LIMIT: Final = 1_000_000
"""Looking at the dead queue counts as a delivery, and nothing may ever leave it for that."""

HEARTBEAT_SECONDS: Final = 10
"""A link that is silent for two of them is taken for broken."""
SOCKET_TIMEOUT_SECONDS: Final = 5
STACK_TIMEOUT_SECONDS: Final = 6
BLOCKED_TIMEOUT_SECONDS: Final = 60
"""After so long in an alarm of the broker a connection is given up, and another one tried."""

PERSISTENT: Final = 2
"""The delivery mode of a message that is written to disk."""

APPLICATION: Final = "coffer"
CONTENT_TYPE: Final = "application/cloudevents+json"
REASON_HEADER: Final = "x-coffer-reason"
"""Why a worker has put a message into the dead queue; one that the broker put there has none."""

Step: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Topology:
    """The exchanges and queues whose names begin with ``prefix``."""

    prefix: str
    delivery_limit: int

    @staticmethod
    def of(settings: Settings) -> Topology:
        """That of the settings."""
        return Topology(settings.amqp_prefix, settings.amqp_delivery_limit)

    @property
    def exchange(self) -> str:
        """A topic exchange; the routing key is the event's type."""
        return f"{self.prefix}.events"

    @property
    def queue(self) -> str:
        """What the workers consume."""
        return f"{self.prefix}.notifications"

    @property
    def dead_exchange(self) -> str:
        """Where the queue sends what it has delivered too often."""
        return f"{self.prefix}.dead"

    @property
    def dead_queue(self) -> str:
        """What was delivered too often, and what no worker can read."""
        return f"{self.prefix}.notifications.dead"

    def steps(self) -> list[Step]:
        """Methods of a channel with their arguments, in the order in which to call them."""
        quorum = {"x-queue-type": "quorum"}
        queue = {
            **quorum,
            "x-delivery-limit": self.delivery_limit,
            "x-dead-letter-exchange": self.dead_exchange,
            # Without these two a message may be lost between the queues.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        dead = {**quorum, "x-delivery-limit": DEAD_DELIVERY_LIMIT}
        return [
            _exchange(self.dead_exchange, "fanout"),
            _queue(self.dead_queue, dead),
            _binding(self.dead_queue, self.dead_exchange, ""),
            _exchange(self.exchange, "topic"),
            _queue(self.queue, queue),
            _binding(self.queue, self.exchange, "#"),
        ]


def bounded_url(url: str, connection_name: str) -> str:
    """``url`` with limits to every wait, as pika reads them from its query; those that are there
    stay.
    """
    before, _, query = url.partition("?")
    limits = {
        "heartbeat": str(HEARTBEAT_SECONDS),
        "socket_timeout": str(SOCKET_TIMEOUT_SECONDS),
        "stack_timeout": str(STACK_TIMEOUT_SECONDS),
        "blocked_connection_timeout": str(BLOCKED_TIMEOUT_SECONDS),
        "client_properties": str({"connection_name": connection_name}),
    }
    return f"{before}?{urlencode({**limits, **dict(parse_qsl(query))})}"


def _exchange(name: str, kind: str) -> Step:
    return "exchange_declare", {"exchange": name, "exchange_type": kind, "durable": True}


def _queue(name: str, arguments: dict[str, Any]) -> Step:
    return "queue_declare", {"queue": name, "durable": True, "arguments": arguments}


def _binding(queue: str, exchange: str, routing_key: str) -> Step:
    return "queue_bind", {"queue": queue, "exchange": exchange, "routing_key": routing_key}
