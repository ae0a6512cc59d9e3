"""Consumes the queue: a batch is recorded in one transaction, and then acknowledged.

What has gathered while the last batch was recorded is the next one; there is no timer. A message
that cannot be read goes to the dead queue with its reason and harms no other. While PostgreSQL is
away the batch is kept, unacknowledged, on a connection that stays: to reconnect over and over would
count as deliveries, and a message has only so many.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, Final, Protocol, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from prometheus_client import Counter

from NotificationWorker.dead_letters import DeadLetters
from WalletCore.domain.notices import BadEvent, Notice
from WalletCore.failures import DataRefused, StoreUnavailable
from WalletCore.recorder import Recorder, read_event
from WalletCore.telemetry import get_logger, mask_secrets
from WalletCore.topology import PREFETCH_MESSAGES, Topology, bounded_url
from WalletCore.tracing import NO_TRACES, BatchTraces, Tracer, process_words

POLL_SECONDS: Final = 0.5
"""How soon a stop is noticed while nothing comes."""

GATHER_SECONDS: Final = 0.001
"""How long the next message of a batch may keep its neighbours waiting."""

STORE_PAUSE_SECONDS: Final = 0.1
MAX_STORE_PAUSE_SECONDS: Final = 2.0
RECONNECT_PAUSE_SECONDS: Final = 0.2
MAX_RECONNECT_PAUSE_SECONDS: Final = 5.0

CLOSE_WAIT_SECONDS: Final = 2.0
"""How long a broker that says nothing may keep a worker that is told to stop."""

DEAD = Counter("coffer_worker_dead", "Messages that could not be read.")


class _ConsumerCancelled(AMQPError):  # type: ignore[misc]  # pika has no types
    """The broker has ended the subscription: the queue was deleted."""


class Body(Protocol):
    """Whatever has the body of a message."""

    @property
    def body(self) -> bytes:
        """Its bytes."""


AnyMessage = TypeVar("AnyMessage", bound=Body)


@dataclass(frozen=True, slots=True)
class _Message:
    tag: int
    properties: pika.BasicProperties
    body: bytes


class Consumer:
    """Records what comes from the broker at ``url``. Belongs to one thread."""

    def __init__(
        self,
        url: str,
        topology: Topology,
        recorder: Recorder,
        stop: Event,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self._parameters = pika.URLParameters(bounded_url(url, "coffer-worker"))
        self._topology = topology
        self._recorder = recorder
        self._stop = stop
        self._traces = BatchTraces(tracer, process_words(topology.queue))
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
        self._cancelled = self.store_away = False
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            for method, arguments in self._topology.steps():
                getattr(channel, method)(**arguments)
            channel.basic_qos(prefetch_count=PREFETCH_MESSAGES)
            channel.add_on_cancel_callback(self._on_cancelled)
            dead = DeadLetters(connection, self._topology)
            channel.basic_consume(self._topology.queue, self._on_message)
            self.connected = True
            self._log.info("consuming", queue=self._topology.queue)
            self._serve(connection, channel, dead)
        finally:
            _close(connection)

    def _serve(
        self, connection: pika.BlockingConnection, channel: BlockingChannel, dead: DeadLetters
    ) -> None:
        while not self._stop.is_set():
            connection.process_data_events(time_limit=POLL_SECONDS)
            self._gather_more(connection)
            if self._gathered:
                batch, self._gathered = self._gathered, []
                self._record(connection, channel, dead, batch)
            if self._cancelled:
                raise _ConsumerCancelled("the broker has ended the subscription")

    def _gather_more(self, connection: pika.BlockingConnection) -> None:
        """Take what arrives together: one read of the socket brings but a part of it."""
        before = 0
        while before < len(self._gathered) < PREFETCH_MESSAGES:
            before = len(self._gathered)
            connection.process_data_events(time_limit=GATHER_SECONDS)

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
        good, bad = read_all(batch)
        with self._traces.batch(lambda: [_traceparent(message) for message, _ in good]):
            refused = self._record_patiently(connection, [notice for _, notice in good])
        if refused is None:
            return  # told to stop while the database is away: the broker gives it to another one
        bad += [(good[place][0], f"not storable: {why}") for place, why in refused.items()]
        for message, why in bad:
            dead.put(message.body, message.properties, why)
            DEAD.inc()
            self._log.error("dead_message", message_id=message.properties.message_id, why=why)
        channel.basic_ack(batch[-1].tag, multiple=True)
        self._traces.flush()

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


def _traceparent(message: _Message) -> object:
    """Whatever somebody has put there."""
    return (message.properties.headers or {}).get("traceparent")


def read_all(
    messages: Sequence[AnyMessage],
) -> tuple[list[tuple[AnyMessage, Notice]], list[tuple[AnyMessage, str]]]:
    """Those of ``messages`` that can be read with what they say, and the others with the reason."""
    good: list[tuple[AnyMessage, Notice]] = []
    bad: list[tuple[AnyMessage, str]] = []
    for message in messages:
        try:
            good.append((message, read_event(message.body)))
        except BadEvent as error:
            bad.append((message, str(error)))
    return good, bad


def _close(connection: pika.BlockingConnection) -> None:
    """Say goodbye, but wait no longer than CLOSE_WAIT_SECONDS for the answer; what is left of the
    connection ends with the process.
    """

    def close() -> None:
        with suppress(AMQPError, OSError):
            connection.close()

    thread = threading.Thread(target=close, name="goodbye", daemon=True)
    thread.start()
    thread.join(CLOSE_WAIT_SECONDS)
