"""Finds events that were passed on and never recorded, so that they can be passed on again.

A broker may lose what it has confirmed: its disk dies, its queue is deleted, its folder is wiped.
The log is compared with the inbox in steps, each from one snapshot to a later one that is older
than the set age, and each only once. What is missing is pending until it is recorded, however long
that takes, and keeps nothing else from being found. The place that is kept is before all of it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from WalletCore.postgres.event_log import (
    NOT_RECORDED,
    NOTHING,
    Window,
    read_window,
    whole_log,
    window_between,
)
from WalletCore.postgres.follower import LoggedEvent

SAMPLE_INTERVAL_SECONDS: Final = 5.0
MAX_SAMPLES: Final = 10_000
"""Snapshots that wait for their age; beyond, every other one is dropped and steps become longer."""

RESEND_EVENTS: Final = 1000
"""The most that is passed on again in one go; with the interval it is the rate limit."""
MAX_BACKOFF_SECONDS: Final = 3600.0
MAX_PENDING_EVENTS: Final = 20_000
"""With so many pending no further step is compared."""

SLICE_POSITIONS: Final = 50_000

LOAD = text(
    "SELECT f.recorded FROM coffer.followers f JOIN coffer.log_origin o USING (system_identifier) "
    "WHERE f.name = :name"
)
SAVE = text(
    "UPDATE coffer.followers f SET recorded = :recorded FROM coffer.log_origin o "
    "WHERE f.name = :name AND f.system_identifier = o.system_identifier"
)


RECORDED = text(
    "SELECT event_id FROM notifications.inbox WHERE event_id = ANY(CAST(:ids AS uuid[]))"
)


@dataclass(slots=True)
class _Pending:
    """An event that is not recorded; ``before``: a snapshot, all of which was recorded."""

    event: LoggedEvent
    before: str | None
    next_at: float
    pause: float


class Reconciler:
    """Compares what follower ``name`` passed on ``age_seconds`` ago or earlier with the inbox."""

    def __init__(self, name: str, age_seconds: float) -> None:
        self._name = name
        self._age_seconds = age_seconds
        self._samples: deque[tuple[float, str]] = deque()
        self._pending: dict[UUID, _Pending] = {}
        self._next_sample = 0.0
        self._loaded = False
        self._compared: str | None = None
        self._kept: str | None = None

    def sample(self, passed_on: str | None) -> None:
        """Note the snapshot that is passed on now, to be compared when it is old enough.

        Call it often.
        """
        now = time.monotonic()
        if passed_on in (None, NOTHING) or now < self._next_sample:
            return
        self._next_sample = now + min(SAMPLE_INTERVAL_SECONDS, self._age_seconds)
        if self._samples and self._samples[-1][1] == passed_on:
            return
        if len(self._samples) >= MAX_SAMPLES:
            self._samples = deque(list(self._samples)[::2])
        self._samples.append((now, str(passed_on)))

    def pending(self) -> int:
        """How many events are known not to be recorded."""
        return len(self._pending)

    def missing(self, connection: Connection) -> list[LoggedEvent]:
        """Up to RESEND_EVENTS events that are old enough and not recorded, and whose time has come
        to be passed on again.
        """
        now = time.monotonic()
        if not self._loaded:
            self._compared = connection.execute(LOAD, {"name": self._name}).scalar_one_or_none()
            self._kept, self._loaded = self._compared, True
        while (
            self._samples
            and self._samples[0][0] <= now - self._age_seconds
            and len(self._pending) < MAX_PENDING_EVENTS
        ):
            self._compare(connection, self._samples[0][1], now)
            self._samples.popleft()
        due = self._due(connection, now)
        self._keep(connection)
        return due

    def _compare(self, connection: Connection, until: str, now: float) -> None:
        """Add what is missing between what was compared and ``until`` to what is pending."""
        window = (
            window_between(connection, self._compared, until)
            if self._compared is not None
            else Window(NOTHING, until, 0, whole_log(connection).top)
        )
        while window is not None and window.after < window.top:
            end = min(window.top, window.after + SLICE_POSITIONS)
            part = replace(window, top=end)
            rows = read_window(connection, part, RESEND_EVENTS, NOT_RECORDED)
            for row in rows:
                event = LoggedEvent(*row)
                pending = _Pending(event, self._compared, now, self._age_seconds)
                self._pending.setdefault(event.id, pending)
            window = replace(window, after=rows[-1][0] if len(rows) == RESEND_EVENTS else end)
        self._compared = until

    def _due(self, connection: Connection, now: float) -> list[LoggedEvent]:
        """Pending ones whose time has come; each waits twice as long for the next one."""
        due = [p for p in self._pending.values() if now >= p.next_at][:RESEND_EVENTS]
        if not due:
            return []
        ids = [str(pending.event.id) for pending in due]
        recorded = set(connection.execute(RECORDED, {"ids": ids}).scalars())
        found = []
        for pending in due:
            if pending.event.id in recorded:
                del self._pending[pending.event.id]
                continue
            pending.next_at = now + pending.pause
            pending.pause = min(pending.pause * 2, MAX_BACKOFF_SECONDS)
            found.append(pending.event)
        return found

    def _keep(self, connection: Connection) -> None:
        """Keep the place before the oldest that is pending."""
        oldest = next(iter(self._pending.values()), None)
        place = oldest.before if oldest is not None else self._compared
        if place is not None and place != self._kept:
            connection.execute(SAVE, {"name": self._name, "recorded": place})
            self._kept = place
