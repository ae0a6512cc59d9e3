"""The events of the ledger in their CloudEvents 1.0 form: the contract with every consumer.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
Extension attributes: ``wallet`` (its id) and ``walletseq`` (contiguous from 1 per wallet, so that a
consumer can prove order and loss).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from WalletCore.domain.model import Document, Event, Wallet, rfc3339

SOURCE = "/coffer"
"""The CloudEvents ``source`` of everything that this service announces."""


class EventType(StrEnum):
    """The types of events, past tense: something has happened."""

    OPERATION_COMPLETED = "coffer.operation.completed"
    WALLET_CREATED = "coffer.wallet.created"
    WALLET_UPDATED = "coffer.wallet.updated"
    WALLET_FROZEN = "coffer.wallet.frozen"
    WALLET_UNFROZEN = "coffer.wallet.unfrozen"
    WALLET_CLOSED = "coffer.wallet.closed"


def wallet_event(
    event_id: UUID, type_: EventType, wallet: Wallet, data: Document, at: datetime
) -> Event:
    """The event of the change that made ``wallet`` what it is now (``walletseq`` = version)."""
    body = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": SOURCE,
        "type": type_.value,
        "subject": f"wallets/{wallet.id}",
        "time": rfc3339(at),
        "datacontenttype": "application/json",
        "wallet": str(wallet.id),
        "walletseq": wallet.version,
        "data": data,
    }
    return Event(
        id=event_id,
        wallet_id=wallet.id,
        seq=wallet.version,
        type=type_.value,
        user_id=wallet.owner,
        body=body,
        created_at=at,
    )
