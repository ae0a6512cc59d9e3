"""The event log: CloudEvents 1.0 in their JSON form.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from RestAPI.schemas.fields import Answer, Instant, NextCursor, UuidText
from RestAPI.schemas.operations import Operation
from RestAPI.schemas.wallets import Wallet
from WalletCore.domain.events import EventType


class CloudEvent(Answer):
    """Something that happened to a wallet."""

    specversion: Literal["1.0"]
    id: UuidText
    source: str
    type: EventType
    subject: str
    time: Instant
    datacontenttype: Literal["application/json"]
    wallet: UuidText
    walletseq: int = Field(ge=1, description="Counts the events of this wallet, without gaps.")
    data: Operation | Wallet = Field(description="The operation, or the wallet as it was then.")


class EventPage(Answer):
    """A part of the log, oldest first."""

    items: list[CloudEvent]
    next_cursor: NextCursor = Field(
        description="Where to go on, at the end too: the same cursor finds what comes later."
    )
