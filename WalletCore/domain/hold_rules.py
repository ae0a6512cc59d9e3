"""The rules of holds: money that is kept back until it is captured, voided or its time is over."""

from __future__ import annotations

from WalletCore.domain.commands import CaptureHold, ExpireHold, PlaceHold, VoidHold
from WalletCore.domain.errors import (
    HoldAlreadyResolved,
    HoldExceeded,
    HoldNotFound,
    LimitExceeded,
    SameWallet,
)
from WalletCore.domain.events import EventType
from WalletCore.domain.model import (
    EXTERNAL,
    Document,
    Hold,
    HoldStatus,
    OperationType,
    Wallet,
    hold_document,
    operation_document,
)
from WalletCore.domain.money import MAX_AMOUNT_MINOR, format_amount
from WalletCore.domain.money_rules import check_same_currency
from WalletCore.domain.working_set import (
    CREATED,
    OK,
    Accepted,
    Movement,
    WorkingSet,
    check_floor,
    check_given,
    check_taken,
    money,
    positive_minor,
)


def place_hold(books: WorkingSet, command: PlaceHold) -> Accepted:
    """Less is available, and the balance stays."""
    wallet = books.moving(command.wallet_id)
    amount_minor = positive_minor(command.amount, wallet)
    check_taken(wallet, amount_minor)
    if wallet.held_minor + amount_minor > MAX_AMOUNT_MINOR:
        raise LimitExceeded("More than 10^18 minor units would be held.", limit="held")
    wallet.held_minor += amount_minor
    books.touch(wallet)
    hold = Hold(
        id=command.hold_id,
        wallet_id=wallet.id,
        amount_minor=amount_minor,
        captured_minor=0,
        status=HoldStatus.OPEN,
        reference=command.reference,
        description=command.description,
        metadata=command.metadata,
        expires_at=wallet.updated_at + command.lasts,
        created_at=wallet.updated_at,
        updated_at=wallet.updated_at,
    )
    books.holds[hold.id] = hold
    books.changes.placed[hold.id] = hold
    document = hold_document(hold, wallet.currency)
    books.announce(EventType.HOLD_PLACED, wallet, document)
    return Accepted(CREATED, document)


def capture_hold(books: WorkingSet, command: CaptureHold) -> Accepted:
    """What is captured leaves the wallet; after the last time the rest is available again."""
    wallet = books.moving(command.wallet_id)
    hold = _open(books, command)
    amount_minor = hold.remaining_minor
    if command.amount is not None:
        amount_minor = positive_minor(command.amount, wallet)
    if amount_minor > hold.remaining_minor:
        raise HoldExceeded(
            f"{money(amount_minor, wallet)} was asked for and the hold keeps "
            f"{money(hold.remaining_minor, wallet)}.",
            remaining=format_amount(hold.remaining_minor, wallet.currency),
        )
    target = None
    if command.target_id is not None:
        if command.target_id == wallet.id:
            raise SameWallet("The hold is of the target itself; void it to release its money.")
        target = books.moving(command.target_id)
        check_same_currency(wallet, target)
        check_given(target, amount_minor)
    check_floor(wallet, amount_minor)
    wallet.held_minor -= amount_minor
    hold.captured_minor += amount_minor
    if command.final or hold.remaining_minor == 0:
        wallet.held_minor -= hold.remaining_minor
        hold.status = HoldStatus.CAPTURED
    operation = _post(books, command, hold, wallet, target, amount_minor)
    return Accepted(OK, hold_document(hold, wallet.currency) | {"operation": operation})


def _post(  # noqa: PLR0917 - its one caller is above
    books: WorkingSet,
    command: CaptureHold,
    hold: Hold,
    wallet: Wallet,
    target: Wallet | None,
    amount_minor: int,
) -> Document:
    """Both sides, or one; the event of the wallet whose hold it is tells of the hold, too."""
    movement = Movement(
        command.operation_id,
        command.hold_id,
        command.reference,
        command.description,
        command.metadata,
    )
    out, into = OperationType.CAPTURE_OUT, OperationType.CAPTURE_IN
    other = EXTERNAL if target is None else str(target.id)
    given = books.post(wallet, out, -amount_minor, movement, other)
    _change(books, hold, wallet)
    operation = operation_document(given, wallet.currency)
    told = operation | {"hold": hold_document(hold, wallet.currency)}
    books.announce(EventType.HOLD_CAPTURED, wallet, told)
    if target is not None:
        taken = books.post(target, into, amount_minor, movement, str(wallet.id))
        document = operation_document(taken, target.currency)
        books.announce(EventType.HOLD_CAPTURED, target, document)
    return operation


def void_hold(books: WorkingSet, command: VoidHold) -> Accepted:
    """What it still keeps back is available again."""
    wallet = books.wallet(command.wallet_id)
    hold = _open(books, command)
    return Accepted(OK, _release(books, hold, wallet, HoldStatus.VOIDED, EventType.HOLD_VOIDED))


def expire_hold(books: WorkingSet, command: ExpireHold) -> Accepted:
    """The same by itself. One that was resolved meanwhile, or is not due, stays as it is."""
    wallet = books.wallet(command.wallet_id)
    hold = _found(books, command)
    if hold.status is not HoldStatus.OPEN or hold.expires_at > books.now:
        return Accepted(OK, hold_document(hold, wallet.currency))
    return Accepted(OK, _release(books, hold, wallet, HoldStatus.EXPIRED, EventType.HOLD_EXPIRED))


def _release(
    books: WorkingSet, hold: Hold, wallet: Wallet, status: HoldStatus, event_type: EventType
) -> Document:
    wallet.held_minor -= hold.remaining_minor
    wallet.shortfall_minor = min(wallet.shortfall_minor, max(0, -wallet.available_minor))
    hold.status = status
    books.touch(wallet)
    _change(books, hold, wallet)
    document = hold_document(hold, wallet.currency)
    books.announce(event_type, wallet, document)
    return document


def _found(books: WorkingSet, command: CaptureHold | VoidHold | ExpireHold) -> Hold:
    hold = books.holds.get(command.hold_id)
    if hold is None or hold.wallet_id != command.wallet_id:
        raise hold_not_found(command.hold_id)
    return hold


def _open(books: WorkingSet, command: CaptureHold | VoidHold) -> Hold:
    """A hold that is not resolved. Its time counts, too: whoever releases it may come later."""
    hold = _found(books, command)
    status = hold.status
    if status is HoldStatus.OPEN and hold.expires_at <= books.now:
        status = HoldStatus.EXPIRED
    if status is not HoldStatus.OPEN:
        raise HoldAlreadyResolved(
            f"The hold {hold.id} is {status.value}; place a new one.", hold_status=status.value
        )
    return hold


def _change(books: WorkingSet, hold: Hold, wallet: Wallet) -> None:
    hold.updated_at = max(wallet.updated_at, hold.updated_at)
    if hold.id not in books.changes.placed:
        books.changes.held[hold.id] = hold


def hold_not_found(hold_id: object) -> HoldNotFound:
    """The error for an id that no hold has."""
    return HoldNotFound(
        f"There is no hold {hold_id}. Place one with POST /api/v1/wallets/{{wallet_id}}/holds."
    )
