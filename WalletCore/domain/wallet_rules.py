"""The rules of wallets themselves: made, described, limited, frozen, closed."""

from __future__ import annotations

import json
from decimal import Decimal

from WalletCore.domain.commands import CreateWallet, Unset, UpdateWallet
from WalletCore.domain.errors import AmountInvalid, LimitExceeded, WalletNotEmpty
from WalletCore.domain.events import EventType
from WalletCore.domain.model import Document, Wallet, WalletStatus, wallet_document
from WalletCore.domain.money import Currency, to_minor
from WalletCore.domain.working_set import CREATED, OK, Accepted, WorkingSet, money, wallet_closed

_EVENT_OF_STATUS = {
    WalletStatus.ACTIVE: EventType.WALLET_UNFROZEN,
    WalletStatus.FROZEN: EventType.WALLET_FROZEN,
    WalletStatus.CLOSED: EventType.WALLET_CLOSED,
}


def create_wallet(books: WorkingSet, command: CreateWallet) -> Accepted:
    """A new wallet, active and empty."""
    currency = books.currencies[command.currency]
    wallet = Wallet(
        id=command.wallet_id,
        owner=books.owner_of_new(command.owner),
        name=command.name,
        currency=currency,
        balance_minor=0,
        held_minor=0,
        shortfall_minor=0,
        min_balance_minor=_floor(command.min_balance, currency),
        version=1,
        entry_seq=0,
        status=WalletStatus.ACTIVE,
        metadata=command.metadata,
        created_at=books.now,
        updated_at=books.now,
        max_balance_minor=_ceiling(command.max_balance, currency),
    )
    books.wallets[wallet.id] = wallet
    books.changes.created[wallet.id] = wallet
    document = wallet_document(wallet)
    books.announce(EventType.WALLET_CREATED, wallet, document)
    return Accepted(CREATED, document)


def update_wallet(books: WorkingSet, command: UpdateWallet) -> Accepted:
    """Other words about a wallet, other limits, or another status; nothing if it is so already."""
    wallet = books.wallet(command.wallet_id)
    name = wallet.name if isinstance(command.name, Unset) else command.name
    metadata = wallet.metadata if isinstance(command.metadata, Unset) else command.metadata
    status = wallet.status if isinstance(command.status, Unset) else command.status
    floor_minor, ceiling_minor = _limits(command, wallet)
    wanted = (name, status, floor_minor, ceiling_minor)
    if wanted == (
        wallet.name,
        wallet.status,
        wallet.min_balance_minor,
        wallet.max_balance_minor,
    ) and _same(metadata, wallet.metadata):
        return Accepted(OK, wallet_document(wallet))
    if wallet.status is WalletStatus.CLOSED:
        raise wallet_closed(wallet)
    if status is WalletStatus.CLOSED and (wallet.balance_minor or wallet.held_minor):
        raise WalletNotEmpty(
            "Only an empty wallet can be closed: its balance is "
            f"{money(wallet.balance_minor, wallet)}, {money(wallet.held_minor, wallet)} of "
            "it held. Bring both to zero first."
        )
    _check_limits(wallet, floor_minor, ceiling_minor)
    event_type = EventType.WALLET_UPDATED if status is wallet.status else _EVENT_OF_STATUS[status]
    wallet.name, wallet.metadata, wallet.status = name, metadata, status
    wallet.min_balance_minor = floor_minor
    wallet.shortfall_minor = min(wallet.shortfall_minor, max(0, -wallet.available_minor))
    wallet.max_balance_minor = ceiling_minor
    books.touch(wallet)
    if wallet.id in books.changes.changed:
        books.changes.described.add(wallet.id)
    document = wallet_document(wallet)
    books.announce(event_type, wallet, document)
    return Accepted(OK, document)


def _limits(command: UpdateWallet, wallet: Wallet) -> tuple[int, int | None]:
    """The limits that ``command`` wants, in minor units."""
    floor_minor, ceiling_minor = wallet.min_balance_minor, wallet.max_balance_minor
    if not isinstance(command.min_balance, Unset):
        floor_minor = _floor(command.min_balance, wallet.currency)
    if not isinstance(command.max_balance, Unset):
        ceiling_minor = _ceiling(command.max_balance, wallet.currency)
    return floor_minor, ceiling_minor


def _check_limits(wallet: Wallet, floor_minor: int, ceiling_minor: int | None) -> None:
    """A stricter limit must hold already; a looser one may leave a wallet that fell below its limit
    short of the new one. Raises LimitExceeded.
    """
    free_minor = wallet.balance_minor - wallet.held_minor
    if floor_minor > wallet.min_balance_minor and free_minor < floor_minor:
        raise LimitExceeded(
            f"The balance without what is held is {money(free_minor, wallet)}, below a min_balance "
            f"of {money(floor_minor, wallet)}. Bring it up first.",
            limit="min_balance",
        )
    if ceiling_minor is not None and wallet.balance_minor > ceiling_minor:
        raise LimitExceeded(
            f"The balance is {money(wallet.balance_minor, wallet)}, above a max_balance of "
            f"{money(ceiling_minor, wallet)}. Bring it down first.",
            limit="max_balance",
        )


def _floor(amount: Decimal, currency: Currency) -> int:
    floor_minor = to_minor(amount, currency)
    if floor_minor > 0:
        raise AmountInvalid("min_balance is at most 0; below 0 it is a credit limit.")
    return floor_minor


def _ceiling(amount: Decimal | None, currency: Currency) -> int | None:
    if amount is None:
        return None
    ceiling_minor = to_minor(amount, currency)
    if ceiling_minor < 0:
        raise AmountInvalid("max_balance is at least 0.")
    return ceiling_minor


def _same(one: Document, other: Document) -> bool:
    """Whether two documents are the same JSON; to Python alone, 1 and true are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
