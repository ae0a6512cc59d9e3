"""The dead queue: messages that no worker can read, and what a delivery limit has put there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pika
from pika.adapters.blocking_connection import BlockingChannel

from NotificationWorker import odd_headers
from WalletCore.topology import PERSISTENT, REASON_HEADER, Topology

MAX_REASON_CHARACTERS: Final = 500
MAX_LOOKED_AT_MESSAGES: Final = 100_000
"""The most messages that are taken out of the dead queue at once to look at them. Of those that are
given back only the numbers are kept meanwhile."""

DIGEST_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of the dead queue, taken and not yet given back. ``reason``: None if the broker
    put it there, because it was delivered too often.
    """

    tag: int
    properties: pika.BasicProperties
    body: bytes

    @property
    def reason(self) -> str | None:
        """Why a worker could not read it."""
        value = (self.properties.headers or {}).get(REASON_HEADER)
        return str(value) if value is not None else None

    @property
    def id(self) -> str:
        """The id that its sender gave it, else the beginning of its SHA-256."""
        given = self.properties.message_id
        if given and given.isprintable():
            return str(given)
        return hashlib.sha256(self.body).hexdigest()[:DIGEST_CHARACTERS]


class DeadLetters:
    """The dead queue of ``topology`` by a channel of its own, which confirms what is published."""

    def __init__(self, connection: pika.BlockingConnection, topology: Topology) -> None:
        odd_headers.tolerate()
        self._topology = topology
        self._channel: BlockingChannel = connection.channel()
        self._channel.confirm_delivery()

    def count(self) -> int:
        """How many messages there are."""
        found = self._channel.queue_declare(self._topology.dead_queue, passive=True)
        return int(found.method.message_count)

    def put(self, body: bytes, properties: pika.BasicProperties, reason: str) -> None:
        """Add a message with its reason; kept when this returns. Raises AMQPError."""
        headers = {**(properties.headers or {}), REASON_HEADER: reason[:MAX_REASON_CHARACTERS]}
        self._publish(self._topology.dead_queue, body, properties, headers)

    def take(self) -> Iterator[DeadLetter]:
        """Take all that are there now, one after the other. Each is to be removed or given back."""
        for _ in range(min(self.count(), MAX_LOOKED_AT_MESSAGES)):
            method, properties, body = self._channel.basic_get(self._topology.dead_queue)
            if method is None or properties is None or body is None:
                return
            yield DeadLetter(method.delivery_tag, properties, body)

    def remove(self, letter: DeadLetter) -> None:
        """Take a message away for good."""
        self._channel.basic_ack(letter.tag)

    def give_back(self, tags: Iterable[int]) -> None:
        """Leave messages where they were."""
        for tag in tags:
            self._channel.basic_nack(tag, requeue=True)

    def retry(self, letter: DeadLetter) -> None:
        """Send a message to the workers once more. Raises AMQPError; then it is in both queues."""
        dropped = (REASON_HEADER, "x-death", "x-first-death-exchange", "x-first-death-queue")
        headers = {
            name: value
            for name, value in (letter.properties.headers or {}).items()
            if name not in (*dropped, "x-first-death-reason", "x-delivery-count")
        }
        self._publish(self._topology.queue, letter.body, letter.properties, headers)
        self.remove(letter)

    def close(self) -> None:
        """Close the channel: what was taken and not removed is given back."""
        if self._channel.is_open:
            self._channel.close()

    def _publish(
        self,
        queue: str,
        body: bytes,
        properties: pika.BasicProperties,
        headers: dict[str, Any],
    ) -> None:
        self._channel.basic_publish(
            "",
            queue,
            body,
            pika.BasicProperties(
                message_id=properties.message_id,
                type=properties.type,
                content_type=properties.content_type,
                timestamp=properties.timestamp,
                app_id=properties.app_id,
                delivery_mode=PERSISTENT,
                correlation_id=properties.correlation_id,
                headers=headers,
            ),
            mandatory=True,
        )
