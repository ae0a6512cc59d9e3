"""``python -m NotificationWorker``: the process around the consumer, or around the log itself."""

from __future__ import annotations

import threading
from typing import Final

from prometheus_client import Gauge

from NotificationWorker.consumer import Consumer
from NotificationWorker.sweeper import Sweeper
from WalletCore.monitor import Monitor
from WalletCore.postgres.connect import answers
from WalletCore.postgres.direct import RecordingSink
from WalletCore.postgres.follower import Follower, Lag
from WalletCore.postgres.inbox import PostgresInbox
from WalletCore.postgres.leadership import Leader
from WalletCore.recorder import Recorder
from WalletCore.settings import Settings
from WalletCore.telemetry import get_logger
from WalletCore.topology import Topology
from WalletCore.tracing import open_tracer

NAME: Final = "worker"

LAG_EVENTS = Gauge(
    "coffer_worker_lag_events", "Without a broker: events that are committed and not recorded."
)
LAG_SECONDS = Gauge("coffer_worker_lag_seconds", "The age of the oldest of them.")


class Worker:
    """All of it but the signals. ``url``: of the database.

    With a broker any number of workers share the queue. Without one the worker follows the log;
    of several one does, and the others wait.
    """

    def __init__(self, settings: Settings, url: str) -> None:
        self._stop = threading.Event()
        self._url = url
        self._inbox = PostgresInbox(url)
        self._sweepers_inbox = PostgresInbox(url)
        recorder = Recorder(self._inbox)
        self._lag = Lag()
        self._consumer: Consumer | None = None
        self._leader = Leader(url, NAME)
        self._tracer = open_tracer(settings, NAME)
        self._sink = RecordingSink(recorder, self._tracer)
        if settings.amqp_url is not None:
            broker = settings.amqp_url.get_secret_value()
            topology = Topology.of(settings)
            self._consumer = Consumer(broker, topology, recorder, self._stop, self._tracer)
            self._sweeper = Sweeper(broker, topology, Recorder(self._sweepers_inbox), self._stop)
        self._monitor = Monitor(settings.host, settings.worker_port, self.missing)
        self._log = get_logger().bind(role=NAME)

    def run(self) -> None:
        """Record until ``stop``."""
        source = "broker" if self._consumer is not None else "event log"
        self._log.info("started", source=source, port=self._monitor.port)
        try:
            if self._consumer is not None:
                threading.Thread(target=self._sweeper.run, name="sweeper", daemon=True).start()
                self._consumer.run()
            else:
                LAG_EVENTS.set_function(lambda: self._lag.events)
                LAG_SECONDS.set_function(self._lag.seconds)
                follower = Follower(NAME, self._sink, self._stop, self._lag)
                self._leader.run(self._stop, follower.follow)
        finally:
            self._inbox.close()
            self._monitor.close()
            self._tracer.close()
            self._log.info("stopped")

    def stop(self) -> None:
        """Let ``run`` finish its batch and come to its end. Safe in a signal handler."""
        self._stop.set()

    def missing(self) -> list[str]:
        """The names of what is not there."""
        if self._consumer is None:
            return [] if self._leader.connected else ["database"]
        missing = [] if self._consumer.connected else ["broker"]
        # Asked anew, because a consumer that has nothing to record knows nothing of the database.
        there = not self._consumer.store_away and answers(self._url)
        return missing if there else [*missing, "database"]
