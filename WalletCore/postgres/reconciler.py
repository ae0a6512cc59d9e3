"""Finds events that were passed on and never recorded, so that they can be passed on again.

A broker may lose what it has confirmed: its disk dies, its queue is deleted, its folder is wiped.
The log is compared with the inbox in steps, each from one snapshot to a later one that is older
than the set age; a step is over when all of it is recorded, and the next one begins there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
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
MAX_REMEMBERED_EVENTS: Final = 100_000
"""Events whose back-off is remembered."""

SLICE_POSITIONS: Final = 50_000

LOAD = text(
    "SELECT f.recorded FROM coffer.followers f JOIN coffer.log_origin o USING (system_identifier) "
    "WHERE f.name = :name"
)
SAVE = text(
    "UPDATE coffer.followers f SET recorded = :recorded FROM coffer.log_origin o "
    "WHERE f.name = :name AND f.system_identifier = o.system_identifier"
)


@dataclass(slots=True)
class _Backoff:
    next_at: float
    pause: float


class Reconciler:
    """Compares what follower ``name`` passed on ``age_seconds`` ago or earlier with the inbox."""

    def __init__(self, name: str, age_seconds: float) -> None:
        self._name = name
        self._age_seconds = age_seconds
        self._samples: deque[tuple[float, str]] = deque()
        self._backoffs: dict[UUID, _Backoff] = {}
        self._next_sample = 0.0

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

    def missing(self, connection: Connection) -> list[LoggedEvent]:
        """Up to RESEND_EVENTS events that are old enough and not recorded, and whose time has come
        to be passed on again. Steps in which nothing is missing are done with.
        """
        now = time.monotonic()
        while self._samples and self._samples[0][0] <= now - self._age_seconds:
            until = self._samples[0][1]
            rows = self._not_recorded(connection, until)
            if rows:
                return self._due([LoggedEvent(*row) for row in rows], now)
            connection.execute(SAVE, {"name": self._name, "recorded": until})
            self._samples.popleft()
            self._backoffs.clear()
        return []

    def _not_recorded(self, connection: Connection, until: str) -> Sequence[Sequence[Any]]:
        recorded = connection.execute(LOAD, {"name": self._name}).scalar_one_or_none()
        window = (
            window_between(connection, recorded, until)
            if recorded is not None
            else _whole(connection, until)
        )
        found: list[Sequence[Any]] = []
        while window is not None and window.after < window.top and len(found) < RESEND_EVENTS:
            end = min(window.top, window.after + SLICE_POSITIONS)
            part = Window(window.since, window.until, window.after, end)
            rows = read_window(connection, part, RESEND_EVENTS - len(found), NOT_RECORDED)
            found += rows
            window = Window(window.since, window.until, end, window.top)
        return found

    def _due(self, events: list[LoggedEvent], now: float) -> list[LoggedEvent]:
        """Those of ``events`` whose time has come; each waits twice as long for the next one."""
        due = []
        for event in events:
            backoff = self._backoffs.get(event.id)
            if backoff is None:
                if len(self._backoffs) >= MAX_REMEMBERED_EVENTS:
                    self._backoffs.clear()
                backoff = self._backoffs[event.id] = _Backoff(now, self._age_seconds)
            if now >= backoff.next_at:
                due.append(event)
                backoff.next_at = now + backoff.pause
                backoff.pause = min(backoff.pause * 2, MAX_BACKOFF_SECONDS)
        return due


def _whole(connection: Connection, until: str) -> Window:
    return Window(NOTHING, until, 0, whole_log(connection).top)
