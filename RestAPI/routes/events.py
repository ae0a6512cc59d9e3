"""The event log, and messages of one's own, which take the same way."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.endpoint import endpoint
from RestAPI.schemas.events import (
    CloudEvent,
    EventPage,
    Message,
    MessageCreation,
    MessageStatusChange,
)
from RestAPI.schemas.fields import PageQuery
from WalletCore.domain.commands import SendMessage, SetMessageStatus
from WalletCore.domain.errors import CursorInvalid, EventNotFound, EventStatusFixed
from WalletCore.domain.model import Document
from WalletCore.paging import PageRequest
from WalletCore.store import IdempotencyKey, Outcome, Store

EVENTS_PATH: Final = "/api/v1/events"
TAG: Final = "Events"


class EventRoutes:
    """The endpoints under ``/events``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @endpoint(tag=TAG, query=PageQuery, responses={200: EventPage}, errors=(CursorInvalid,))
    def list_events(self, query: PageQuery) -> Document:
        """Read the log of what happened

        CloudEvents, oldest first, each with its status. An empty page means that there is nothing
        more yet: the same cursor goes on later. No event is ever skipped.
        """
        page = self._store.events(PageRequest(query.cursor, query.limit))
        return {"items": page.items, "next_cursor": page.next_cursor}

    @endpoint(tag=TAG, responses={200: CloudEvent}, errors=(EventNotFound,))
    def get_event(self, event_id: UUID) -> Document:
        """Read an event"""
        return self._store.event(event_id)

    @endpoint(
        tag=TAG,
        body=MessageCreation,
        idempotent=True,
        responses={201: Message},
        location=f"{EVENTS_PATH}/",
        made="event_id",
    )
    def send_message(
        self,
        body: MessageCreation,
        key: IdempotencyKey | None,
        traceparent: str | None,
        dry_run: bool,
    ) -> Outcome:
        """Send a message of your own

        It becomes an event of the log and, once the worker has recorded it, a notification; then
        its status is Processed.
        """
        command = SendMessage(event_id=uuid7(), user_id=body.user_id, description=body.description)
        return self._store.execute(command, key, traceparent, dry_run=dry_run)

    @endpoint(
        tag=TAG,
        body=MessageStatusChange,
        idempotent=True,
        responses={200: Message},
        errors=(EventNotFound, EventStatusFixed),
    )
    def set_message_status(
        self,
        event_id: UUID,
        body: MessageStatusChange,
        key: IdempotencyKey | None,
        traceparent: str | None,
        dry_run: bool,
    ) -> Outcome:
        """Set the status of a message

        By hand it goes before what the worker records. The change is an event of its own. The
        status of what happened to a wallet cannot be set.
        """
        # Whether there is such an event at all is not a matter of the messages.
        self._store.event(event_id)
        command = SetMessageStatus(event_id=event_id, status=body.status)
        return self._store.execute(command, key, traceparent, dry_run=dry_run)
