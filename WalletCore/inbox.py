"""The worker's port: what is recorded of the events, and what is read of that.

Exactly once in effect: an event's id enters the inbox once, and only then is there a notification,
however often the event arrives and however many workers take it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from WalletCore.domain.model import Document, rfc3339
from WalletCore.domain.notices import Notice
from WalletCore.paging import Page, PageRequest


@dataclass(frozen=True, slots=True)
class Notification:
    """What a person is told of an event. ``position``: the order in which it was recorded."""

    position: int
    id: UUID
    event_id: UUID
    wallet_id: UUID | None
    user_id: str | None
    type: str
    title: str
    text: str
    data: Document
    created_at: datetime
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class NotificationFilter:
    """Which notifications; None means any. ``unread``: those that are (True) or are not (False)."""

    wallet_id: UUID | None = None
    user_id: str | None = None
    unread: bool | None = None


class Inbox(Protocol):
    """Where a worker records."""

    def record(self, notices: Sequence[Notice]) -> Collection[UUID]:
        """Record ``notices``, all or none; durable when this returns.

        Gives the ids of the events that are new; the others were recorded before.
        Raises DataRefused if the data of one cannot be stored, StoreUnavailable.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Notifications(Protocol):
    """What the HTTP service asks. Each method may raise ``Unavailable``."""

    def one(self, notification_id: UUID) -> Document:
        """One notification. Raises NotificationNotFound."""

    def newest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """Notifications, newest first. Raises CursorInvalid."""

    def oldest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """Notifications as they were recorded. ``next_cursor`` is never None: the same one goes on
        later, and nothing is ever skipped. Raises CursorInvalid.
        """

    def top(self) -> int:
        """The highest position there is, 0 if there is none."""

    def after(self, wanted: NotificationFilter, position: int, limit: int) -> list[Notification]:
        """The first ``limit`` notifications above ``position``."""

    def mark_read(self, notification_id: UUID) -> Document:
        """Note that it was read, unless it was before. Raises NotificationNotFound."""

    def mark_all_read(self, wanted: NotificationFilter) -> int:
        """The same for all unread ones that there are now; gives their number."""


def notification_document(notification: Notification) -> Document:
    """A notification as it is answered."""
    wallet_id, read_at = notification.wallet_id, notification.read_at
    return {
        "id": str(notification.id),
        "event_id": str(notification.event_id),
        "wallet_id": str(wallet_id) if wallet_id is not None else None,
        "user_id": notification.user_id,
        "type": notification.type,
        "title": notification.title,
        "text": notification.text,
        "data": notification.data,
        "created_at": rfc3339(notification.created_at),
        "read_at": rfc3339(read_at) if read_at is not None else None,
    }


NEWEST = "notifications"
"""The cursors of newest_first."""

FOLLOWING = "notifications.following"
"""The cursors of oldest_first; ``Last-Event-ID`` of the stream is one of them."""
