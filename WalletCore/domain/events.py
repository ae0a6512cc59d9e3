"""The events of the ledger in their CloudEvents 1.0 form: the contract with every consumer.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
Extension attributes: ``wallet`` (its id) and ``walletseq`` (contiguous from 1 per wallet, so that a
consumer can prove order and loss); ``userid``, whom it concerns, if anybody is named; ``actor`` and
``actoraddress``, who did it and from where; ``requestid``, the id of the request that caused it, if
one did; and ``traceparent`` where that request had one
(https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/distributed-tracing.md).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from WalletCore.domain.model import (
    Document,
    Event,
    Message,
    Wallet,
    id_text,
    rfc3339,
    wallet_id_text,
)
from WalletCore.domain.origin import Origin

SOURCE = "/coffer"
"""The CloudEvents ``source`` of everything that this service announces."""


class EventType(StrEnum):
    """The types of events, past tense: something has happened."""

    OPERATION_COMPLETED = "coffer.operation.completed"
    TRANSFER_COMPLETED = "coffer.transfer.completed"
    HOLD_PLACED = "coffer.hold.placed"
    HOLD_CAPTURED = "coffer.hold.captured"
    HOLD_VOIDED = "coffer.hold.voided"
    HOLD_EXPIRED = "coffer.hold.expired"
    OPERATION_REVERSED = "coffer.operation.reversed"
    PURCHASE_COMPLETED = "coffer.purchase.completed"
    WALLET_CREATED = "coffer.wallet.created"
    WALLET_UPDATED = "coffer.wallet.updated"
    WALLET_FROZEN = "coffer.wallet.frozen"
    WALLET_UNFROZEN = "coffer.wallet.unfrozen"
    WALLET_CLOSED = "coffer.wallet.closed"
    MESSAGE = "coffer.message"
    MESSAGE_UPDATED = "coffer.message.updated"


def wallet_event(
    event_id: UUID,
    type_: EventType,
    wallet: Wallet,
    data: Document,
    at: datetime,
    *,
    origin: Origin,
) -> Event:
    """The event of the change that made ``wallet`` what it is now (``walletseq`` = version)."""
    wallet_id = wallet_id_text(wallet.id)
    body = _attributes(event_id, type_, f"wallets/{wallet_id}", at)
    body["wallet"] = wallet_id
    body["walletseq"] = wallet.version
    _add_optional(body, wallet.owner, origin)
    body["data"] = data
    return Event(
        id=event_id,
        wallet_id=wallet.id,
        seq=wallet.version,
        type=type_.value,
        user_id=wallet.owner,
        body=body,
        created_at=at,
    )


def message_event(
    event_id: UUID,
    type_: EventType,
    message: Message,
    data: Document,
    at: datetime,
    *,
    origin: Origin,
) -> Event:
    """The event of a message, which belongs to no wallet."""
    body = _attributes(event_id, type_, f"messages/{message.id}", at)
    _add_optional(body, message.user_id, origin)
    body["data"] = data
    return Event(
        id=event_id,
        wallet_id=None,
        seq=None,
        type=type_.value,
        user_id=message.user_id,
        body=body,
        created_at=at,
    )


def _attributes(event_id: UUID, type_: EventType, subject: str, at: datetime) -> Document:
    return {
        "specversion": "1.0",
        "id": id_text(event_id),
        "source": SOURCE,
        "type": type_.value,
        "subject": subject,
        "time": rfc3339(at),
        "datacontenttype": "application/json",
    }


def _add_optional(body: Document, user_id: str | None, origin: Origin) -> None:
    """The attributes that an event has or has not: in CloudEvents none is null or empty."""
    if user_id:
        body["userid"] = user_id
    if origin.actor:
        body["actor"] = origin.actor
    if origin.address:
        body["actoraddress"] = origin.address
    if origin.request_id:
        body["requestid"] = origin.request_id
    if origin.traceparent:
        body["traceparent"] = origin.traceparent
