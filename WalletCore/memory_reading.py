"""Statements and searches in memory. Whoever calls these holds the ledger's lock."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from WalletCore.documents import page_of
from WalletCore.domain.model import Entry, Wallet, operation_document
from WalletCore.paging import Page, PageRequest
from WalletCore.search import LAST_PLACE, SearchFilter, decode_place, encode_place, place_of
from WalletCore.statements import Statement, end_of_period


def memory_statement(
    wallet: Wallet, entries: Sequence[Entry], since: datetime | None, until: datetime | None
) -> Statement:
    """See Store.statement. ``entries``: all of the wallet's, a list that only grows."""
    end = end_of_period(wallet, until, datetime.now(UTC))

    def count_before(moment: datetime) -> int:
        return bisect_left(entries, moment, key=lambda entry: entry.created_at)

    def balance_after(count: int) -> int:
        return entries[count - 1].balance_after_minor if count else 0

    after_seq = 0 if since is None else count_before(since)
    last_seq = count_before(end)
    return Statement(
        wallet_id=wallet.id,
        currency=wallet.currency,
        since=since,
        until=end,
        after_seq=after_seq,
        last_seq=last_seq,
        opening_minor=balance_after(after_seq),
        closing_minor=balance_after(last_seq),
        read_slice=lambda after_seq, last_seq: entries[after_seq:last_seq],
    )


def memory_search(
    wallets: Mapping[UUID, Wallet],
    entries: Iterable[Entry],
    wanted: SearchFilter,
    page: PageRequest,
) -> Page:
    """See Store.search. ``entries``: those of all wallets, in any order."""
    before = LAST_PLACE if page.cursor is None else decode_place(page.cursor)
    found = heapq.nlargest(
        page.limit + 1,
        (
            entry
            for entry in entries
            if place_of(entry) < before and wanted.matches(entry, wallets[entry.wallet_id])
        ),
        key=place_of,
    )
    return page_of(
        found,
        page.limit,
        lambda entry: operation_document(entry, wallets[entry.wallet_id].currency),
        lambda entry: encode_place(place_of(entry)),
    )
