"""What the HTTP service reads of the notifications, and the one thing that it changes: read_at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Select, bindparam, func, select, text

from WalletCore.cursor import decode_cursor, encode_cursor
from WalletCore.documents import page_of
from WalletCore.domain.errors import NotificationNotFound
from WalletCore.domain.model import Document
from WalletCore.inbox import (
    FOLLOWING,
    NEWEST,
    Notification,
    NotificationFilter,
    notification_document,
)
from WalletCore.paging import Page, PageRequest
from WalletCore.postgres.notification_tables import notifications

MARK_SLICE_ROWS: Final = 5000
"""Rows that one statement of mark_all_read changes, so that none takes long."""

Read = Callable[[Callable[[Connection], Any]], Any]

_COLUMNS = (
    notifications.c.position,
    notifications.c.id,
    notifications.c.event_id,
    notifications.c.wallet_id,
    notifications.c.user_id,
    notifications.c.type,
    notifications.c.title,
    notifications.c.text,
    notifications.c.data,
    notifications.c.created_at,
    notifications.c.read_at,
)
ONE = select(*_COLUMNS).where(notifications.c.id == bindparam("notification_id"))
TOP = select(func.coalesce(func.max(notifications.c.position), 0))
MARK = text(
    "UPDATE notifications.notifications SET read_at = coalesce(read_at, clock_timestamp()) "
    "WHERE id = :notification_id RETURNING position, id, event_id, wallet_id, user_id, type, "
    "title, text, data, created_at, read_at"
)
MARK_ALL = text(
    "WITH chosen AS (SELECT id, position FROM notifications.notifications "
    "WHERE read_at IS NULL AND position > :after AND position <= :top "
    "AND (CAST(:wallet_id AS uuid) IS NULL OR wallet_id = :wallet_id) "
    "AND (CAST(:user_id AS text) IS NULL OR user_id = :user_id) ORDER BY position LIMIT :rows), "
    "marked AS (UPDATE notifications.notifications n SET read_at = clock_timestamp() FROM chosen "
    "WHERE n.id = chosen.id AND n.read_at IS NULL RETURNING n.id) "
    "SELECT (SELECT count(*) FROM chosen), (SELECT count(*) FROM marked), "
    "(SELECT coalesce(max(position), 0) FROM chosen)"
)


class PostgresNotifications:
    """See WalletCore.inbox.Notifications. ``read`` runs a function on a pooled connection and
    translates its failures.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def one(self, notification_id: UUID) -> Document:
        """See Notifications."""
        wanted = {"notification_id": notification_id}
        row = self._read(lambda c: c.execute(ONE, wanted).one_or_none())
        return _document(row, notification_id)

    def newest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """See Notifications."""
        query = _filtered(wanted).order_by(notifications.c.position.desc()).limit(page.limit + 1)
        if page.cursor is not None:
            (before,) = decode_cursor(NEWEST, page.cursor, int)
            query = query.where(notifications.c.position < before)
        return page_of(
            self._found(query),
            page.limit,
            notification_document,
            lambda notification: encode_cursor(NEWEST, notification.position),
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
        return int(self._read(lambda connection: connection.execute(TOP).scalar_one()))

    def after(self, wanted: NotificationFilter, position: int, limit: int) -> list[Notification]:
        """See Notifications."""
        query = _filtered(wanted).where(notifications.c.position > position)
        return self._found(query.order_by(notifications.c.position).limit(limit))

    def mark_read(self, notification_id: UUID) -> Document:
        """See Notifications."""
        wanted = {"notification_id": notification_id}
        row = self._read(lambda c: c.execute(MARK, wanted).one_or_none())
        return _document(row, notification_id)

    def mark_all_read(self, wanted: NotificationFilter) -> int:
        """See Notifications. In slices, each a transaction of its own."""
        total, after, top = 0, 0, self.top()
        while True:
            values = {
                "wallet_id": wanted.wallet_id,
                "user_id": wanted.user_id,
                "rows": MARK_SLICE_ROWS,
                "top": top,
                "after": after,
            }
            found, marked, after = self._read(partial(_mark_all, values=values))
            total += int(marked)
            if found < MARK_SLICE_ROWS:
                return total

    def _found(self, query: Select[Any]) -> list[Notification]:
        rows = self._read(lambda connection: connection.execute(query).all())
        return [Notification(*row) for row in rows]


def _mark_all(connection: Connection, values: Mapping[str, Any]) -> Sequence[int]:
    """The numbers of rows found and marked, and the last position."""
    return connection.execute(MARK_ALL, values).one()


def _filtered(wanted: NotificationFilter) -> Select[Any]:
    query = select(*_COLUMNS)
    if wanted.wallet_id is not None:
        query = query.where(notifications.c.wallet_id == wanted.wallet_id)
    if wanted.user_id is not None:
        query = query.where(notifications.c.user_id == wanted.user_id)
    if wanted.unread is not None:
        read_at = notifications.c.read_at
        query = query.where(read_at.is_(None) if wanted.unread else read_at.is_not(None))
    return query


def _document(row: Sequence[Any] | None, notification_id: UUID) -> Document:
    if row is None:
        raise notification_not_found(notification_id)
    return notification_document(Notification(*row))


def notification_not_found(notification_id: UUID) -> NotificationNotFound:
    """The error for an id that no notification has."""
    return NotificationNotFound(f"There is no notification {notification_id}.")
