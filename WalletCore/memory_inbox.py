"""The inbox and the notifications in memory, and the thread that fills them out of the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from WalletCore.cursor import decode_cursor, encode_cursor
from WalletCore.documents import page_of
from WalletCore.domain.errors import NotificationNotFound
from WalletCore.domain.model import Document, Event
from WalletCore.domain.notices import Notice
from WalletCore.inbox import (
    FOLLOWING,
    NEWEST,
    Notification,
    NotificationFilter,
    notification_document,
)
from WalletCore.paging import Page, PageRequest
from WalletCore.recorder import Recorder
from WalletCore.telemetry import get_logger

BATCH_EVENTS: Final = 500
IDLE_SECONDS: Final = 0.02
STOP_WAIT_SECONDS: Final = 5.0


class MemoryInbox:
    """Both ports of WalletCore.inbox, Inbox and Notifications, on one list."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Notification] = []
        self._places: dict[UUID, int] = {}
        self._recorded: set[UUID] = set()

    def record(self, notices: Sequence[Notice]) -> set[UUID]:
        """See Inbox."""
        fresh = set()
        with self._lock:
            for notice in notices:
                if notice.event_id in self._recorded:
                    continue
                fresh.add(notice.event_id)
                self._recorded.add(notice.event_id)
                notification = Notification(
                    position=len(self._all) + 1,
                    id=uuid7(),
                    event_id=notice.event_id,
                    wallet_id=notice.wallet_id,
                    user_id=notice.user_id,
                    type=notice.type,
                    title=notice.title,
                    text=notice.text,
                    data=notice.data,
                    created_at=datetime.now(UTC),
                    read_at=None,
                )
                self._places[notification.id] = len(self._all)
                self._all.append(notification)
        return fresh

    def has(self, event_id: UUID) -> bool:
        """Whether the event is recorded."""
        return event_id in self._recorded

    def close(self) -> None:
        """Nothing to let go of."""

    def one(self, notification_id: UUID) -> Document:
        """See Notifications."""
        with self._lock:
            return notification_document(self._all[self._place(notification_id)])

    def newest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """See Notifications."""
        before = None
        if page.cursor is not None:
            (before,) = decode_cursor(NEWEST, page.cursor, int)
        with self._lock:
            found = [
                notification
                for notification in reversed(self._all)
                if (before is None or notification.position < before)
                and _wants(wanted, notification)
            ]
        return page_of(
            found, page.limit, notification_document, lambda n: encode_cursor(NEWEST, n.position)
        )

    def oldest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """See Notifications."""
        after = 0
        if page.cursor is not None:
            (after,) = decode_cursor(FOLLOWING, page.cursor, int)
        found = self.after(wanted, after, page.limit)
        last = found[-1].position if found else after
        return Page([notification_document(n) for n in found], encode_cursor(FOLLOWING, last))

    def top(self) -> int:
        """See Notifications."""
        return len(self._all)

    def after(self, wanted: NotificationFilter, position: int, limit: int) -> list[Notification]:
        """See Notifications."""
        with self._lock:
            # A notification's place is its position less one.
            return [n for n in self._all[position:] if _wants(wanted, n)][:limit]

    def mark_read(self, notification_id: UUID) -> Document:
        """See Notifications."""
        with self._lock:
            place = self._place(notification_id)
            self._mark(place)
            return notification_document(self._all[place])

    def mark_all_read(self, wanted: NotificationFilter) -> int:
        """See Notifications."""
        unread = replace(wanted, unread=True)
        with self._lock:
            places = [n for n, notification in enumerate(self._all) if _wants(unread, notification)]
            for place in places:
                self._mark(place)
        return len(places)

    def _place(self, notification_id: UUID) -> int:
        place = self._places.get(notification_id)
        if place is None:
            raise NotificationNotFound(f"There is no notification {notification_id}.")
        return place

    def _mark(self, place: int) -> None:
        if self._all[place].read_at is None:
            self._all[place] = replace(self._all[place], read_at=datetime.now(UTC))


class MemoryWorker:
    """The thread that does in ``memory://`` what the NotificationWorker does elsewhere.

    ``events_from`` gives the log from a place on, at most so many events.
    """

    def __init__(
        self, inbox: MemoryInbox, events_from: Callable[[int, int], Sequence[Event]]
    ) -> None:
        self._recorder = Recorder(inbox)
        self._events_from = events_from
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Record what is left, and stop."""
        self._stop.set()
        self._thread.join(STOP_WAIT_SECONDS)

    def _run(self) -> None:
        place = 0
        while True:
            events = self._events_from(place, BATCH_EVENTS)
            if events:
                self._record(events)
                place += len(events)
            elif self._stop.wait(IDLE_SECONDS):
                return

    def _record(self, events: Sequence[Event]) -> None:
        try:
            self._recorder.record_events([event.body for event in events])
        except Exception:  # noqa: BLE001 - a defect of ours must not end the thread
            get_logger().exception("events_not_recorded", events=len(events))


def _wants(wanted: NotificationFilter, notification: Notification) -> bool:
    return (
        wanted.wallet_id in (None, notification.wallet_id)
        and wanted.user_id in (None, notification.user_id)
        and wanted.unread in (None, notification.read_at is None)
    )
