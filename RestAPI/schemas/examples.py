"""Examples of answers, composed by the code that composes the answers, so that they cannot age."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from WalletCore.domain.events import EventType, wallet_event
from WalletCore.domain.model import (
    EXTERNAL,
    Document,
    Entry,
    OperationType,
    Wallet,
    WalletStatus,
    operation_document,
    wallet_document,
)
from WalletCore.domain.money import Currency

_USD = Currency("USD", 2)
_MADE = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
_MOVED = datetime(2030, 1, 31, 12, 5, tzinfo=UTC)
_WALLET_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_OPERATION_ID = UUID("01890a62-40b6-7c1f-9c1d-6e5f1a2b3c4d")
_EVENT_ID = UUID("01890a62-40b7-7d20-8a3e-0f9e8d7c6b5a")

_wallet = Wallet(
    id=_WALLET_ID,
    owner="alice",
    name="Savings",
    currency=_USD,
    balance_minor=1050,
    held_minor=0,
    shortfall_minor=0,
    min_balance_minor=0,
    version=2,
    entry_seq=1,
    status=WalletStatus.ACTIVE,
    metadata={},
    created_at=_MADE,
    updated_at=_MOVED,
)
_entry = Entry(
    wallet_id=_WALLET_ID,
    seq=1,
    operation_id=_OPERATION_ID,
    operation_type=OperationType.DEPOSIT,
    delta_minor=1050,
    balance_after_minor=1050,
    counterparty=EXTERNAL,
    reference="order-1001",
    description=None,
    metadata={},
    created_at=_MOVED,
)

WALLET_EXAMPLE: Final[Document] = wallet_document(_wallet)
OPERATION_EXAMPLE: Final[Document] = operation_document(_entry, _USD)
EVENT_EXAMPLE: Final[Document] = wallet_event(
    _EVENT_ID, EventType.OPERATION_COMPLETED, _wallet, OPERATION_EXAMPLE, _MOVED
).body

ANSWER_EXAMPLES: Final[dict[str, Document]] = {
    "Wallet": WALLET_EXAMPLE,
    "WalletPage": {"items": [WALLET_EXAMPLE], "next_cursor": None},
    "Operation": OPERATION_EXAMPLE,
    "OperationPage": {"items": [OPERATION_EXAMPLE], "next_cursor": None},
    "CloudEvent": EVENT_EXAMPLE,
    "Pong": {"ping": "pong"},
    "Liveness": {"status": "alive"},
}
"""By the name of the model that they are examples of."""
