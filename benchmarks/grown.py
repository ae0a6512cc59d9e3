"""Ledgers of a given size, made without asking the service, and what can be read in them.

Entries are put in by INSERT ... SELECT with the indexes in place, so that these have grown as they
would. They are interleaved as in life: those of one wallet lie far apart. Every wallet that has any
has ENTRIES_PER_WALLET, whatever the size, so that the same question has an answer of the same
length. Balances add up; the log has no events of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from benchmarks.pgbench import wallet_id, wallet_id_text
from benchmarks.programs import BYTES_PER_MB

ENTRIES_PER_WALLET: Final = 100
PERIOD: Final = timedelta(days=90)
"""Over which the entries are spread; it ends now."""
SLICE_ENTRIES: Final = 100_000
"""Entries of one INSERT, and so of one transaction."""

_WALLETS: Final = """
INSERT INTO coffer.wallets (id, currency, balance, held, shortfall, min_balance, version, entry_seq,
    status, metadata, created_at, updated_at)
SELECT {wallet}, 'USD', entries * (entries + 1) / 2, 0, 0, 0, entries + 1, entries,
    'active', '{{}}', '{since}', '{until}'
FROM (SELECT n, CASE WHEN n <= {filled} THEN {per_wallet} ELSE 0 END AS entries
    FROM generate_series(1, {wallets}) AS n) AS one
"""

_ENTRIES: Final = """
INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, balance_after,
    counterparty, reference, metadata, created_at)
SELECT {wallet}, seq,
    (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '70008000'
        || lpad(to_hex(n), 12, '0'))::uuid,
    'DEPOSIT', seq, seq * (seq + 1) / 2, 'external', 'order-' || n, '{{"channel":"web"}}', moment
FROM (SELECT n, n % {filled} + 1 AS number, n / {filled} + 1 AS seq,
        '{since}'::timestamptz + n * interval '{step} microseconds' AS moment
    FROM generate_series({first}::bigint, {last}::bigint) AS n) AS one
"""
"""The entry with seq k of a wallet is a deposit of k, so the balance after it is known."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A ledger with ``entries`` (a multiple of ENTRIES_PER_WALLET) since a moment, in ``wallets``
    wallets, of which the first ones have them.
    """

    entries: int
    wallets: int
    since: datetime

    @property
    def filled(self) -> int:
        """How many wallets have entries."""
        return self.entries // ENTRIES_PER_WALLET

    @property
    def step(self) -> timedelta:
        """From one entry to the next, whosever it is."""
        return timedelta(microseconds=PERIOD // timedelta(microseconds=1) // self.entries)

    def moment(self, number: float) -> str:
        """When the entry with this number (from 0) was made, RFC 3339."""
        return f"{self.since + number * self.step:%Y-%m-%dT%H:%M:%S.%fZ}"

    def evenly(self, count: int) -> list[str]:
        """The ids of ``count`` wallets, spread over all of them."""
        return [wallet_id_text(1 + place * self.wallets // count) for place in range(count)]

    def any_filled(self) -> str:
        """The id of a random wallet with entries."""
        return wallet_id_text(random.randint(1, self.filled))  # noqa: S311 - no secret


def new_ledger(entries: int, wallets: int) -> Grown:
    """What ``grow`` makes: at least so many wallets, and as many as the entries need."""
    since = datetime.now(UTC).replace(microsecond=0) - PERIOD
    return Grown(entries, max(wallets, entries // ENTRIES_PER_WALLET), since)


def grow(url: str, grown: Grown, say: Callable[[str], None]) -> None:
    """Make that ledger in the empty database at ``url``, vacuumed and analyzed."""
    began = time.monotonic()
    since, filled = grown.since.isoformat(), grown.filled
    values = {"wallet": wallet_id("n"), "since": since, "filled": filled}
    wallets = _WALLETS.format(
        **values,
        until=grown.moment(grown.entries),
        wallets=grown.wallets,
        per_wallet=ENTRIES_PER_WALLET,
    )
    values["wallet"] = wallet_id("number")
    step = grown.step // timedelta(microseconds=1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(wallets.encode())
        for first in range(0, grown.entries, SLICE_ENTRIES):
            last = min(first + SLICE_ENTRIES, grown.entries) - 1
            entries = _ENTRIES.format(**values, step=step, first=first, last=last)
            connection.execute(entries.encode())
        connection.execute("VACUUM ANALYZE coffer.wallets, coffer.entries")
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    seconds = time.monotonic() - began
    megabytes = row[0] / BYTES_PER_MB if row else 0.0
    say(
        f"Made {grown.entries:,} entries in {grown.filled:,} wallets: {seconds:.1f} s, "
        f"{megabytes:,.0f} MB"
    )
