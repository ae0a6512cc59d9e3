"""How the parts of the service are: for ``python -m RestAPI status`` and ``GET /api/v1/status``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerInTime
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, Generic, NamedTuple, TypeVar

from WalletCore.condition import START_WORKER, Condition, HotWallet, Lag, Part, State
from WalletCore.domain.errors import CofferError
from WalletCore.settings import Settings
from WalletCore.topology import Topology, bounded_url

CACHE_TIMEOUT_SECONDS: Final = 2
MAX_COUNTED_EVENTS: Final = 100_000
"""Of the newest events so many are compared with the inbox."""
MAX_POLLED_EVENTS: Final = 10_000
"""The same where it is asked all the time."""

BROKER_KEPT_SECONDS: Final = 5.0
"""For how long an answer of the broker counts, as each one takes a new connection."""
CACHE_KEPT_SECONDS: Final = 5.0
STORE_KEPT_SECONDS: Final = 1.0

PATIENCE_SECONDS: Final = 2.0
"""After this long without an answer a part is down; all are asked at the same time."""
COMMAND_PATIENCE_SECONDS: Final = 15.0
"""The same on the command line, where nobody is held up."""

T = TypeVar("T")
Broker = tuple[Part, Part | None]
"""The broker, and the workers that consume from it; None: there is no broker for them."""


class Overview(NamedTuple):
    """How everything is. ``lag`` is None where the database did not tell."""

    parts: tuple[Part, ...]
    lag: Lag | None
    hot_wallets: tuple[HotWallet, ...]


class Question(Generic[T]):
    """Something that is asked at most every ``kept_seconds``, by one thread at a time.

    ``ask`` runs in a thread of its own, so that whoever waits for the answer can give up.
    """

    def __init__(self, ask: Callable[[], T], kept_seconds: float) -> None:
        self._ask = ask
        self._kept_seconds = kept_seconds
        self._lock = threading.Lock()
        self._answer: Future[T] | None = None
        self._answered_at = 0.0

    def answer(self) -> Future[T]:
        """The answer that there is or will be."""
        with self._lock:
            known = self._answer
            if known is not None and (
                not known.done() or monotonic() - self._answered_at < self._kept_seconds
            ):
                return known
            future: Future[T] = Future()
            self._answer = future
            threading.Thread(target=self._find, args=(future,), name="status", daemon=True).start()
            return future

    def _find(self, future: Future[T]) -> None:
        try:
            found = self._ask()
        except BaseException as error:  # noqa: BLE001 - who waits gets it
            self._answered_at = monotonic()
            future.set_exception(error)
        else:
            self._answered_at = monotonic()
            future.set_result(found)


class _Away(Exception):
    """A part does not answer; the text is the name of the error."""


@contextmanager
def _away(*errors: type[Exception]) -> Iterator[None]:
    """Raises _Away for ``errors`` and for what the network raises."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, *errors)):
            raise _Away(type(error.__cause__ or error).__name__) from error
        raise


class Status:
    """Asks all parts at the same time. ``condition``: what the store knows; raises Unavailable."""

    def __init__(
        self,
        settings: Settings,
        condition: Callable[[], Condition],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self._store = Question(condition, STORE_KEPT_SECONDS)
        self._cache = Question(lambda: _cache(settings), CACHE_KEPT_SECONDS)
        self._broker = Question(lambda: _broker(settings), BROKER_KEPT_SECONDS)

    def read(self) -> Overview:
        """How everything is, after ``patience_seconds`` at the latest. It raises nothing."""
        deadline = monotonic() + self._patience_seconds
        asked = self._store.answer(), self._cache.answer(), self._broker.answer()
        condition = self._wait(asked[0], deadline)
        cache = self._wait(asked[1], deadline)
        broker = self._wait(asked[2], deadline)
        if isinstance(cache, str):
            cache = Part("cache", State.DOWN, cache)
        if isinstance(broker, str):
            broker = Part("broker", State.DOWN, broker), _unknown("worker", "broker")
        if isinstance(condition, str):
            database = Part("database", State.DOWN, condition)
            relay, follower = _unknown("relay", "database"), _unknown("worker", "database")
            parts = (database, cache, broker[0], relay, broker[1] or follower)
            return Overview(parts, None, ())
        worker = broker[1] or condition.worker
        parts = (condition.database, cache, broker[0], condition.relay, worker)
        return Overview(parts, condition.lag, condition.hot_wallets)

    def _wait(self, asked: Future[T], deadline: float) -> T | str:
        """The answer, or why there is none."""
        try:
            return asked.result(max(0.0, deadline - monotonic()))
        except NoAnswerInTime:
            return f"away: no answer within {self._patience_seconds:g} s"
        except CofferError:
            return "away: it cannot be read"
        except _Away as away:
            return f"away: {away}"


def report(settings: Settings, url: str) -> tuple[list[str], bool]:
    """A line for each part, and whether everything that is configured is there."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from WalletCore.postgres.condition import read_condition  # noqa: PLC0415
    from WalletCore.postgres.connect import read_engine  # noqa: PLC0415

    engine = read_engine(url)

    def condition() -> Condition:
        with _away(SQLAlchemyError), engine.connect() as connection:
            return read_condition(connection, MAX_COUNTED_EVENTS)

    try:
        found = Status(settings, condition, patience_seconds=COMMAND_PATIENCE_SECONDS).read()
    finally:
        engine.dispose()
    lines = [
        f"{'!! ' if part.state is State.DOWN else '   '}{part.name:<9} {part.detail}"
        for part in found.parts
    ]
    if found.lag is not None:
        lines.append(f"   lag       {_in_words(found.lag)}")
    return lines, all(part.state is not State.DOWN for part in found.parts)


def _in_words(lag: Lag) -> str:
    known = f"of the newest {lag.of_newest:,} events"
    if not lag.events:
        return f"none: every event is recorded ({known})"
    return f"{lag.events:,} are not recorded, the oldest is {lag.seconds:.0f} s old ({known})"


def _unknown(name: str, without: str) -> Part:
    return Part(name, State.DOWN, f"not known: the {without} is away")


def _cache(settings: Settings) -> Part:
    if settings.redis_url is None or settings.in_memory:
        return Part("cache", State.NONE, "none is configured (COFFER_REDIS_URL)")
    # Here and below: redis alone takes 0.2 s to import, and all of OpenTelemetry with it.
    from redis import Redis  # noqa: PLC0415
    from redis.exceptions import RedisError  # noqa: PLC0415

    with (
        _away(RedisError),
        Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=CACHE_TIMEOUT_SECONDS,
            socket_connect_timeout=CACHE_TIMEOUT_SECONDS,
        ) as redis,
    ):
        info: Any = redis.info("server")
        return Part("cache", State.UP, f"Redis {info['redis_version']}")


def _broker(settings: Settings) -> Broker:
    """The broker, and the workers that consume from it."""
    if settings.amqp_url is None or settings.in_memory:
        how = "none is configured (COFFER_AMQP_URL): the worker reads the log"
        return Part("broker", State.NONE, how), None
    import pika  # noqa: PLC0415
    from pika.exceptions import AMQPError, ChannelClosedByBroker  # noqa: PLC0415

    topology = Topology.of(settings)
    url = bounded_url(settings.amqp_url.get_secret_value(), "coffer-status")
    with _away(AMQPError):
        connection = pika.BlockingConnection(pika.URLParameters(url))
        try:
            queue, dead = (
                connection.channel().queue_declare(name, passive=True).method
                for name in (topology.queue, topology.dead_queue)
            )
        except ChannelClosedByBroker:
            how = "RabbitMQ, without our queues: no relay or worker was there yet"
            worker = Part("worker", State.DOWN, f"none: {START_WORKER}")
            return Part("broker", State.UP, how), worker
        finally:
            if connection.is_open:
                connection.close()
    waiting = f"RabbitMQ: {queue.message_count} messages wait, {dead.message_count} are dead"
    workers = queue.consumer_count
    return Part("broker", State.UP, waiting), Part(
        "worker",
        State.UP if workers else State.DOWN,
        f"{workers or 'none'}: {'consuming' if workers else START_WORKER}",
    )
