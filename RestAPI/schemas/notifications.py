"""Notifications in and out."""

from __future__ import annotations

from uuid import UUID

from pydantic import ConfigDict, Field

from RestAPI.schemas.events import EventData
from RestAPI.schemas.fields import (
    Answer,
    Cursor,
    Flag,
    GivenId,
    Instant,
    NextCursor,
    Order,
    PageQuery,
    SomeText,
    Strict,
    UuidText,
)
from WalletCore.domain.events import EventType
from WalletCore.inbox import NotificationFilter


class NotificationQuery(PageQuery):
    """Which notifications."""

    wallet_id: GivenId | None = Field(None, description="Only those of this wallet.")
    user_id: SomeText | None = Field(
        None, description="Only those for this user: the wallet's owner, or a message's."
    )
    unread: Flag | None = Field(None, description="true: only unread ones. false: only read ones.")
    order: Order = Field(
        Order.NEWEST,
        description="newest: backwards, to the first one. oldest: as they were recorded; the same "
        "cursor finds what comes later.",
    )

    def wanted(self) -> NotificationFilter:
        """The same for the store."""
        return NotificationFilter(self.wallet_id, self.user_id, self.unread)


class StreamQuery(Strict):
    """Which notifications are streamed, and from where."""

    wallet_id: GivenId | None = Field(None, description="Only those of this wallet.")
    user_id: SomeText | None = Field(None, description="Only those for this user.")
    last_event_id: Cursor | None = Field(
        None, description="As the header Last-Event-ID, which goes before it."
    )

    def wanted(self) -> NotificationFilter:
        """The same for the store."""
        return NotificationFilter(self.wallet_id, self.user_id)


class ReadMark(Strict):
    """Nothing needs to be said."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class ReadAll(Strict):
    """Which notifications are marked as read: all, or only some."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"user_id": "alice"}]})

    # A filter that is null by mistake must not mark everything.
    user_id: SomeText = Field(default_factory=str, description="Only those for this user.")
    wallet_id: GivenId = Field(
        default_factory=lambda: UUID(int=0), description="Only those of this wallet."
    )

    def wanted(self) -> NotificationFilter:
        """The same for the store."""
        sent = self.model_fields_set
        return NotificationFilter(
            self.wallet_id if "wallet_id" in sent else None,
            self.user_id if "user_id" in sent else None,
        )


class Notification(Answer):
    """What a person is told of an event."""

    id: UuidText
    event_id: UuidText
    wallet_id: UuidText | None
    user_id: str | None = Field(description="null if the wallet has no owner.")
    type: EventType
    title: str
    text: str = Field(description="In plain words.", examples=["Deposit of 10.50 USD"])
    data: EventData = Field(description="That of the event.")
    created_at: Instant = Field(description="When the worker recorded it.")
    read_at: Instant | None


class NotificationPage(Answer):
    """A part of the notifications."""

    items: list[Notification]
    next_cursor: NextCursor | None = Field(
        description="null at the end; with order=oldest it never is."
    )


class Marked(Answer):
    """How many notifications were marked."""

    read: int = Field(ge=0, description="Those that were unread before.")
