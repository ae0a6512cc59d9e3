"""Recording events, wherever they come from: each once, told in the log, counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import orjson
from prometheus_client import Counter, Histogram

from WalletCore.domain.notices import BadEvent, Notice, notice
from WalletCore.failures import DataRefused
from WalletCore.inbox import Inbox
from WalletCore.telemetry import get_logger, mask_secrets

MAX_EVENT_BYTES: Final = 256 * 1024
"""The largest message that is read. The service's own events are below 80 KiB."""

MAX_LOGGED_CHARACTERS: Final = 2000
"""The most of a text that the log shows; those of the service's own events are below 1,500."""

NOBODY: Final = "nobody"
"""Stands in the log for whom an event of a wallet without an owner concerns."""

RECORDED = Counter("coffer_worker_recorded", "Events recorded, each once.")
DUPLICATES = Counter("coffer_worker_duplicates", "Events that had been recorded before.")
BATCH_EVENTS = Histogram(
    "coffer_worker_batch_events",
    "Events recorded in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 500),
)
RECORD_SECONDS = Histogram(
    "coffer_worker_record_seconds",
    "Time of a transaction that records events.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
END_TO_END_SECONDS = Histogram(
    "coffer_worker_end_to_end_seconds",
    "Time from an event's happening to its being recorded.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)


def read_event(body: bytes) -> Notice:
    """What a message's ``body`` says. Raises BadEvent with the reason."""
    if len(body) > MAX_EVENT_BYTES:
        raise BadEvent(f"too large: {len(body)} bytes, at most {MAX_EVENT_BYTES}")
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadEvent(f"not JSON: {error}") from None
    return notice(event)


class Recorder:
    """Records into ``inbox``. Belongs to one thread."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._log = get_logger()

    def record_events(self, events: Sequence[object]) -> None:
        """Record the log's own events, which are good. Raises what ``record`` raises, BadEvent."""
        self.record([notice(event) for event in events])

    def record(self, notices: Sequence[Notice]) -> dict[int, DataRefused]:
        """Record ``notices``; durable when this returns.

        Gives, by their places, those that cannot be stored; the others are. Raises
        StoreUnavailable; then some may be recorded, and doing it again is right.
        """
        if not notices:
            return {}
        started = time.perf_counter()
        try:
            fresh = self._inbox.record(notices)
        except DataRefused as refusal:
            if len(notices) == 1:
                return {0: refusal}
            middle = len(notices) // 2
            earlier = self.record(notices[:middle])
            later = self.record(notices[middle:])
            return earlier | {middle + place: why for place, why in later.items()}
        # It is recorded; a log that cannot be written or a metric must not make it happen again.
        with suppress(Exception):
            self._tell(notices, set(fresh), time.perf_counter() - started)
        return {}

    def _tell(self, notices: Sequence[Notice], fresh: set[object], seconds: float) -> None:
        BATCH_EVENTS.observe(len(notices))
        RECORD_SECONDS.observe(seconds)
        RECORDED.inc(len(fresh))
        DUPLICATES.inc(len(notices) - len(fresh))
        now = time.time()
        for told in notices:
            if told.event_id not in fresh:
                continue
            fresh.discard(told.event_id)
            END_TO_END_SECONDS.observe(max(0.0, now - told.time.timestamp()))
            user_id = _shortened(told.user_id) if told.user_id else None
            description = _shortened(told.text)
            text = _line(mask_secrets(description))
            self._log.info(
                f"Event {told.event_id} has been sent to {_line(user_id or NOBODY)}: {text}",
                event_id=str(told.event_id),
                user_id=user_id,
                description=description,
                type=told.type,
                request_id=_shortened(told.request_id) if told.request_id else None,
            )


def _shortened(text: str) -> str:
    """``text`` as far as the log shows it: somebody else's message may be as long as it likes."""
    if len(text) <= MAX_LOGGED_CHARACTERS:
        return text
    return text[:MAX_LOGGED_CHARACTERS] + "…"


def _line(text: str) -> str:
    """``text`` on one line, without characters that would control a terminal."""
    return (
        text
        if text.isprintable()
        else "".join(
            character if character.isprintable() else ascii(character)[1:-1] for character in text
        )
    )
