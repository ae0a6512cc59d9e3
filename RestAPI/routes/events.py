"""The event log."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from RestAPI.endpoint import endpoint
from RestAPI.schemas.events import CloudEvent, EventPage
from RestAPI.schemas.fields import PageQuery
from WalletCore.domain.errors import CursorInvalid, EventNotFound
from WalletCore.domain.model import Document
from WalletCore.store import PageRequest, Store

TAG: Final = "Events"


class EventRoutes:
    """The endpoints under ``/events``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @endpoint(tag=TAG, query=PageQuery, responses={200: EventPage}, errors=(CursorInvalid,))
    def list_events(self, query: PageQuery) -> Document:
        """Read the log of what happened

        CloudEvents, oldest first. An empty page means that there is nothing more yet: the same
        cursor goes on later. No event is ever skipped.
        """
        page = self._store.events(PageRequest(query.cursor, query.limit))
        return {"items": page.items, "next_cursor": page.next_cursor}

    @endpoint(tag=TAG, responses={200: CloudEvent}, errors=(EventNotFound,))
    def get_event(self, event_id: UUID) -> Document:
        """Read an event"""
        return self._store.event(event_id)
