"""Follows the event log and passes every event on, in order, until its receipt is confirmed.

The log is read in windows between snapshots (WalletCore.postgres.event_log), so that nothing that
is committed late is skipped. The place behind what was confirmed is kept in ``coffer.followers``,
through the session that holds the leader's lock. After a failure everything that was not confirmed
is sent again: whoever receives it keeps each event once.

A place means something in one cluster alone. Without one, at the first start or after a restore
elsewhere, what the inbox lacks is sent, and then what comes.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event
from typing import Any, Final, Protocol
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from WalletCore.domain.errors import CursorInvalid
from WalletCore.postgres.event_log import (
    ADOPT,
    NOT_RECORDED,
    TO_ANNOUNCE,
    TOP,
    Window,
    read_window,
    read_windows,
    whole_log,
)
from WalletCore.postgres.leadership import KEEP_ALIVE, KEEP_ALIVE_SECONDS
from WalletCore.telemetry import get_logger

BATCH_EVENTS: Final = 500
MAX_BATCHES_IN_FLIGHT: Final = 4
"""What is sent and not confirmed is bounded: 2,000 events."""

MIN_PAUSE_SECONDS: Final = 0.008
"""Between two looks, unless the last one found a whole batch: what gathers meanwhile is cheaper to
pass on together. With looks as often as there were confirms the relay took twice the CPU time."""
PAUSE_PER_LOOK: Final = 2
"""The pause is at least so many times as long as the last look took, with what it sent: where the
processors are short it gives way to the service, and a batch grows instead."""
MAX_PAUSE_SECONDS: Final = 0.05
"""As long as nothing happens the pause grows to this."""
PAUSE_GROWTH: Final = 1.1

FULL_PATIENCE_SECONDS: Final = 0.25
SAVE_INTERVAL_SECONDS: Final = 0.25
MEASURE_INTERVAL_SECONDS: Final = 1.0
FINISH_SECONDS: Final = 1.0
FAILURE_PAUSE_SECONDS: Final = 0.05
MAX_FAILURE_PAUSE_SECONDS: Final = 5.0
MAX_COUNTED_FAILURES: Final = 16
"""The pause has reached its longest by then."""

CATCH_UP_POSITIONS: Final = 50_000
"""How much of the log one statement compares with the inbox."""

MAX_PLACE_CHARACTERS: Final = 1_000_000
"""Room for a snapshot with tens of thousands of running transactions."""

LOAD = text(
    "SELECT f.cursor FROM coffer.followers f JOIN coffer.log_origin o USING (system_identifier) "
    "WHERE f.name = :name"
)
"""Nothing if the place is of another cluster."""

SAVE = text(
    "INSERT INTO coffer.followers AS f (name, system_identifier, cursor, updated_at) "
    "SELECT :name, o.system_identifier, :cursor, clock_timestamp() FROM coffer.log_origin o "
    "ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor, updated_at = excluded.updated_at, "
    "recorded = CASE WHEN f.system_identifier = excluded.system_identifier THEN f.recorded END, "
    "system_identifier = excluded.system_identifier"
)


class DeliveryFailed(Exception):
    """A batch was not confirmed; the text says why. Some of it may have arrived all the same."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as the log has it; ``body`` are its exact bytes as text."""

    position: int
    id: UUID
    type: str
    body: str
    created_at: datetime

    def told_by(self) -> tuple[str | None, str | None]:
        """The traceparent and the id of the request which caused it."""
        if '"traceparent"' not in self.body and '"requestid"' not in self.body:
            return None, None
        # They may as well be text of somebody's; only the attributes count.
        body = orjson.loads(self.body)
        return body.get("traceparent"), body.get("requestid")


class Sink(Protocol):
    """Whom events are passed on to."""

    def send(self, events: Sequence[LoggedEvent]) -> Future[None]:
        """Send ``events`` in this order. The future ends when the receipt of all is confirmed, or
        with DeliveryFailed.
        """

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait until sending makes sense, at most so long."""

    def gave_up(self) -> bool:
        """Whether an event was confirmed that is not recorded and that nobody else keeps."""


@dataclass(slots=True)
class Lag:
    """How far behind the log a follower is.

    ``passed_on``: a snapshot, all of which was passed on and confirmed; None before there is one.
    """

    events: int = 0
    since: datetime | None = None
    passed_on: str | None = None

    def reset(self) -> None:
        """Nothing is known."""
        self.events, self.since, self.passed_on = 0, None, None

    def seconds(self) -> float:
        """The age of the oldest event that is not confirmed."""
        if self.since is None:
            return 0.0
        return max(0.0, (datetime.now(UTC) - self.since).total_seconds())


@dataclass(frozen=True, slots=True)
class _Place:
    """Where reading goes on. ``catching_up``: only what the inbox lacks is read."""

    window: Window
    catching_up: bool


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is under way, and the place behind it."""

    done: Future[None]
    oldest: datetime
    after: _Place


class Follower:
    """Passes the log on to ``sink``, under ``name``, and keeps ``lag``. For the leader's thread."""

    def __init__(self, name: str, sink: Sink, stop: Event, lag: Lag) -> None:
        self._name = name
        self._sink = sink
        self._stop = stop
        self._lag = lag
        self._log = get_logger().bind(role=name)

    def follow(self, connection: Connection) -> None:
        """Follow on the leader's session until told to stop. Raises DBAPIError with the session."""
        if connection.execute(ADOPT).scalar_one():
            self._log.warning("log_adopted", hint="it was restored from another cluster")
        self._lag.reset()
        try:
            place = self._kept_place(connection)
            _Run(self._name, self._sink, self._stop, connection, self._lag, place).run()
        finally:
            # Whoever does not lead knows nothing of a lag.
            self._lag.reset()

    def _kept_place(self, connection: Connection) -> _Place:
        cursor = connection.execute(LOAD, {"name": self._name}).scalar_one_or_none()
        if cursor is not None:
            try:
                window = Window.decode(cursor, max_characters=MAX_PLACE_CHARACTERS)
                return _Place(window, catching_up=False)
            except CursorInvalid:
                self._log.error("place_not_readable", hint="what the inbox lacks is sent again")
        return _Place(whole_log(connection), catching_up=True)


class _Run:
    """From taking the lead to losing it."""

    def __init__(  # noqa: PLR0917 - its one caller is above
        self,
        name: str,
        sink: Sink,
        stop: Event,
        connection: Connection,
        lag: Lag,
        place: _Place,
    ) -> None:
        self._name = name
        self._sink = sink
        self._stop = stop
        self._connection = connection
        self._lag = lag
        self._log = get_logger().bind(role=name)
        self._place = self._confirmed = self._saved = place
        self._in_flight: deque[_Batch] = deque()
        self._failures = 0
        self._next_save = self._next_measure = self._next_sign = 0.0

    def run(self) -> None:
        pause = MIN_PAUSE_SECONDS
        while not self._stop.is_set():
            self._harvest(0)
            began = time.monotonic()
            if len(self._in_flight) == MAX_BATCHES_IN_FLIGHT:
                self._harvest(FULL_PATIENCE_SECONDS)
            elif events := self._next_events():
                done = self._sink.send(events)
                self._in_flight.append(_Batch(done, events[0].created_at, self._place))
                took = time.monotonic() - began
                pause = min(max(MIN_PAUSE_SECONDS, PAUSE_PER_LOOK * took), MAX_PAUSE_SECONDS)
                if len(events) < BATCH_EVENTS:
                    self._rest(pause)
                pause = MIN_PAUSE_SECONDS
            else:
                if not self._in_flight:
                    self._confirm(self._place)
                    self._lag.since = None
                    pause = min(pause * PAUSE_GROWTH, MAX_PAUSE_SECONDS)
                self._rest(pause)
            self._keep_up()
        self._finish()

    def _rest(self, seconds: float) -> None:
        """Let more gather, and take note of what is confirmed meanwhile."""
        until = time.monotonic() + seconds
        while self._in_flight and (left := until - time.monotonic()) > 0:
            self._harvest(left)
        self._stop.wait(max(0.0, until - time.monotonic()))

    def _next_events(self) -> list[LoggedEvent]:
        """The next events to send; none if there are none now."""
        rows: Sequence[Sequence[Any]] = []
        while self._place.catching_up and not rows and not self._stop.is_set():
            window = self._place.window
            if window.after >= window.top:
                self._place = _Place(window, catching_up=False)
                break
            end = min(window.top, window.after + CATCH_UP_POSITIONS)
            rows = read_window(
                self._connection, replace(window, top=end), BATCH_EVENTS, NOT_RECORDED
            )
            after = rows[-1][0] if len(rows) == BATCH_EVENTS else end
            self._place = _Place(replace(window, after=after), catching_up=True)
            self._show_life()
        if not rows and not self._place.catching_up:
            rows, window = read_windows(
                self._connection,
                self._place.window,
                BATCH_EVENTS,
                TO_ANNOUNCE,
                max_snapshot_characters=MAX_PLACE_CHARACTERS,
            )
            self._place = _Place(window, catching_up=False)
        return [LoggedEvent(*row) for row in rows]

    def _harvest(self, patience: float) -> None:
        """Take note of what is confirmed; the oldest batch is waited for so many seconds."""
        while self._in_flight:
            batch = self._in_flight[0]
            try:
                batch.done.result(patience)
            except DeliveryFailed as failure:
                self._start_again(str(failure))
                return
            except NotDone:
                self._lag.since = batch.oldest
                return
            self._in_flight.popleft()
            self._confirm(batch.after)
            self._failures = 0
            patience = 0

    def _confirm(self, place: _Place) -> None:
        self._confirmed = place
        if not place.catching_up:
            window = place.window
            whole = window.after >= window.top
            self._lag.passed_on = window.until if whole else window.since

    def _start_again(self, why: str) -> None:
        """Go back to what was confirmed, when sending makes sense again."""
        if self._failures == 0:
            self._log.warning("not_delivered", why=why)
        self._lag.since = self._in_flight[0].oldest
        self._place = self._confirmed
        self._in_flight.clear()
        pause = min(FAILURE_PAUSE_SECONDS * 2**self._failures, MAX_FAILURE_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, MAX_COUNTED_FAILURES)
        until = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries
        while not self._stop.is_set():
            self._keep_up()
            left = until - time.monotonic()
            if left > 0:
                self._stop.wait(min(left, KEEP_ALIVE_SECONDS / 2))
            elif self._sink.wait_until_ready(KEEP_ALIVE_SECONDS / 2):
                return

    def _keep_up(self) -> None:
        """What is due by the clock: keeping the place, measuring, a sign of life."""
        now = time.monotonic()
        if now >= self._next_save:
            self._next_save = now + SAVE_INTERVAL_SECONDS
            self._save()
        if now >= self._next_measure:
            self._next_measure = now + MEASURE_INTERVAL_SECONDS
            top: int = self._connection.execute(TOP).scalar_one()
            behind = top - self._confirmed.window.after
            # Positions of what was rolled back are missing from the log and from no one.
            self._lag.events = max(0, behind) if self._lag.since is not None else 0
        self._show_life()

    def _save(self) -> None:
        """Keep the place behind what is confirmed; that of catching up is none to keep.

        Nor is one behind what the sink gave up: the next one to lead tries that again.
        """
        if self._confirmed.catching_up or self._confirmed == self._saved or self._sink.gave_up():
            return
        wanted = {"name": self._name, "cursor": self._confirmed.window.encode()}
        self._connection.execute(SAVE, wanted)
        self._saved = self._confirmed

    def _show_life(self) -> None:
        """Ask something: the session of a leader that asks nothing is ended."""
        now = time.monotonic()
        if now >= self._next_sign:
            self._next_sign = now + KEEP_ALIVE_SECONDS
            self._connection.execute(KEEP_ALIVE)

    def _finish(self) -> None:
        """Wait a moment for what is under way, so that the next leader need not send it again."""
        deadline = time.monotonic() + FINISH_SECONDS
        for batch in self._in_flight:
            try:
                batch.done.result(max(0.0, deadline - time.monotonic()))
            except (NotDone, DeliveryFailed):
                break
            self._confirm(batch.after)
        self._save()
