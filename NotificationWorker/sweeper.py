"""Looks at the dead queue now and then, and records what a delivery limit has put there.

On a thread and a connection of its own, so that neither a long look nor a failure costs the
consumer anything.
"""

from __future__ import annotations

import time
from threading import Event
from typing import Final

import pika
from pika.exceptions import AMQPError
from prometheus_client import Counter, Gauge

from NotificationWorker.consumer import read_all
from NotificationWorker.dead_letters import DeadLetter, DeadLetters
from WalletCore.failures import StoreUnavailable
from WalletCore.recorder import Recorder
from WalletCore.telemetry import get_logger
from WalletCore.topology import PREFETCH_MESSAGES, Topology, bounded_url

SWEEP_INTERVAL_SECONDS: Final = 5.0
FULL_SWEEP_INTERVAL_SECONDS: Final = 600.0
"""How often it is looked through although it seems unchanged."""

SLICE_BYTES: Final = 8 * 1024 * 1024
"""With so much in it a slice is recorded, however few messages that are."""

DEAD_MESSAGES = Gauge("coffer_worker_dead_messages", "Messages in the dead queue.")
DRAINED = Counter("coffer_worker_drained", "Messages recorded out of the dead queue.")


class Sweeper:
    """Sweeps the dead queue of ``topology`` at ``url``. Belongs to one thread."""

    def __init__(self, url: str, topology: Topology, recorder: Recorder, stop: Event) -> None:
        self._parameters = pika.URLParameters(bounded_url(url, "coffer-sweeper"))
        self._topology = topology
        self._recorder = recorder
        self._stop = stop
        self._log = get_logger().bind(role="worker")
        self._left = 0
        self._next_full_look = 0.0

    def run(self) -> None:
        """Sweep until told to stop."""
        while not self._stop.wait(SWEEP_INTERVAL_SECONDS):
            try:
                connection = pika.BlockingConnection(self._parameters)
                try:
                    self.sweep(DeadLetters(connection, self._topology))
                finally:
                    # What was taken and not removed is there again.
                    connection.close()
            except (AMQPError, OSError, StoreUnavailable) as error:
                # The consumer tells of a broker or a database that is away.
                self._log.debug("not_swept", why=type(error).__name__)
            except Exception:  # noqa: BLE001 - whatever it is, the next look is another try
                self._log.exception("sweep_failed")

    def sweep(self, dead: DeadLetters) -> None:
        """Look once. Raises StoreUnavailable, AMQPError; then what is not done is given back by
        closing the connection.
        """
        count = dead.count()
        DEAD_MESSAGES.set(count)
        now = time.monotonic()
        if count == 0 or (count == self._left and now < self._next_full_look):
            self._left = min(self._left, count)
            return
        kept: list[int] = []
        slice_: list[DeadLetter] = []
        for letter in dead.take():
            if letter.reason is not None:
                kept.append(letter.tag)
                continue
            slice_.append(letter)
            full = sum(len(waiting.body) for waiting in slice_) >= SLICE_BYTES
            if full or len(slice_) == PREFETCH_MESSAGES:
                self._drain(dead, slice_)
                slice_ = []
        self._drain(dead, slice_)
        dead.give_back(kept)
        self._left = dead.count() + len(kept)
        self._next_full_look = now + FULL_SWEEP_INTERVAL_SECONDS

    def _drain(self, dead: DeadLetters, letters: list[DeadLetter]) -> None:
        if not letters:
            return
        good, bad = read_all(letters)
        refused = self._recorder.record([notice for _, notice in good])
        bad += [(good[place][0], f"not storable: {why}") for place, why in refused.items()]
        for letter, why in bad:
            dead.put(letter.body, letter.properties, why)
        for letter in letters:
            dead.remove(letter)
        DRAINED.inc(len(letters) - len(bad))
        self._log.warning("dead_queue_drained", recorded=len(letters) - len(bad), bad=len(bad))
