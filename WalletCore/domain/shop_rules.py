"""The rules of the shop: an account with a gift to begin with, and purchases."""

from __future__ import annotations

from typing import Final

from WalletCore.domain.commands import CreateWallet, Deposit, OpenAccount, Purchase
from WalletCore.domain.errors import AmountInvalid, SameWallet
from WalletCore.domain.events import EventType
from WalletCore.domain.model import OperationType, User, operation_document
from WalletCore.domain.money import to_minor
from WalletCore.domain.money_rules import check_same_currency, deposit
from WalletCore.domain.wallet_rules import create_wallet
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

SHOP_CURRENCY: Final = "COIN"
"""What everything in the shop is paid in."""

ACCOUNT_NAME: Final = "Shop"
"""The name of a user's wallet."""

WELCOME: Final = "Welcome to the shop"
"""The description of the deposit that an account begins with."""


def open_account(books: WorkingSet, command: OpenAccount) -> Accepted:
    """A user with a wallet and coins in it. That the name is new is for the key of the command to
    see to, and for the table of users. The answer tells nothing of the password.
    """
    if to_minor(command.coins, books.currencies[SHOP_CURRENCY]) <= 0:
        raise AmountInvalid("An account begins with more than no coins.")
    wallet_id = command.wallet_id
    create_wallet(
        books, CreateWallet(wallet_id, SHOP_CURRENCY, owner=command.username, name=ACCOUNT_NAME)
    )
    deposit(
        books,
        Deposit(wallet_id, command.operation_id, command.coins, description=WELCOME),
    )
    books.changes.users.append(User(command.username, wallet_id, command.password_hash, books.now))
    return Accepted(CREATED, {"username": command.username, "wallet_id": str(wallet_id)})


def purchase(books: WorkingSet, command: Purchase) -> Accepted:
    """One item for its price, which the entries keep: later prices change nothing of it."""
    if command.wallet_id == command.merchant_id:
        raise SameWallet("The merchant buys nothing of itself.")
    buyer, merchant = books.moving(command.wallet_id), books.moving(command.merchant_id)
    check_same_currency(buyer, merchant)
    price_minor = positive_minor(command.price, buyer)
    check_taken(buyer, price_minor)
    check_given(merchant, price_minor)
    movement = Movement(command.operation_id, command.purchase_id, command.item, None, {})
    event = EventType.PURCHASE_COMPLETED
    paid = books.post(buyer, OperationType.PURCHASE_OUT, -price_minor, movement, str(merchant.id))
    document = operation_document(paid, buyer.currency)
    books.announce(event, buyer, document)
    taken = books.post(merchant, OperationType.PURCHASE_IN, price_minor, movement, str(buyer.id))
    books.announce(event, merchant, operation_document(taken, merchant.currency))
    return Accepted(OK, document)
