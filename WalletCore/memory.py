"""The store in memory: the same port, the same committer and domain, one lock.

For demos and the fastest tests. Everything is gone when the process ends.
"""

from __future__ import annotations

import copy
import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from WalletCore.committer import Committer
from WalletCore.cursor import decode_cursor, decode_id_cursor, encode_cursor
from WalletCore.documents import (
    Totals,
    balance_at_document,
    balance_document,
    event_document,
    page_of,
    trial_balance_document,
)
from WalletCore.domain.commands import Command
from WalletCore.domain.errors import EventNotFound, OperationNotFound
from WalletCore.domain.ledger import Changes, wallet_not_found
from WalletCore.domain.model import (
    EXTERNAL,
    Document,
    Entry,
    Event,
    Message,
    Wallet,
    operation_document,
    wallet_document,
)
from WalletCore.domain.money import Currencies
from WalletCore.memory_inbox import MemoryInbox, MemoryWorker
from WalletCore.paging import Page, PageRequest
from WalletCore.store import (
    IdempotencyKey,
    Loaded,
    OperationFilter,
    Outcome,
    Remembered,
    WalletFilter,
)

DEFAULT_WAITING_COMMANDS = 256
"""How many commands may wait at once where the caller names no limit."""


class MemoryLedger:
    """The rows, and the lock that guards them all. It is the committer's source of transactions."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.wallets: dict[UUID, Wallet] = {}
        self.entries: dict[UUID, list[Entry]] = defaultdict(list)
        self.operations: dict[UUID, Entry] = {}
        self.events: list[Event] = []
        self.event_places: dict[UUID, int] = {}
        self.messages: dict[UUID, Message] = {}
        self.remembered: dict[tuple[str, str], Remembered] = {}

    @contextmanager
    def begin(self) -> Iterator[MemoryLedger]:
        """A transaction: the lock, for as long as the block lasts."""
        with self.lock:
            yield self

    def load(
        self,
        wallet_ids: Sequence[UUID],
        keys: Sequence[tuple[str, str]],
        *,
        skip_locked: bool,  # noqa: ARG002 - nothing is ever locked by somebody else here
        message_ids: Sequence[UUID] = (),
    ) -> Loaded:
        """Copies of the wallets, so that a batch that fails leaves no trace."""
        return Loaded(
            {id_: copy.copy(self.wallets[id_]) for id_ in wallet_ids if id_ in self.wallets},
            {key: self.remembered[key] for key in keys if key in self.remembered},
            messages={
                id_: copy.copy(self.messages[id_]) for id_ in message_ids if id_ in self.messages
            },
        )

    def join(self, keys: Sequence[tuple[str, str]]) -> Loaded:
        """Keys alone, the same way."""
        return self.load((), keys, skip_locked=True)

    def save(self, changes: Changes, remembered: Mapping[tuple[str, str], Remembered]) -> None:
        """Put everything in its place."""
        self.wallets.update(changes.created)
        self.wallets.update(changes.changed)
        self.messages.update(changes.sent)
        self.messages.update(changes.marked)
        for entry in changes.entries:
            self.entries[entry.wallet_id].append(entry)
            self.operations[entry.operation_id] = entry
        for event in changes.events:
            self.event_places[event.id] = len(self.events)
            self.events.append(event)
        self.remembered.update(remembered)

    def events_from(self, place: int, limit: int) -> list[Event]:
        """The log from ``place`` on, at most ``limit`` events."""
        with self.lock:
            return self.events[place : place + limit]

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryStore:
    """The port of ``WalletCore.store.Store`` on a MemoryLedger."""

    def __init__(
        self, currencies: Currencies, *, waiting_limit: int = DEFAULT_WAITING_COMMANDS
    ) -> None:
        self.currencies = currencies
        self._ledger = MemoryLedger()
        self._committer = Committer(self._ledger, currencies, waiting_limit=waiting_limit)
        self.notifications = MemoryInbox()
        self._worker = MemoryWorker(self.notifications, self._ledger.events_from)

    def execute(
        self,
        command: Command,
        key: IdempotencyKey | None = None,
        traceparent: str | None = None,
    ) -> Outcome:
        """See Store."""
        return self._committer.submit(command, key, traceparent)

    def wallet(self, wallet_id: UUID) -> Document:
        """See Store."""
        return wallet_document(self._wallet(wallet_id))

    def wallets(self, wanted: WalletFilter, page: PageRequest) -> Page:
        """See Store."""
        start = UUID(int=0)
        if page.cursor is not None:
            start = decode_id_cursor("wallets", page.cursor)
        with self._ledger.lock:
            found = sorted(
                (
                    wallet
                    for wallet in self._ledger.wallets.values()
                    if wallet.id > start
                    and wanted.owner in (None, wallet.owner)
                    and wanted.currency in (None, wallet.currency.code)
                    and wanted.status in (None, wallet.status)
                ),
                key=lambda wallet: wallet.id,
            )
            return page_of(
                found, page.limit, wallet_document, lambda w: encode_cursor("wallets", str(w.id))
            )

    def balance(self, wallet_id: UUID) -> Document:
        """See Store."""
        return balance_document(self._wallet(wallet_id))

    def balance_at(self, wallet_id: UUID, at: datetime) -> Document:
        """See Store."""
        wallet = self._wallet(wallet_id)
        with self._ledger.lock:
            entries = self._ledger.entries.get(wallet_id, [])
            place = bisect_right(entries, at, key=lambda entry: entry.created_at)
        entry = entries[place - 1] if place else None
        return balance_at_document(
            wallet_id,
            wallet.currency,
            at,
            seq=entry.seq if entry else 0,
            balance_minor=entry.balance_after_minor if entry else 0,
        )

    def operation(self, operation_id: UUID) -> Document:
        """See Store."""
        with self._ledger.lock:
            entry = self._ledger.operations.get(operation_id)
        if entry is None:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return operation_document(entry, self._wallet(entry.wallet_id).currency)

    def operations(self, wallet_id: UUID, wanted: OperationFilter, page: PageRequest) -> Page:
        """See Store."""
        before = None
        if page.cursor is not None:
            (before,) = decode_cursor("operations", page.cursor, int)
        currency = self._wallet(wallet_id).currency
        with self._ledger.lock:
            found = [
                entry
                for entry in reversed(self._ledger.entries.get(wallet_id, []))
                if (before is None or entry.seq < before) and _wants(wanted, entry)
            ]
        return page_of(
            found,
            page.limit,
            lambda entry: operation_document(entry, currency),
            lambda entry: encode_cursor("operations", entry.seq),
        )

    def event(self, event_id: UUID) -> Document:
        """See Store."""
        with self._ledger.lock:
            place = self._ledger.event_places.get(event_id)
            if place is None:
                raise EventNotFound(f"There is no event {event_id} in the log.")
            return self._event_document(self._ledger.events[place])

    def events(self, page: PageRequest) -> Page:
        """See Store."""
        start = 0
        if page.cursor is not None:
            (start,) = decode_cursor("events", page.cursor, int)
        with self._ledger.lock:
            found = self._ledger.events[start : start + page.limit]
            documents = [self._event_document(event) for event in found]
        return Page(documents, encode_cursor("events", start + len(found)))

    def trial_balance(self) -> Document:
        """See Store."""
        totals: dict[str, Totals] = defaultdict(Totals)
        with self._ledger.lock:
            for wallet in self._ledger.wallets.values():
                total = totals[wallet.currency.code]
                total.balances += wallet.balance_minor
                for entry in self._ledger.entries.get(wallet.id, []):
                    if entry.counterparty != EXTERNAL:
                        continue
                    if entry.delta_minor > 0:
                        total.deposits += entry.delta_minor
                    else:
                        total.withdrawals -= entry.delta_minor
        return trial_balance_document(
            {self.currencies[code]: total for code, total in sorted(totals.items())}
        )

    def missing(self) -> list[str]:
        """See Store."""
        return []

    def close(self) -> None:
        """See Store."""
        self._committer.close()
        self._worker.close()

    def _event_document(self, event: Event) -> Document:
        message = self._ledger.messages.get(event.id)
        return event_document(
            event.body,
            recorded=self.notifications.has(event.id),
            status=message.status if message is not None else None,
        )

    def _wallet(self, wallet_id: UUID) -> Wallet:
        with self._ledger.lock:
            wallet = self._ledger.wallets.get(wallet_id)
        if wallet is None:
            raise wallet_not_found(wallet_id)
        return wallet


def _wants(wanted: OperationFilter, entry: Entry) -> bool:
    return (
        wanted.operation_type in (None, entry.operation_type)
        and wanted.reference in (None, entry.reference)
        and (wanted.since is None or entry.created_at >= wanted.since)
        and (wanted.until is None or entry.created_at < wanted.until)
    )
