"""Notifications: what the worker has recorded, read page by page or as a stream."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from flask import Response, request

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.schemas.fields import Order
from RestAPI.schemas.notifications import (
    Marked,
    Notification,
    NotificationPage,
    NotificationQuery,
    ReadAll,
    ReadMark,
    StreamQuery,
)
from RestAPI.schemas.shared import LAST_EVENT_ID_PARAMETER
from RestAPI.streams import EVENT_STREAM_TYPE, LAST_EVENT_ID, Streams
from WalletCore.cursor import decode_cursor
from WalletCore.domain.errors import CursorInvalid, NotificationNotFound, TooManyStreams
from WalletCore.domain.model import Document
from WalletCore.inbox import FOLLOWING
from WalletCore.paging import PageRequest

NOTIFICATIONS_PATH: Final = "/api/v1/notifications"
STREAM_PATH: Final = f"{NOTIFICATIONS_PATH}/stream"
READ_ALL: Final = "read-all"
TAG: Final = "Notifications"


class NotificationRoutes:
    """The endpoints under ``/notifications``."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    @endpoint(
        tag=TAG, query=NotificationQuery, responses={200: NotificationPage}, errors=(CursorInvalid,)
    )
    def list_notifications(self, caller: Caller, query: NotificationQuery) -> Document:
        """List notifications

        Newest first, page by page. With `order=oldest` as they were recorded: an empty page means
        that there is nothing more yet, and the same cursor goes on later, here or in the stream.
        """
        port = caller.store.notifications
        read = port.oldest_first if query.order is Order.OLDEST else port.newest_first
        page = read(caller.own(query.wanted()), PageRequest(query.cursor, query.limit))
        return {"items": page.items, "next_cursor": page.next_cursor}

    @endpoint(tag=TAG, responses={200: Notification}, errors=(NotificationNotFound,))
    def get_notification(self, caller: Caller, notification_id: UUID) -> Document:
        """Read a notification"""
        return caller.store.notifications.one(notification_id)

    @endpoint(
        tag=TAG,
        body=ReadMark,
        body_may_be_empty=True,
        repeatable=True,
        responses={200: Notification},
        errors=(NotificationNotFound,),
    )
    def mark_read(
        self,
        caller: Caller,
        notification_id: UUID,
        body: ReadMark,  # noqa: ARG002 - it says nothing
    ) -> Document:
        """Mark a notification as read

        A second time changes nothing: `read_at` stays that of the first. A body is not needed.
        """
        return caller.store.notifications.mark_read(notification_id)

    @endpoint(
        tag=TAG,
        body=ReadAll,
        body_may_be_empty=True,
        repeatable=True,
        responses={200: Marked},
    )
    def mark_all_read(self, caller: Caller, body: ReadAll) -> Document:
        """Mark all notifications as read

        Those that there are now; with `user_id` or `wallet_id` only these. A second time finds
        nothing left to mark, and says 0.
        """
        wanted = caller.own(body.wanted())
        return {"read": caller.store.notifications.mark_all_read(wanted)}

    @endpoint(
        tag=TAG,
        query=StreamQuery,
        parameters=(LAST_EVENT_ID_PARAMETER,),
        responses={200: None},
        media_type=EVENT_STREAM_TYPE,
        errors=(CursorInvalid, TooManyStreams),
    )
    def stream_notifications(self, caller: Caller, query: StreamQuery) -> Response:
        """Follow notifications as they are recorded

        [Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html), as
        EventSource reads them: `event: notification`, `data:` the notification, `id:` its cursor.
        With Last-Event-ID it goes on exactly after that one; without, with what comes from now on.
        A comment is sent every 15 seconds. The number of streams is limited; who finds no place
        polls `GET /api/v1/notifications?order=oldest` with the same cursor. It ends when the
        service stops, and after an hour: connect again.
        """
        # A browser that connects again sends the header to the address that it began with.
        given = request.headers.get(LAST_EVENT_ID) or query.last_event_id
        position: int | None = None
        if given is not None:
            (position,) = decode_cursor(FOLLOWING, given, int)
        stream = self._streams.open(caller.own(query.wanted()), position, caller.check)
        response = Response(stream, content_type=EVENT_STREAM_TYPE)
        # nginx would collect what is sent.
        response.headers["X-Accel-Buffering"] = "no"
        return response
