"""What people are told of an event, in plain words.

``notice`` takes an event in its CloudEvents form, as it comes from anywhere, and raises BadEvent
for whatever is none of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from WalletCore.domain.errors import AmountInvalid
from WalletCore.domain.events import EventType
from WalletCore.domain.model import Document, HoldStatus, OperationType
from WalletCore.domain.money import parse_decimal


class BadEvent(Exception):
    """What came is no event of ours; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that was read and found good, with what is told of it. ``time``: of the event.
    ``request_id``: of the request that caused it, as far as the event names one.
    """

    event_id: UUID
    type: str
    wallet_id: UUID | None
    user_id: str | None
    time: datetime
    title: str
    text: str
    data: Document
    request_id: str | None = None


def notice(event: object) -> Notice:
    """What ``event`` says. Raises BadEvent."""
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise BadEvent("not a CloudEvent: an object with specversion 1.0 is expected")
    type_ = _text(event, "type")
    tell = _TELL.get(type_)
    if tell is None:
        raise BadEvent(f"unknown type {type_[:100]!r}")
    data = event.get("data")
    if not isinstance(data, dict):
        raise BadEvent("data is not an object")
    try:
        title, text = tell(data)
    except BadEvent as bad:
        raise BadEvent(f"data is not that of {type_}: {bad}") from None
    wallet = event.get("wallet")
    user = event.get("userid")
    request_id = event.get("requestid")
    if user is not None and not (isinstance(user, str) and user):
        raise BadEvent("userid is not a text")
    return Notice(
        event_id=_uuid(event.get("id"), "id"),
        type=type_,
        wallet_id=_uuid(wallet, "wallet") if wallet is not None else None,
        user_id=user,
        time=_time(_text(event, "time")),
        title=title,
        text=text,
        data=data,
        # For the log only: no reason to take a message for one that cannot be read.
        request_id=request_id if isinstance(request_id, str) else None,
    )


def _operation(data: Document) -> tuple[str, str]:
    name = _OPERATIONS.get(_text(data, "operation_type"))
    if name is None:
        raise BadEvent("operation_type is none that there is")
    currency, amount = _text(data, "currency"), _text(data, "amount")
    return name, f"{name} of {amount} {currency}, balance {_text(data, 'new_balance')} {currency}"


def _purchase(data: Document) -> tuple[str, str]:
    name = _PURCHASES.get(_text(data, "operation_type"))
    if name is None:
        raise BadEvent("operation_type is none that a purchase has")
    price = f"{_text(data, 'amount')} {_text(data, 'currency')}"
    balance = f"{_text(data, 'new_balance')} {data['currency']}"
    return name, f"{name} of {_text(data, 'reference')} for {price}, balance {balance}"


def _hold(data: Document) -> tuple[str, str]:
    name = _HOLDS.get(_text(data, "status"))
    if name is None:
        raise BadEvent("status is none that a hold has")
    amount = _text(data, "amount")
    if data["status"] != HoldStatus.OPEN.value:
        amount = _released(data)
    return name, f"{name}: {amount} {_text(data, 'currency')}"


def _released(data: Document) -> str:
    """What was not captured of a hold, and is available again."""
    try:
        amount, captured = (parse_decimal(_text(data, name)) for name in ("amount", "captured"))
    except AmountInvalid:
        raise BadEvent("amount and captured are not amounts") from None
    return f"{amount - captured:f}"


def _created(data: Document) -> tuple[str, str]:
    return "Wallet opened", f"A wallet in {_text(data, 'currency')} was opened{_named(data)}"


def _updated(data: Document) -> tuple[str, str]:
    return "Wallet changed", f"The details of {_wallet(data)} changed"


def _frozen(data: Document) -> tuple[str, str]:
    return "Wallet frozen", f"{_wallet(data, 'The')} is frozen: no money moves for now"


def _unfrozen(data: Document) -> tuple[str, str]:
    return "Wallet active again", f"{_wallet(data, 'The')} is active again: money moves"


def _closed(data: Document) -> tuple[str, str]:
    return "Wallet closed", f"{_wallet(data, 'The')} is closed for good"


def _message(data: Document) -> tuple[str, str]:
    return "Message", _text(data, "description")


def _marked(data: Document) -> tuple[str, str]:
    event_id, status = _text(data, "event_id"), _text(data, "status")
    return "Message marked", f"The message {event_id} was marked as {status}"


def _wallet(data: Document, article: str = "the") -> str:
    return f"{article} {_text(data, 'currency')} wallet{_named(data)}"


def _named(data: Document) -> str:
    """The wallet's name, where it has one, behind what is said of it."""
    name = data.get("name")
    return f" ({_text(data, 'name')})" if name is not None and name != "" else ""


_OPERATIONS: Final[Mapping[str, str]] = {
    OperationType.DEPOSIT.value: "Deposit",
    OperationType.WITHDRAW.value: "Withdrawal",
    OperationType.TRANSFER_OUT.value: "Transfer out",
    OperationType.TRANSFER_IN.value: "Transfer in",
    OperationType.CAPTURE_OUT.value: "Capture",
    OperationType.CAPTURE_IN.value: "Captured payment",
    OperationType.REVERSAL_OUT.value: "Reversal",
    OperationType.REVERSAL_IN.value: "Refund",
}

_PURCHASES: Final[Mapping[str, str]] = {
    OperationType.PURCHASE_OUT.value: "Purchase",
    OperationType.PURCHASE_IN.value: "Sale",
}

_HOLDS: Final[Mapping[str, str]] = {
    HoldStatus.OPEN.value: "Hold",
    HoldStatus.VOIDED.value: "Hold released",
    HoldStatus.EXPIRED.value: "Hold expired",
}

_TELL: Final[Mapping[str, Callable[[Document], tuple[str, str]]]] = {
    EventType.OPERATION_COMPLETED.value: _operation,
    EventType.TRANSFER_COMPLETED.value: _operation,
    EventType.HOLD_CAPTURED.value: _operation,
    EventType.OPERATION_REVERSED.value: _operation,
    EventType.PURCHASE_COMPLETED.value: _purchase,
    EventType.HOLD_PLACED.value: _hold,
    EventType.HOLD_VOIDED.value: _hold,
    EventType.HOLD_EXPIRED.value: _hold,
    EventType.WALLET_CREATED.value: _created,
    EventType.WALLET_UPDATED.value: _updated,
    EventType.WALLET_FROZEN.value: _frozen,
    EventType.WALLET_UNFROZEN.value: _unfrozen,
    EventType.WALLET_CLOSED.value: _closed,
    EventType.MESSAGE.value: _message,
    EventType.MESSAGE_UPDATED.value: _marked,
}
"""Title and text by type: a test proves that no type is left out."""


def _text(event: Mapping[str, Any], name: str) -> str:
    """A text of the event or of its data. What else is there is never quoted: it may be endless."""
    value = event.get(name)
    if not isinstance(value, str):
        raise BadEvent(f"{name} is not a text")
    return value


def _uuid(value: object, name: str) -> UUID:
    try:
        found = UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise BadEvent(f"{name} is not a UUID") from None
    # One event has one text: Python would read braces, underscores and digits of other scripts.
    if str(found) != value:
        raise BadEvent(f"{name} is not a UUID")
    return found


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadEvent("time is not RFC 3339") from None
    if moment.tzinfo is None:
        raise BadEvent("time has no offset")
    return moment
