"""The shop in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from WalletCore.domain.model import REVERSALS, Document, User
from WalletCore.domain.working_set import wallet_not_found
from WalletCore.memory_ledger import MemoryLedger
from WalletCore.shop import (
    BOUGHT,
    MAX_ITEMS,
    RECEIVED,
    SENT,
    START_PRICES,
    Item,
    info_document,
    too_many_items,
)


class MemoryShop:
    """The port of WalletCore.shop.Shop on a MemoryLedger."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        now = datetime.now(UTC)
        self._items = {
            name: Item(name, price, now, now, "coffer") for name, price in START_PRICES.items()
        }

    def user(self, username: str) -> User | None:
        """See Shop."""
        with self._ledger.lock:
            return self._ledger.users.get(username)

    def keep_hash(self, user: User, password_hash: str) -> None:
        """See Shop."""
        with self._ledger.lock:
            if self._ledger.users.get(user.username) == user:
                self._ledger.users[user.username] = replace(user, password_hash=password_hash)

    def info(self, wallet_id: UUID) -> Document:
        """See Shop."""
        with self._ledger.lock:
            wallet = self._ledger.wallets.get(wallet_id)
            if wallet is None:
                raise wallet_not_found(wallet_id)
            entries = self._ledger.entries.get(wallet_id, [])
            undone: defaultdict[UUID | None, int] = defaultdict(int)
            for entry in entries:
                if entry.operation_type in REVERSALS:
                    undone[entry.related_id] += entry.delta_minor
            sums: Counter[tuple[str, str]] = Counter()
            for entry in entries:
                kind = entry.operation_type.value
                left_minor = entry.delta_minor + undone[entry.operation_id]
                if kind == BOUGHT and left_minor:
                    sums[kind, entry.reference or ""] += 1
                elif kind in (RECEIVED, SENT) and left_minor:
                    other = self._ledger.wallets[UUID(entry.counterparty)]
                    sums[kind, other.owner or entry.counterparty] += abs(left_minor)
            found = [(kind, name, total) for (kind, name), total in sums.items()]
            return info_document(wallet.balance_minor, found)

    def items(self) -> list[Item]:
        """See Shop."""
        with self._ledger.lock:
            return [item for _, item in sorted(self._items.items())]

    def set_price(self, name: str, price: int, actor: str) -> tuple[Item, bool]:
        """See Shop."""
        with self._ledger.lock:
            now = datetime.now(UTC)
            before = self._items.get(name)
            if before is None and len(self._items) >= MAX_ITEMS:
                raise too_many_items()
            made = before.created_at if before is not None else now
            self._items[name] = Item(name, price, made, max(now, made), actor)
            return self._items[name], before is None
