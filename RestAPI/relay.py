"""``python -m RestAPI relay``: the way from the event log to the broker.

Any number of relays may run; one leads and the others wait. The leader has two threads: one follows
the log and publishes, the other looks after what must be done now and then, on a connection of its
own: publishing again what no worker has recorded, and throwing away what is old.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import psycopg
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from RestAPI.publisher import Publisher
from WalletCore.monitor import Monitor
from WalletCore.postgres.connect import connect_arguments, parse_url
from WalletCore.postgres.follower import DeliveryFailed, Follower, Lag, LoggedEvent
from WalletCore.postgres.housekeeping import Housekeeper, lacks_rights
from WalletCore.postgres.leadership import KEEP_ALIVE, KEEP_ALIVE_SECONDS, Leader
from WalletCore.postgres.partitions import PartitionKeeper
from WalletCore.postgres.reconciler import Reconciler
from WalletCore.settings import Settings
from WalletCore.telemetry import get_logger
from WalletCore.topology import PREFETCH_MESSAGES, Topology
from WalletCore.tracing import open_tracer

NAME: Final = "relay"

ROUND_SECONDS: Final = 1.0
"""Between two looks at what is not recorded; with RESEND_EVENTS it limits their rate."""
HOUSEKEEPING_INTERVAL_SECONDS: Final = 600.0
HOUSEKEEPING_DELAY_SECONDS: Final = 1.0
"""After taking the lead, before the first time."""

STOP_WAIT_SECONDS: Final = 2.0
"""How long a thread that is told to stop is waited for."""

ANSWER_SECONDS: Final = 12.0
"""How long the broker's word on a batch or a queue is waited for."""

DRAINED_MESSAGES: Final = PREFETCH_MESSAGES
"""With at most so many messages in a queue that is consumed, what is old and not recorded is not
among those that only wait for their turn."""

REPUBLISHED = Counter("coffer_relay_republished", "Events published again: nobody recorded them.")
PENDING = Gauge("coffer_relay_pending", "Events that should be recorded by now and are not.")
LAG_EVENTS = Gauge("coffer_relay_lag_events", "Events that are committed and not confirmed.")
LAG_SECONDS = Gauge("coffer_relay_lag_seconds", "The age of the oldest of them.")
QUEUE_MESSAGES = Gauge(
    "coffer_relay_queue_messages",
    "Messages that wait in the workers' queue, as the leader asks each second.",
)
QUEUE_CONSUMERS = Gauge("coffer_relay_queue_consumers", "Workers that consume their queue.")
HOUSEKEEPING_TIME = Gauge(
    "coffer_relay_housekeeping_timestamp_seconds",
    "When the leader last threw away what is old, in seconds since 1970; 0: not yet.",
)
HOUSEKEEPING_FAILURES = Counter(
    "coffer_relay_housekeeping_failures", "Times that throwing away what is old failed."
)
LEADING = Gauge("coffer_relay_leading", "1 in the relay that leads, 0 in those that wait.")


class Relay:
    """All of it but the signals. ``url``: of the database."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._stop = threading.Event()
        self._url = url
        self._tracer = open_tracer(settings, NAME)
        self._publisher: Publisher | None = None
        if settings.amqp_url is not None:
            broker = settings.amqp_url.get_secret_value()
            self._publisher = Publisher(broker, Topology.of(settings), self._tracer)
        self._leader = Leader(url, NAME)
        self._lag = Lag()
        owner = settings.migration_database_url
        self._housekeeper = Housekeeper(
            owner.get_secret_value() if owner is not None else url,
            log_days=settings.log_retention_days,
            key_days=settings.key_retention_days,
        )
        self._age_seconds = settings.reconcile_after_seconds
        self._monitor = Monitor(settings.host, settings.relay_port, self.missing)
        self._log = get_logger().bind(role=NAME)

    def run(self) -> None:
        """Relay until ``stop``."""
        self._log.info("started", broker=self._publisher is not None, port=self._monitor.port)
        if self._publisher is None:
            self._log.info("no_broker", hint="COFFER_AMQP_URL is not set: the worker reads the log")
        LEADING.set_function(lambda: self._leader.leading)
        LAG_EVENTS.set_function(lambda: self._lag.events)
        LAG_SECONDS.set_function(self._lag.seconds)
        engine = create_engine(
            parse_url(self._url),
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args=connect_arguments("coffer-relay-rounds"),
        )
        partitions = PartitionKeeper(engine)
        # What may take long ends with the process, not the process with it.
        threads = [
            threading.Thread(target=work, args=arguments, name=name, daemon=True)
            for name, work, arguments in (
                ("rounds", self._look_after, (engine,)),
                ("housekeeping", self._keep_house, ()),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            self._leader.run(self._stop, self._work)
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(STOP_WAIT_SECONDS)
            partitions.close()
            if self._publisher is not None:
                self._publisher.close()
            self._monitor.close()
            self._tracer.close()
            engine.dispose()

    def stop(self) -> None:
        """Let ``run`` come to its end. Safe in a signal handler."""
        self._stop.set()

    def missing(self) -> list[str]:
        """The names of what is not there; a relay that waits for its turn is ready."""
        missing = [] if self._leader.connected else ["database"]
        if self._publisher is not None and not self._publisher.is_ready():
            missing.append("broker")
        return missing

    def _work(self, connection: Connection) -> None:
        """What the leader does on its session."""
        if self._publisher is None:
            while not self._stop.wait(KEEP_ALIVE_SECONDS):
                connection.execute(KEEP_ALIVE)
            return
        Follower(NAME, self._publisher, self._stop, self._lag).follow(connection)

    # -- The other thread ---------------------------------------------------------------------

    def _look_after(self, engine: Engine) -> None:
        """What must be done now and then, while this relay leads."""
        while not self._stop.is_set():
            try:
                with engine.connect() as connection:
                    self._rounds(connection)
            except (DBAPIError, psycopg.Error) as error:
                self._log.warning("rounds_interrupted", error=type(error).__name__)
            except Exception:  # noqa: BLE001 - whatever it is, the next round is another try
                self._log.exception("rounds_failed")
            self._stop.wait(ROUND_SECONDS)

    def _rounds(self, connection: Connection) -> None:
        reconciler = Reconciler(NAME, self._age_seconds)
        while not self._stop.wait(ROUND_SECONDS):
            if not self._leader.leading:
                # Whoever leads meanwhile takes samples of its own.
                reconciler = Reconciler(NAME, self._age_seconds)
                for gauge in (PENDING, QUEUE_MESSAGES, QUEUE_CONSUMERS):
                    gauge.set(0)
            elif self._publisher is not None:
                reconciler.sample(self._lag.passed_on)
                if self._is_drained(self._publisher):
                    self._publish_again(self._publisher, reconciler.missing(connection))
                PENDING.set(reconciler.pending())

    def _is_drained(self, publisher: Publisher) -> bool:
        """Whether what is old and not recorded cannot be waiting for its turn in the queue."""
        if not publisher.is_ready():
            return False
        try:
            state = publisher.queue_state().result(ANSWER_SECONDS)
        except (DeliveryFailed, TimeoutError):
            return False
        QUEUE_MESSAGES.set(state.messages)
        QUEUE_CONSUMERS.set(state.consumers)
        return state.messages <= (DRAINED_MESSAGES if state.consumers else 0)

    def _publish_again(self, publisher: Publisher, events: Sequence[LoggedEvent]) -> None:
        if not events:
            return
        try:
            publisher.send(events).result(ANSWER_SECONDS)
        except (DeliveryFailed, TimeoutError) as error:
            self._log.warning("not_published_again", events=len(events), why=str(error))
        else:
            REPUBLISHED.inc(len(events))
            self._log.warning("published_again", events=len(events), first=str(events[0].id))

    def _keep_house(self) -> None:
        """Throw away what is old, while this relay leads."""
        pause = HOUSEKEEPING_DELAY_SECONDS
        while not self._stop.wait(pause):
            if not self._leader.leading:
                pause = HOUSEKEEPING_DELAY_SECONDS
                continue
            pause = HOUSEKEEPING_INTERVAL_SECONDS
            try:
                self._housekeeper.run(self._stop.is_set)
                HOUSEKEEPING_TIME.set_to_current_time()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                HOUSEKEEPING_FAILURES.inc()
                hint = "it is tried again"
                if lacks_rights(error):
                    hint = "set COFFER_MIGRATION_DATABASE_URL: only the owner may drop partitions"
                name = type(getattr(error, "orig", error)).__name__
                self._log.error("housekeeping_failed", error=name, hint=hint)
