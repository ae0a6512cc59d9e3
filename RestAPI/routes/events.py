"""The event log, and messages of one's own, which take the same way."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.schemas.events import (
    CloudEvent,
    EventPage,
    EventQuery,
    Message,
    MessageCreation,
    MessageStatusChange,
)
from RestAPI.schemas.fields import Order
from WalletCore.domain.commands import SendMessage, SetMessageStatus
from WalletCore.domain.errors import CursorInvalid, EventNotFound, EventStatusFixed
from WalletCore.domain.model import Document
from WalletCore.paging import PageRequest
from WalletCore.store import IdempotencyKey, Outcome

EVENTS_PATH: Final = "/api/v1/events"
TAG: Final = "Events"


class EventRoutes:
    """The endpoints under ``/events``."""

    @endpoint(tag=TAG, query=EventQuery, responses={200: EventPage}, errors=(CursorInvalid,))
    def list_events(self, caller: Caller, query: EventQuery) -> Document:
        """Read the log of what happened

        CloudEvents, oldest first, each with its status. An empty page means that there is nothing
        more yet: the same cursor goes on later. No event is ever skipped. With `order=newest` it
        goes backwards, to the first one, and `wallet_id` narrows it to one wallet.
        """
        wanted = PageRequest(query.cursor, query.limit)
        if query.order is Order.NEWEST:
            page = caller.store.newest_events(query.wallet_id, wanted)
        else:
            page = caller.store.events(wanted)
        return {"items": page.items, "next_cursor": page.next_cursor}

    @endpoint(tag=TAG, responses={200: CloudEvent}, errors=(EventNotFound,))
    def get_event(self, caller: Caller, event_id: UUID) -> Document:
        """Read an event"""
        return caller.store.event(event_id)

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
        caller: Caller,
        body: MessageCreation,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Send a message of your own

        It becomes an event of the log and, once the worker has recorded it, a notification; then
        its status is Processed.
        """
        command = SendMessage(event_id=uuid7(), user_id=body.user_id, description=body.description)
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(
        tag=TAG,
        body=MessageStatusChange,
        idempotent=True,
        responses={200: Message},
        errors=(EventNotFound, EventStatusFixed),
    )
    def set_message_status(
        self,
        caller: Caller,
        event_id: UUID,
        body: MessageStatusChange,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Set the status of a message

        By hand it goes before what the worker records. The change is an event of its own. The
        status of what happened to a wallet cannot be set.
        """
        # Whether there is such an event at all is not a matter of the messages.
        caller.store.event(event_id)
        command = SetMessageStatus(event_id=event_id, status=body.status)
        return caller.execute(command, key, dry_run=dry_run)
