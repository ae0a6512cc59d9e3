"""The shop's port: who may log in, what there is to buy, and what somebody has.

There are no tables of purchases and gifts: both are entries of the ledger, and read from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid5

from WalletCore.domain.errors import LimitExceeded
from WalletCore.domain.model import Document, OperationType, User, rfc3339

MAX_NAME_CHARACTERS: Final = 64
"""Of a user and of an item."""

MAX_PRICE_COINS: Final = 1_000_000_000
MAX_ITEMS: Final = 1000
"""All are read at once. Items are never taken away, so this many names are all there can be."""

MERCHANT_ID: Final = uuid5(UUID("8f6f2a0e-51b8-4c2f-9d0f-3f8f6d3f7a10"), "coffer.shop.merchant")
"""The wallet that every purchase pays into: the same one everywhere."""

MERCHANT_OWNER: Final = "shop:merchant"
"""Its owner: no user's name has a colon."""

START_PRICES: Final = {
    "t-shirt": 80,
    "cup": 20,
    "book": 50,
    "pen": 10,
    "powerbank": 200,
    "hoody": 300,
    "umbrella": 200,
    "socks": 10,
    "wallet": 50,
    "pink-hoody": 500,
}
"""What the shop opens with, in coins. On PostgreSQL the migration puts them in."""

BOUGHT: Final = OperationType.PURCHASE_OUT.value
RECEIVED: Final = OperationType.TRANSFER_IN.value
SENT: Final = OperationType.TRANSFER_OUT.value


@dataclass(frozen=True, slots=True)
class Item:
    """Something to buy. ``price``: coins. ``changed_by``: the actor who set it."""

    name: str
    price: int
    created_at: datetime
    updated_at: datetime
    changed_by: str


class Shop(Protocol):
    """What the HTTP service asks. Each method may raise ``Unavailable``."""

    def user(self, username: str) -> User | None:
        """The user of this name."""

    def keep_hash(self, user: User, password_hash: str) -> None:
        """Put another hash of the same password in the place of that of ``user``; nothing where
        that is another one by now.
        """

    def info(self, wallet_id: UUID) -> Document:
        """``info_document`` of a wallet, all of it at one moment. Raises WalletNotFound."""

    def items(self) -> list[Item]:
        """Everything that there is to buy, by name."""

    def set_price(self, name: str, price: int, actor: str) -> tuple[Item, bool]:
        """Give an item this price; one that there is not yet is made (True).

        Raises LimitExceeded.
        """


def info_document(coins: int, sums: Iterable[tuple[str, str, int]]) -> Document:
    """What somebody has. ``sums``: of purchases, kind (BOUGHT), item and number; of gifts, kind
    (RECEIVED or SENT), the other one and coins; what has the same name is added up.
    """
    by_kind: dict[str, Counter[str]] = {BOUGHT: Counter(), RECEIVED: Counter(), SENT: Counter()}
    for kind, name, total in sums:
        by_kind[kind][name] += total
    bought, received, sent = (sorted(by_kind[kind].items()) for kind in (BOUGHT, RECEIVED, SENT))
    return {
        "coins": coins,
        "inventory": [{"type": name, "quantity": number} for name, number in bought],
        "coinHistory": {
            "received": [{"fromUser": name, "amount": amount} for name, amount in received],
            "sent": [{"toUser": name, "amount": amount} for name, amount in sent],
        },
    }


def too_many_items() -> LimitExceeded:
    """The error for one item more."""
    return LimitExceeded(
        f"The shop has {MAX_ITEMS} items, the most that there can be. Change the price of one.",
        limit="shop_items",
    )


def item_document(item: Item) -> Document:
    """An item as it is answered."""
    return {
        "name": item.name,
        "price": item.price,
        "created_at": rfc3339(item.created_at),
        "updated_at": rfc3339(item.updated_at),
        "changed_by": item.changed_by,
    }
