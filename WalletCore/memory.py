"""The store in memory: the same port, the same committer and domain, one lock.

For demos and the fastest tests. Everything is gone when the process ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import chain
from uuid import UUID

from WalletCore.committer import Committer
from WalletCore.condition import Condition
from WalletCore.cursor import decode_cursor, decode_id_cursor, encode_cursor
from WalletCore.deciding import Submission
from WalletCore.documents import (
    Totals,
    balance_at_document,
    balance_document,
    event_document,
    page_of,
    trial_balance_document,
)
from WalletCore.domain.commands import Command
from WalletCore.domain.errors import CofferError, EventNotFound, TransferNotFound
from WalletCore.domain.hold_rules import hold_not_found
from WalletCore.domain.model import (
    EXTERNAL,
    TRANSFERS,
    Document,
    Entry,
    Event,
    HoldStatus,
    Wallet,
    hold_document,
    operation_document,
    transfer_document,
    wallet_document,
)
from WalletCore.domain.money import Currencies
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.reversal_rules import operation_not_found
from WalletCore.domain.working_set import wallet_not_found
from WalletCore.expirer import HoldExpirer
from WalletCore.folding import fold
from WalletCore.memory_condition import memory_condition
from WalletCore.memory_inbox import MemoryInbox, MemoryWorker
from WalletCore.memory_keys import MemoryKeys
from WalletCore.memory_ledger import MemoryLedger
from WalletCore.memory_reading import memory_search, memory_statement
from WalletCore.memory_shop import MemoryShop
from WalletCore.newest_events import newest_page, place_before
from WalletCore.paging import Page, PageRequest
from WalletCore.search import SearchFilter
from WalletCore.statements import Statement
from WalletCore.store import (
    IdempotencyKey,
    OperationFilter,
    Outcome,
    WalletFilter,
)
from WalletCore.tracing import NO_TRACES, BatchTraces, Tracer, commit_words

DEFAULT_WAITING_COMMANDS = 256
"""How many commands may wait at once where the caller names no limit."""


class MemoryStore:
    """The port of ``WalletCore.store.Store`` on a MemoryLedger."""

    def __init__(
        self,
        currencies: Currencies,
        *,
        waiting_limit: int = DEFAULT_WAITING_COMMANDS,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self.currencies = currencies
        self._ledger = MemoryLedger()
        traces = BatchTraces(tracer, commit_words())
        self._committer = Committer(
            self._ledger, currencies, waiting_limit=waiting_limit, traces=traces
        )
        self.notifications = MemoryInbox()
        self.keys = MemoryKeys()
        self.shop = MemoryShop(self._ledger)
        self._worker = MemoryWorker(self.notifications, self._ledger.events_from)
        self._expirer = HoldExpirer(self.due_holds, self.execute)

    def execute(
        self,
        command: Command,
        key: IdempotencyKey | None = None,
        origin: Origin = SERVICE,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """See Store."""
        return self._committer.submit(command, key, origin, dry_run=dry_run)

    def execute_each(
        self,
        commands: Sequence[tuple[Command, IdempotencyKey | None]],
        origin: Origin = SERVICE,
    ) -> list[Outcome | CofferError]:
        """See Store."""
        return self._committer.submit_each(
            [Submission(command, key, origin, in_order=True) for command, key in commands]
        )

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
                    and _is_found(wanted, wallet)
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

    def operation(self, operation_id: UUID, wallet_id: UUID | None = None) -> Document:
        """See Store."""
        sides = self._sides(operation_id)
        entry = next((side for side in sides if wallet_id in (None, side.wallet_id)), None)
        if entry is None:
            raise operation_not_found(operation_id)
        return operation_document(entry, self._wallet(entry.wallet_id).currency)

    def wallets_of_operation(self, operation_id: UUID) -> tuple[UUID, ...]:
        """See Store."""
        return tuple(entry.wallet_id for entry in self._sides(operation_id))

    def transfer(self, transfer_id: UUID) -> Document:
        """See Store."""
        with self._ledger.lock:
            found = [
                (entry, self._ledger.wallets[entry.wallet_id].currency)
                for entry in self._ledger.related.get(transfer_id, ())
                if entry.operation_type in TRANSFERS
            ]
        if not found:
            raise TransferNotFound(f"There is no transfer {transfer_id}.")
        return transfer_document(found)

    def hold(self, hold_id: UUID) -> Document:
        """See Store."""
        with self._ledger.lock:
            hold = self._ledger.holds.get(hold_id)
            if hold is None:
                raise hold_not_found(hold_id)
            return hold_document(hold, self._ledger.wallets[hold.wallet_id].currency)

    def holds(
        self, wallet_id: UUID, status: HoldStatus | None, page: PageRequest
    ) -> tuple[Page, Document]:
        """See Store."""
        before = UUID(int=2**128 - 1)
        if page.cursor is not None:
            before = decode_id_cursor("holds", page.cursor)
        with self._ledger.lock:
            wallet = self._wallet(wallet_id)
            found = sorted(
                (
                    hold
                    for hold in self._ledger.holds.values()
                    if hold.wallet_id == wallet_id
                    and hold.id < before
                    and status in (None, hold.status)
                ),
                key=lambda hold: hold.id,
                reverse=True,
            )
            shown = page_of(
                found,
                page.limit,
                lambda hold: hold_document(hold, wallet.currency),
                lambda hold: encode_cursor("holds", str(hold.id)),
            )
            return shown, balance_document(wallet)

    def due_holds(self, limit: int, without: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:
        """See Store."""
        now = datetime.now(UTC)
        with self._ledger.lock:
            due = [
                hold
                for hold in self._ledger.open_holds.values()
                if hold.expires_at <= now and hold.wallet_id not in without
            ]
        due.sort(key=lambda hold: hold.expires_at)
        return [(hold.wallet_id, hold.id) for hold in due[:limit]]

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

    def search(self, wanted: SearchFilter, page: PageRequest) -> Page:
        """See Store."""
        with self._ledger.lock:
            entries = chain.from_iterable(self._ledger.entries.values())
            return memory_search(self._ledger.wallets, entries, wanted, page)

    def statement(
        self, wallet_id: UUID, since: datetime | None, until: datetime | None
    ) -> Statement:
        """See Store."""
        with self._ledger.lock:
            entries = self._ledger.entries.get(wallet_id, [])
            return memory_statement(self._wallet(wallet_id), entries, since, until)

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

    def newest_events(self, wallet_id: UUID | None, page: PageRequest) -> Page:
        """See Store."""
        before = place_before(wallet_id, page.cursor)
        with self._ledger.lock:
            numbered = [
                (place, event)
                for place, event in enumerate(self._ledger.events, 1)
                if wallet_id is None or event.wallet_id == wallet_id
            ]
            if wallet_id is not None:
                numbered = [(event.seq or 0, event) for _, event in numbered]
            rows = [
                (place, self._event_document(event))
                for place, event in reversed(numbered)
                if place < before
            ][: page.limit + 1]
        return newest_page(wallet_id, rows, page.limit)

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

    def condition(self, newest_events: int) -> Condition:
        """See Store."""
        now = datetime.now(UTC)
        with self._ledger.lock:
            events = self._ledger.events[-newest_events:]
        return memory_condition(events, self.notifications.has, now, newest_events)

    def missing(self) -> list[str]:
        """See Store."""
        return []

    def close(self) -> None:
        """See Store."""
        self._expirer.close()
        self._committer.close()
        self._worker.close()

    def _event_document(self, event: Event) -> Document:
        message = self._ledger.messages.get(event.id)
        return event_document(
            event.body,
            recorded=self.notifications.has(event.id),
            status=message.status if message is not None else None,
        )

    def _sides(self, operation_id: UUID) -> list[Entry]:
        with self._ledger.lock:
            entries = self._ledger.operations.get(operation_id)
        if entries is None:
            raise operation_not_found(operation_id)
        return entries

    def _wallet(self, wallet_id: UUID) -> Wallet:
        with self._ledger.lock:
            wallet = self._ledger.wallets.get(wallet_id)
        if wallet is None:
            raise wallet_not_found(wallet_id)
        return wallet


def _is_found(wanted: WalletFilter, wallet: Wallet) -> bool:
    if wanted.search is None or wallet.id == wanted.search_id:
        return True
    prefix = fold(wanted.search)
    return any(fold(text or "").startswith(prefix) for text in (wallet.owner, wallet.name))


def _wants(wanted: OperationFilter, entry: Entry) -> bool:
    return (
        wanted.operation_type in (None, entry.operation_type)
        and wanted.reference in (None, entry.reference)
        and (wanted.since is None or entry.created_at >= wanted.since)
        and (wanted.until is None or entry.created_at < wanted.until)
    )
