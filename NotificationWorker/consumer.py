"""Consumes the queue: a batch is recorded in one transaction, and then acknowledged.

What has gathered while the last batch was recorded is the next one; there is no timer. A message
that cannot be read goes to the dead queue with its reason and harms no other. While PostgreSQL is
away the batch is kept, unacknowledged, on a connection that stays: to reconnect over and over would
count as deliveries, and a message has only so many.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from prometheus_client import Counter, Gauge

from NotificationWorker.dead_letters import DeadLetter, DeadLetters
from WalletCore.domain.notices import BadEvent, Notice
from WalletCore.failures import DataRefused, StoreUnavailable
from WalletCore.recorder import Recorder, read_event
from WalletCore.telemetry import get_logger, mask_secrets
from WalletCore.topology import PREFETCH_MESSAGES, Topology, bounded_url

POLL_SECONDS: Final = 0.5
"""How soon a stop is noticed while nothing comes."""

STORE_PAUSE_SECONDS: Final = 0.1
MAX_STORE_PAUSE_SECONDS: Final = 2.0
RECONNECT_PAUSE_SECONDS: Final = 0.2
MAX_RECONNECT_PAUSE_SECONDS: Final = 5.0

SWEEP_INTERVAL_SECONDS: Final = 5.0
"""How often the dead queue is looked at for what a delivery limit has put there."""
FULL_SWEEP_INTERVAL_SECONDS: Final = 600.0
"""How often it is looked through although it seems unchanged."""

DEAD = Counter("coffer_worker_dead", "Messages that could not be read.")
DEAD_MESSAGES = Gauge("coffer_worker_dead_messages", "Messages in the dead queue.")
DRAINED = Counter("coffer_worker_drained", "Messages recorded out of the dead queue.")


class _ConsumerCancelled(AMQPError):  # type: ignore[misc]  # pika has no types
    """The broker has ended the subscription: the queue was deleted."""


@dataclass(frozen=True, slots=True)
class _Message:
    tag: int
    properties: pika.BasicProperties
    body: bytes


class Consumer:
    """Records what comes from the broker at ``url``. Belongs to one thread."""

    def __init__(self, url: str, topology: Topology, recorder: Recorder, stop: Event) -> None:
        self._parameters = pika.URLParameters(bounded_url(url, "coffer-worker"))
        self._topology = topology
        self._recorder = recorder
        self._stop = stop
        self._log = get_logger().bind(role="worker")
        self._gathered: list[_Message] = []
        self._cancelled = False
        self.connected = False
        self.store_away = False

    def run(self) -> None:
        """Consume until told to stop; a lost broker is waited for."""
        pause = RECONNECT_PAUSE_SECONDS
        while not self._stop.is_set():
            try:
                self._consume()
                pause = RECONNECT_PAUSE_SECONDS
            except (AMQPError, OSError) as error:
                if self.connected:
                    pause = RECONNECT_PAUSE_SECONDS
                    why = mask_secrets(f"{type(error).__name__}: {error}")
                    self._log.warning("broker_lost", why=why)
            finally:
                self.connected = False
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries
            pause = min(pause * 2, MAX_RECONNECT_PAUSE_SECONDS)

    def _consume(self) -> None:
        self._gathered.clear()
        self._cancelled = False
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            for method, arguments in self._topology.steps():
                getattr(channel, method)(**arguments)
            channel.basic_qos(prefetch_count=PREFETCH_MESSAGES)
            channel.add_on_cancel_callback(self._on_cancelled)
            dead = DeadLetters(connection, self._topology)
            tag = channel.basic_consume(self._topology.queue, self._on_message)
            self.connected = True
            self._log.info("consuming", queue=self._topology.queue)
            self._serve(connection, channel, dead)
            channel.basic_cancel(tag)
        finally:
            with suppress(AMQPError, OSError):
                connection.close()

    def _serve(
        self, connection: pika.BlockingConnection, channel: BlockingChannel, dead: DeadLetters
    ) -> None:
        sweeper = Sweeper(dead, self._recorder)
        while not self._stop.is_set():
            connection.process_data_events(time_limit=POLL_SECONDS)
            self._gather_more(connection)
            if self._gathered:
                batch, self._gathered = self._gathered, []
                self._record(connection, channel, dead, batch)
            if self._cancelled:
                raise _ConsumerCancelled("the broker has ended the subscription")
            with suppress(StoreUnavailable):
                sweeper.sweep()

    def _gather_more(self, connection: pika.BlockingConnection) -> None:
        """Take what has arrived already: one read of the socket brings but a part of it."""
        before = 0
        while before < len(self._gathered) < PREFETCH_MESSAGES:
            before = len(self._gathered)
            connection.process_data_events(time_limit=0)

    def _on_message(
        self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._gathered.append(_Message(method.delivery_tag, properties, body))

    def _on_cancelled(self, _frame: Any) -> None:
        self._cancelled = True

    def _record(
        self,
        connection: pika.BlockingConnection,
        channel: BlockingChannel,
        dead: DeadLetters,
        batch: list[_Message],
    ) -> None:
        """Record a batch, put aside what cannot be, and acknowledge all of it."""
        good: list[tuple[_Message, Notice]] = []
        bad: list[tuple[_Message, str]] = []
        for message in batch:
            try:
                good.append((message, read_event(message.body)))
            except BadEvent as error:
                bad.append((message, str(error)))
        refused = self._record_patiently(connection, [notice for _, notice in good])
        if refused is None:
            return  # told to stop while the database is away: the broker gives it to another one
        bad += [(good[place][0], f"not storable: {why}") for place, why in refused.items()]
        for message, why in bad:
            dead.put(message.body, message.properties, why)
            DEAD.inc()
            self._log.error("dead_message", message_id=message.properties.message_id, why=why)
        channel.basic_ack(batch[-1].tag, multiple=True)

    def _record_patiently(
        self, connection: pika.BlockingConnection, notices: list[Notice]
    ) -> dict[int, DataRefused] | None:
        """Try until it is recorded, with the connection kept alive; None if told to stop."""
        pause = STORE_PAUSE_SECONDS
        while True:
            try:
                refused = self._recorder.record(notices)
            except StoreUnavailable as lost:
                if not self.store_away:
                    self._log.warning("database_lost", why=str(lost), kept=len(notices))
                self.store_away = True
                if self._stop.is_set():
                    return None
                # It serves the heartbeat; what arrives meanwhile is bounded by the prefetch.
                connection.sleep(pause)
                pause = min(pause * 2, MAX_STORE_PAUSE_SECONDS)
            else:
                if self.store_away:
                    self._log.info("database_back")
                self.store_away = False
                return refused


class Sweeper:
    """Looks at the dead queue now and then, and records what a delivery limit has put there."""

    def __init__(self, dead: DeadLetters, recorder: Recorder) -> None:
        self._dead = dead
        self._recorder = recorder
        self._log = get_logger().bind(role="worker")
        self._left = 0
        self._next_look = 0.0
        self._next_full_look = 0.0

    def sweep(self) -> None:
        """Look, if it is time. Raises StoreUnavailable, AMQPError."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + SWEEP_INTERVAL_SECONDS
        count = self._dead.count()
        DEAD_MESSAGES.set(count)
        if count == 0 or (count == self._left and now < self._next_full_look):
            return
        self._next_full_look = now + FULL_SWEEP_INTERVAL_SECONDS
        letters, self._left = self._dead.sort(lambda letter: letter.reason is None)
        for start in range(0, len(letters), PREFETCH_MESSAGES):
            self._drain(letters[start : start + PREFETCH_MESSAGES])
        DEAD_MESSAGES.set(self._left)

    def _drain(self, letters: list[DeadLetter]) -> None:
        good: list[tuple[DeadLetter, Notice]] = []
        bad: list[tuple[DeadLetter, str]] = []
        for letter in letters:
            try:
                good.append((letter, read_event(letter.body)))
            except BadEvent as error:
                bad.append((letter, str(error)))
        try:
            refused = self._recorder.record([notice for _, notice in good])
        except StoreUnavailable:
            for letter in letters:
                self._dead.give_back(letter)
            raise
        bad += [(good[place][0], f"not storable: {why}") for place, why in refused.items()]
        for letter, why in bad:
            self._dead.put(letter.body, letter.properties, why)
            self._left += 1
        for letter in letters:
            self._dead.remove(letter)
        DRAINED.inc(len(letters) - len(bad))
        self._log.warning("dead_queue_drained", recorded=len(letters) - len(bad), bad=len(bad))
