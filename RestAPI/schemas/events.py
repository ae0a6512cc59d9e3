"""The event log: CloudEvents 1.0 in their JSON form, and messages of one's own.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from RestAPI.schemas.fields import (
    Answer,
    GivenId,
    Instant,
    NextCursor,
    Order,
    PageQuery,
    SomeLongText,
    SomeText,
    Strict,
    UuidText,
)
from RestAPI.schemas.holds import Capture, Hold
from RestAPI.schemas.operations import Operation
from RestAPI.schemas.wallets import Wallet
from WalletCore.domain.events import EventType
from WalletCore.domain.model import MessageStatus


class EventQuery(PageQuery):
    """Which part of the log, in which direction."""

    order: Order = Field(
        Order.OLDEST,
        description="oldest: as it was committed, none skipped; the same cursor finds what comes "
        "later. newest: backwards, to the first one.",
    )
    wallet_id: GivenId | None = Field(
        None, description="Only those of this wallet; with order=newest."
    )

    @model_validator(mode="after")
    def _only_backwards(self) -> Self:
        if self.wallet_id is not None and self.order is not Order.NEWEST:
            raise ValueError("wallet_id can be asked for with order=newest only")
        return self


class MessageData(Answer):
    """What a message says."""

    user_id: str
    description: str


class MessageStatusData(Answer):
    """What the status of a message was set to."""

    event_id: UuidText = Field(description="The message.")
    status: MessageStatus


EventData: TypeAlias = Operation | Capture | Hold | Wallet | MessageData | MessageStatusData


class CloudEvent(Answer):
    """Something that happened, to a wallet or as a message."""

    specversion: Literal["1.0"]
    id: UuidText
    source: str
    type: EventType
    subject: str = Field(description="`wallets/{id}` or `messages/{id}`.")
    time: Instant
    datacontenttype: Literal["application/json"]
    wallet: UuidText = Field(
        default_factory=str, description="The wallet that it happened to; absent for messages."
    )
    walletseq: int = Field(
        default_factory=int,
        ge=1,
        description="Counts the events of this wallet, without gaps; absent for messages.",
    )
    userid: str = Field(
        default_factory=str,
        min_length=1,
        description="The wallet's owner, or whom the message is for; absent if nobody is named.",
    )
    actor: str = Field(
        default_factory=str,
        min_length=1,
        description="Who did it: `key:` and an id, `user:` and a name, `open`, `shell`, or "
        "`coffer`, the service itself; absent in events older than this attribute.",
    )
    actoraddress: str = Field(
        default_factory=str, min_length=1, description="Of the client, where there was one."
    )
    requestid: str = Field(
        default_factory=str,
        pattern=r"^[A-Za-z0-9._:/+=@-]{1,128}$",
        description="The X-Request-Id of the request, if a request caused it.",
    )
    traceparent: str = Field(
        default_factory=str,
        pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        description="That of the request, if it had a valid one (W3C Trace Context).",
    )
    data: EventData = Field(
        description="The operation, the wallet as it was then, or what the message says."
    )
    status: MessageStatus = Field(
        description="Processed once the worker has recorded it; of a message, what was set by "
        "hand. The log's only attribute beside those that are announced."
    )


class EventPage(Answer):
    """A part of the log."""

    items: list[CloudEvent]
    next_cursor: NextCursor | None = Field(
        description="Where to go on, at the end too: the same cursor finds what comes later. With "
        "order=newest it is null at the end."
    )


class MessageCreation(Strict):
    """A message of one's own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_id": "alice", "description": "Your parcel has arrived."}]
        }
    )

    user_id: SomeText = Field(description="Whom it is for.")
    description: SomeLongText = Field(description="What it says.")


class MessageStatusChange(Strict):
    """The status that a message gets by hand."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "Processed"}]})

    status: MessageStatus


class Message(Answer):
    """A message of one's own."""

    event_id: UuidText
    user_id: str
    description: str
    status: MessageStatus
    created_at: Instant
    updated_at: Instant
