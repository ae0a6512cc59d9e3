"""The rule of reversals: an operation is undone, in full or in part, on all its sides."""

from __future__ import annotations

from WalletCore.domain.commands import Reverse
from WalletCore.domain.errors import NotReversible, OperationNotFound, ReversalExceeded
from WalletCore.domain.events import EventType
from WalletCore.domain.model import (
    REVERSALS,
    Entry,
    OperationType,
    Original,
    Wallet,
    operation_document,
)
from WalletCore.domain.money import format_amount
from WalletCore.domain.working_set import (
    CREATED,
    Accepted,
    Movement,
    WorkingSet,
    check_floor,
    check_given,
    check_taken,
    money,
    positive_minor,
)


def reverse(books: WorkingSet, command: Reverse) -> Accepted:
    """The money goes back the way it came, never more than came."""
    original = books.originals.get(command.original_id)
    if original is None:
        raise operation_not_found(command.original_id)
    sides = [(entry, books.moving(entry.wallet_id)) for entry in original.entries]
    amount_minor = _amount(command, original, sides[0][1])
    for entry, wallet in sides:
        if entry.delta_minor < 0:
            check_given(wallet, amount_minor)
        elif command.allow_negative:
            check_floor(wallet, amount_minor)
        else:
            check_taken(wallet, amount_minor)
    original.reversed_minor += amount_minor
    # The side that gives comes first, as in every movement between wallets.
    sides.sort(key=lambda side: -side[0].delta_minor)
    first, *_ = [_post(books, command, entry, wallet, amount_minor) for entry, wallet in sides]
    return Accepted(CREATED, operation_document(first, sides[0][1].currency))


def _amount(command: Reverse, original: Original, wallet: Wallet) -> int:
    """How much is to be undone. Raises NotReversible, ReversalExceeded, AmountInvalid."""
    entry = original.entries[0]
    if entry.operation_type in REVERSALS:
        raise NotReversible(
            f"The operation {entry.operation_id} is itself a reversal. Do the first operation anew."
        )
    left_minor = abs(entry.delta_minor) - original.reversed_minor
    if left_minor == 0:
        raise NotReversible(f"The operation {entry.operation_id} was reversed in full already.")
    if command.amount is None:
        return left_minor
    amount_minor = positive_minor(command.amount, wallet)
    if amount_minor > left_minor:
        raise ReversalExceeded(
            f"{money(amount_minor, wallet)} was to be reversed and {money(left_minor, wallet)} of "
            "the operation is left.",
            remaining=format_amount(left_minor, wallet.currency),
        )
    return amount_minor


def _post(
    books: WorkingSet, command: Reverse, side: Entry, wallet: Wallet, amount_minor: int
) -> Entry:
    gives = side.delta_minor > 0
    delta_minor = -amount_minor if gives else amount_minor
    # Only here a balance may fall below its limit; the shortfall says by how much.
    short_minor = -(wallet.available_minor + delta_minor)
    wallet.shortfall_minor = max(wallet.shortfall_minor, short_minor, 0)
    entry = books.post(
        wallet,
        OperationType.REVERSAL_OUT if gives else OperationType.REVERSAL_IN,
        delta_minor,
        Movement(
            command.operation_id,
            command.original_id,
            command.reference,
            command.description,
            command.metadata,
        ),
        side.counterparty,
    )
    books.announce(EventType.OPERATION_REVERSED, wallet, operation_document(entry, wallet.currency))
    return entry


def operation_not_found(operation_id: object) -> OperationNotFound:
    """The error for an id that no operation has."""
    return OperationNotFound(f"There is no operation {operation_id}.")
