"""Publishes batches of events to RabbitMQ and counts the confirms.

One SelectConnection on a thread of its own, to which batches are handed over. A batch is confirmed
when the broker has confirmed every message of it and returned none: an unroutable message is
confirmed as well, which is why each is sent as mandatory. When anything goes wrong all batches
under way fail, and a new connection is made, which declares everything anew: a queue that was
deleted is there again.
https://www.rabbitmq.com/docs/confirms
https://pika.readthedocs.io/en/stable/modules/adapters/select.html
"""

from __future__ import annotations

import functools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import pika
from pika.exceptions import AMQPError
from prometheus_client import Counter, Gauge

from WalletCore.postgres.follower import DeliveryFailed, LoggedEvent
from WalletCore.telemetry import get_logger, mask_secrets
from WalletCore.topology import (
    APPLICATION,
    CONTENT_TYPE,
    PERSISTENT,
    Step,
    Topology,
    bounded_url,
)
from WalletCore.tracing import NO_TRACES, BatchTraces, Tracer, publish_words

BATCH_TIMEOUT_SECONDS: Final = 10.0
"""How long a batch may wait for its confirms: longer than an election among three nodes."""
WATCH_INTERVAL_SECONDS: Final = 0.5
CLOSE_WAIT_SECONDS: Final = 2.0
"""How long a broken connection may take to close properly before it is dropped."""

RECONNECT_PAUSE_SECONDS: Final = 0.1
MAX_RECONNECT_PAUSE_SECONDS: Final = 3.0

PUBLISHED = Counter("coffer_relay_published", "Messages sent to the broker.")
CONFIRMED = Counter("coffer_relay_confirmed", "Messages that the broker has confirmed.")
RETURNED = Counter("coffer_relay_returned", "Messages that the broker could not route.")
BROKER_UP = Gauge("coffer_relay_broker_up", "1 while messages can be published.")


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many messages wait in the queue, and how many workers consume it."""

    messages: int
    consumers: int


@dataclass(slots=True)
class _Batch:
    """So many messages under way, of which ``left`` are not confirmed yet."""

    done: Future[None]
    count: int
    left: int
    deadline: float
    started_ns: int
    traceparents: list[object]


class Publisher:
    """Publishes to the exchange of ``topology`` at ``url``; a Sink of the follower."""

    def __init__(self, url: str, topology: Topology, tracer: Tracer = NO_TRACES) -> None:
        self._parameters = pika.URLParameters(bounded_url(url, "coffer-relay"))
        self._topology = topology
        self._log = get_logger().bind(role="relay")
        self._traces = BatchTraces(tracer, publish_words(topology.exchange))
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._changing = threading.Lock()
        self._asked: set[Future[Any]] = set()
        self._connection: Any = None
        self._channel: Any = None
        self._pending: deque[tuple[int, _Batch]] = deque()
        self._tag = 0
        self._failed = False
        self._blocked = False
        self._why = "there is no connection to the broker yet"
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    # -- Called from other threads ------------------------------------------------------------

    def send(self, events: Sequence[LoggedEvent]) -> Future[None]:
        """Publish ``events`` in this order; see Sink."""
        done: Future[None] = Future()
        self._hand_over(functools.partial(self._publish, events, done), done)
        return done

    def queue_state(self) -> Future[QueueState]:
        """What is in the queue now. The future may end with DeliveryFailed."""
        done: Future[QueueState] = Future()
        self._hand_over(functools.partial(self._ask_queue, done), done)
        return done

    def wait_until_ready(self, seconds: float) -> bool:
        """See Sink."""
        return self._ready.wait(seconds)

    def gave_up(self) -> bool:
        """See Sink. What a worker cannot read is in the dead queue."""
        return False

    def is_ready(self) -> bool:
        """Whether there is a connection on which everything is declared."""
        return self._ready.is_set()

    def close(self) -> None:
        """Close the connection and end the thread."""
        self._closing.set()
        with self._changing:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._drop)
        self._thread.join(2 * CLOSE_WAIT_SECONDS)

    def _hand_over(self, what: Callable[[], None], done: Future[Any]) -> None:
        """Let the publisher's thread do ``what``, which ends ``done``."""
        with self._changing:
            if self._ready.is_set():
                # Should the loop end before it comes to it, _lose ends the future.
                self._asked.add(done)
                self._connection.ioloop.add_callback_threadsafe(what)
                return
        done.set_exception(DeliveryFailed(self._why))

    # -- The publisher's thread: the connection -----------------------------------------------

    def _run(self) -> None:
        pause = RECONNECT_PAUSE_SECONDS
        while not self._closing.is_set():
            if self._connect():
                pause = RECONNECT_PAUSE_SECONDS
            self._closing.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries
            pause = min(pause * 2, MAX_RECONNECT_PAUSE_SECONDS)

    def _connect(self) -> bool:
        """Serve one connection until it ends; whether it was ever ready."""
        self._pending.clear()
        self._tag = 0
        self._failed = self._blocked = was_ready = False
        try:
            connection = pika.SelectConnection(
                self._parameters,
                on_open_callback=self._opened,
                on_open_error_callback=self._not_opened,
                on_close_callback=self._closed,
            )
            with self._changing:
                self._connection = connection
            if self._closing.is_set():
                self._drop()
            connection.ioloop.start()
        except (AMQPError, OSError) as error:
            self._note(f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001 - whatever it is, another connection is tried
            self._log.exception("publisher_failed")
        finally:
            was_ready = self._ready.is_set()
            self._lose()
        return was_ready

    def _lose(self) -> None:
        """Nothing can be sent any more, and nothing that was sent will be confirmed."""
        with self._changing:
            self._ready.clear()
            connection, self._connection = self._connection, None
            asked, self._asked = self._asked, set()
        BROKER_UP.set(0)
        for done in asked:
            if not done.done():
                done.set_exception(DeliveryFailed(self._why))
        for batch in {id(batch): batch for _, batch in self._pending}.values():
            self._tell(batch, DeliveryFailed.__name__)
        if connection is not None:
            connection.ioloop.close()

    def _note(self, why: str) -> None:
        """Keep the first reason of a loss; those that follow follow from it."""
        if self._failed:
            return
        why = mask_secrets(why)
        if why != self._why and not self._closing.is_set():
            self._log.warning("broker_lost", why=why)
        self._why = why

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._became_blocked)
        connection.add_on_connection_unblocked_callback(self._became_unblocked)
        connection.channel(on_open_callback=self._channel_opened)

    def _not_opened(self, connection: Any, error: BaseException) -> None:
        self._note(f"{type(error).__name__}: {error}")
        connection.ioloop.stop()

    def _closed(self, connection: Any, reason: BaseException) -> None:
        self._note(str(reason))
        connection.ioloop.stop()

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        self._declare(self._topology.steps())

    def _channel_closed(self, _channel: Any, reason: BaseException) -> None:
        self._fail(str(reason))

    def _declare(self, steps: list[Step], _frame: Any = None) -> None:
        """Do the first of ``steps``, and the others when it is done."""
        if not steps:
            self._channel.confirm_delivery(self._confirmed, callback=self._became_ready)
            return
        (method, arguments), *others = steps
        following = functools.partial(self._declare, others)
        getattr(self._channel, method)(**arguments, callback=following)

    def _became_ready(self, _frame: Any) -> None:
        self._why = "the connection to the broker was lost"
        self._log.info("broker_connected")
        BROKER_UP.set(1)
        self._connection.ioloop.call_later(WATCH_INTERVAL_SECONDS, self._watch)
        self._ready.set()

    def _became_blocked(self, _connection: Any, frame: Any) -> None:
        """The broker is in an alarm: it reads nothing until that is over, and says so."""
        self._note(f"the broker takes no messages: {frame.method.reason}")
        self._blocked = True
        self._ready.clear()
        BROKER_UP.set(0)

    def _became_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._blocked = False
        until = time.monotonic() + BATCH_TIMEOUT_SECONDS
        for _, batch in self._pending:
            batch.deadline = until
        self._log.info("broker_takes_messages_again")
        BROKER_UP.set(1)
        self._ready.set()

    def _watch(self) -> None:
        """Give up a connection on which confirms do not come."""
        late = self._pending and time.monotonic() > self._pending[0][1].deadline
        if late and not self._blocked:
            self._fail(f"no confirm within {BATCH_TIMEOUT_SECONDS:.0f} s")
        elif not self._failed:
            self._connection.ioloop.call_later(WATCH_INTERVAL_SECONDS, self._watch)

    def _fail(self, why: str) -> None:
        """Take the connection for useless: everything under way fails, another one is made."""
        self._note(why)
        self._failed = True
        self._drop()

    def _drop(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.is_open:
            connection.close()
            connection.ioloop.call_later(CLOSE_WAIT_SECONDS, self._cut)
        else:
            self._cut()

    def _cut(self) -> None:
        """Drop a connection whose other side does not answer the goodbye, and stop its loop."""
        connection = self._connection
        if connection is not None and not connection.is_closed:
            # There is no public way that does not wait for an answer.
            connection._terminate_stream(ConnectionError(self._why))  # noqa: SLF001
            connection.ioloop.call_later(CLOSE_WAIT_SECONDS, connection.ioloop.stop)

    # -- The publisher's thread: messages -----------------------------------------------------

    def _publish(self, events: Sequence[LoggedEvent], done: Future[None]) -> None:
        if self._failed or not self._channel.is_open:
            return  # _lose ends the future
        deadline = time.monotonic() + BATCH_TIMEOUT_SECONDS
        batch = _Batch(done, len(events), len(events), deadline, time.time_ns(), [])
        publish, exchange = self._channel.basic_publish, self._topology.exchange
        for event in events:
            self._tag += 1
            self._pending.append((self._tag, batch))
            properties = _properties(event)
            publish(exchange, event.type, event.body.encode(), properties, mandatory=True)
            if self._traces.on:
                batch.traceparents.append((properties.headers or {}).get("traceparent"))
        PUBLISHED.inc(len(events))

    def _confirmed(self, frame: Any) -> None:
        """An ack or a nack of the broker, for one message or for all up to one."""
        method = frame.method
        if self._failed:
            return  # a message that was returned is confirmed as well
        if isinstance(method, pika.spec.Basic.Nack):
            self._fail("the broker refused a message")
            return
        if not method.multiple and self._pending and self._pending[0][0] != method.delivery_tag:
            self._confirm_out_of_order(method.delivery_tag)
        else:
            while self._pending and self._pending[0][0] <= method.delivery_tag:
                self._count_off(self._pending.popleft()[1])

    def _confirm_out_of_order(self, tag: int) -> None:
        for place, (pending, batch) in enumerate(self._pending):
            if pending == tag:
                del self._pending[place]
                self._count_off(batch)
                return

    def _count_off(self, batch: _Batch) -> None:
        batch.left -= 1
        if batch.left == 0:
            CONFIRMED.inc(batch.count)
            self._asked.discard(batch.done)
            batch.done.set_result(None)
            self._tell(batch)

    def _tell(self, batch: _Batch, error: str | None = None) -> None:
        if self._traces.on:
            self._traces.tell(batch.traceparents, batch.started_ns, time.time_ns(), error)

    def _returned(self, _channel: Any, method: Any, *_: Any) -> None:
        """No queue takes it: they were deleted, and are declared anew on the next connection."""
        RETURNED.inc()
        self._fail(f"the broker returned a message: {method.reply_text}")

    def _ask_queue(self, done: Future[QueueState]) -> None:
        def answer(frame: Any) -> None:
            self._asked.discard(done)
            done.set_result(QueueState(frame.method.message_count, frame.method.consumer_count))

        if self._channel.is_open:
            self._channel.queue_declare(self._topology.queue, passive=True, callback=answer)


def _properties(event: LoggedEvent) -> pika.BasicProperties:
    traceparent, request_id = event.told_by()
    return pika.BasicProperties(
        message_id=str(event.id),
        type=event.type,
        content_type=CONTENT_TYPE,
        timestamp=int(event.created_at.timestamp()),
        app_id=APPLICATION,
        delivery_mode=PERSISTENT,
        correlation_id=request_id,
        headers={"traceparent": traceparent} if traceparent else None,
    )
