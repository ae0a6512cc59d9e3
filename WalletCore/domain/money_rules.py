"""The rules of money that moves: deposits, withdrawals, transfers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from WalletCore.domain.commands import Deposit, Leg, Transfer, Withdraw
from WalletCore.domain.errors import CofferError, CurrencyMismatch, SameWallet
from WalletCore.domain.events import EventType
from WalletCore.domain.model import (
    Entry,
    OperationType,
    Wallet,
    operation_document,
    transfer_document,
)
from WalletCore.domain.money import Currency
from WalletCore.domain.working_set import (
    CREATED,
    OK,
    Accepted,
    Movement,
    WorkingSet,
    check_given,
    check_taken,
    positive_minor,
)


def deposit(books: WorkingSet, command: Deposit) -> Accepted:
    """Money comes into a wallet from outside."""
    wallet = books.moving(command.wallet_id)
    amount_minor = positive_minor(command.amount, wallet)
    check_given(wallet, amount_minor)
    return _post(books, command, OperationType.DEPOSIT, wallet, amount_minor)


def withdraw(books: WorkingSet, command: Withdraw) -> Accepted:
    """Money leaves a wallet to the outside."""
    wallet = books.moving(command.wallet_id)
    amount_minor = positive_minor(command.amount, wallet)
    check_taken(wallet, amount_minor)
    return _post(books, command, OperationType.WITHDRAW, wallet, -amount_minor)


def _post(
    books: WorkingSet,
    command: Deposit | Withdraw,
    operation_type: OperationType,
    wallet: Wallet,
    delta_minor: int,
) -> Accepted:
    movement = Movement(
        command.operation_id, None, command.reference, command.description, command.metadata
    )
    entry = books.post(wallet, operation_type, delta_minor, movement)
    document = operation_document(entry, wallet.currency)
    books.announce(EventType.OPERATION_COMPLETED, wallet, document)
    return Accepted(OK, document)


@dataclass(frozen=True, slots=True)
class _Move:
    """A leg that may be done."""

    leg: Leg
    source: Wallet
    target: Wallet
    amount_minor: int


def transfer(books: WorkingSet, command: Transfer) -> Accepted:
    """All legs in their order, each with the money that those before it brought, or none."""
    pending_minor: defaultdict[UUID, int] = defaultdict(int)
    moves: list[_Move] = []
    for number, leg in enumerate(command.legs):
        try:
            moves.append(_check(books, leg, pending_minor))
        except CofferError as refusal:
            if len(command.legs) > 1:
                refusal.extra["leg"] = number
            raise
    sides: list[tuple[Entry, Currency]] = []
    event = EventType.TRANSFER_COMPLETED
    for move in moves:
        movement = Movement(
            move.leg.operation_id,
            command.transfer_id,
            command.reference,
            command.description,
            command.metadata,
        )
        source, target = move.source, move.target
        given = books.post(
            source, OperationType.TRANSFER_OUT, -move.amount_minor, movement, str(target.id)
        )
        books.announce(event, source, operation_document(given, source.currency))
        taken = books.post(
            target, OperationType.TRANSFER_IN, move.amount_minor, movement, str(source.id)
        )
        books.announce(event, target, operation_document(taken, target.currency))
        sides += [(given, source.currency), (taken, target.currency)]
    return Accepted(CREATED, transfer_document(sides))


def _check(books: WorkingSet, leg: Leg, pending_minor: defaultdict[UUID, int]) -> _Move:
    """Whether ``leg`` can be done after what is pending, which then counts it, too."""
    if leg.source_id == leg.target_id:
        raise SameWallet("A transfer needs two wallets; source and target are the same one.")
    source, target = books.moving(leg.source_id), books.moving(leg.target_id)
    check_same_currency(source, target)
    amount_minor = positive_minor(leg.amount, source)
    check_taken(source, amount_minor, before_minor=pending_minor[source.id])
    check_given(target, amount_minor, before_minor=pending_minor[target.id])
    pending_minor[source.id] -= amount_minor
    pending_minor[target.id] += amount_minor
    return _Move(leg, source, target, amount_minor)


def check_same_currency(source: Wallet, target: Wallet) -> None:
    """Raises CurrencyMismatch."""
    if source.currency != target.currency:
        raise CurrencyMismatch(
            f"The wallet {source.id} is in {source.currency.code} and {target.id} in "
            f"{target.currency.code}. Coffer knows no rates: withdraw here and deposit there."
        )
