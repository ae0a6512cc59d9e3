"""What the database at ``url`` knows of its events: how many wait, and how long they waited."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from benchmarks.programs import CannotMeasure
from WalletCore.currencies import load_currencies
from WalletCore.domain.commands import Deposit
from WalletCore.domain.ledger import Ledger
from WalletCore.domain.working_set import Accepted
from WalletCore.postgres.connect import read_engine
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.postgres.transactions import PostgresTransactions
from WalletCore.store import Needs

FILL_COMMANDS: Final = 1000
"""Deposits of a backlog in one transaction."""
RECORD_TIMEOUT_SECONDS: Final = 600.0
POLL_SECONDS: Final = 0.2

TOP: Final = "SELECT coalesce(max(position), 0) FROM coffer.events"
BEHIND: Final = (
    "SELECT (SELECT count(*) FROM coffer.events) - (SELECT count(*) FROM notifications.inbox)"
)
"""An event is in the inbox once at most, so the numbers differ by what is not there yet."""

DELAYS: Final = """
SELECT count(*), count(i.event_id), percentile_disc(ARRAY[0.5, 0.95, 0.99, 1]) WITHIN GROUP (
    ORDER BY (extract(epoch FROM i.recorded_at - e.created_at) * 1000)::float8)
FROM coffer.events e LEFT JOIN notifications.inbox i ON i.event_id = e.id
WHERE e.created_at >= to_timestamp(%s) AND e.created_at < to_timestamp(%s)
"""
"""The milliseconds from commit to record of the events that happened in a time.

``created_at`` is read after the wallets are locked, a little before COMMIT; ``recorded_at`` when
the worker's row is inserted, a little before its COMMIT. Both are clocks of this machine.
"""

DRAINED: Final = """
SELECT count(*), extract(epoch FROM max(i.recorded_at) - min(i.recorded_at))::float8
FROM coffer.events e JOIN notifications.inbox i ON i.event_id = e.id WHERE e.position > %s
"""
"""The seconds from the first record to the last one of what came after a position."""


@dataclass(frozen=True, slots=True)
class Delays:
    """From commit to record: events that happened, those not recorded, milliseconds of the rest."""

    events: int
    missing: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    def details(self) -> dict[str, float]:
        """What else is known beside the one value of a measurement."""
        return {
            "events": self.events,
            "p50_ms": round(self.p50_ms, 3),
            "p95_ms": round(self.p95_ms, 3),
            "p99_ms": round(self.p99_ms, 3),
            "max_ms": round(self.max_ms, 3),
        }


def delays(url: str, since: float, until: float) -> Delays:
    """Those of the events of these seconds (since 1970). Raises CannotMeasure if there are none."""
    with psycopg.connect(url) as connection:
        row = connection.execute(DELAYS, [since, until]).fetchone()
    if row is None or row[2] is None:
        raise CannotMeasure("No event of the measured seconds was recorded.")
    happened, recorded, percentiles = row
    return Delays(happened, happened - recorded, *percentiles)


def top(url: str) -> int:
    """The highest position in the log, 0 if there is none."""
    return _number(url, TOP)


def behind(url: str) -> int:
    """How many events are committed and not recorded."""
    return _number(url, BEHIND)


def wait_until_recorded(url: str) -> None:
    """Wait until every event is. Raises CannotMeasure after RECORD_TIMEOUT_SECONDS."""
    deadline = time.monotonic() + RECORD_TIMEOUT_SECONDS
    while left := behind(url):
        if time.monotonic() > deadline:
            raise CannotMeasure(
                f"{left} events are not recorded after {RECORD_TIMEOUT_SECONDS:.0f} s."
            )
        time.sleep(POLL_SECONDS)


def drained(url: str, position: int) -> tuple[int, float]:
    """How many events above ``position`` are recorded, and the seconds from first to last."""
    with psycopg.connect(url) as connection:
        row = connection.execute(DRAINED, [position]).fetchone()
    return (row[0], row[1] or 0.0) if row else (0, 0.0)


def drain_rate(events: int, seconds: float) -> float:
    """Events a second: between the first record and the last one lie one fewer than there are.

    Raises CannotMeasure where that cannot be said.
    """
    if events < 2 or seconds <= 0:
        raise CannotMeasure(f"{events} events in {seconds} s make no rate.")
    return (events - 1) / seconds


def fill(url: str, wallet_ids: Sequence[str], count: int) -> None:
    """Put ``count`` events of deposits into the log, by the service's own rules and statements.

    So each has a real body, and the ledger goes on adding up. Raises CannotMeasure.
    """
    ids = [UUID(wallet_id) for wallet_id in wallet_ids]
    engine = read_engine(url)
    currencies = StoredCurrencies(engine, load_currencies(""))
    transactions = PostgresTransactions(url, currencies)
    try:
        for first in range(0, count, FILL_COMMANDS):
            orders = [_order(random.choice(ids)) for _ in range(min(FILL_COMMANDS, count - first))]  # noqa: S311
            with transactions.begin() as transaction:
                wallets = sorted({order.wallet_id for order in orders})
                loaded = transaction.load(Needs(wallets), [], skip_locked=False)
                ledger = Ledger(loaded.wallets, currencies, datetime.now(UTC), uuid7)
                if not all(isinstance(ledger.decide(order), Accepted) for order in orders):
                    raise CannotMeasure("A deposit of the backlog was refused.")
                transaction.save(ledger.changes, {})
    finally:
        transactions.close()
        engine.dispose()


def _order(wallet_id: UUID) -> Deposit:
    """A deposit like those of the paced client."""
    return Deposit(
        wallet_id,
        uuid7(),
        Decimal(random.randint(1, 99_999)).scaleb(-2),  # noqa: S311 - no secret
        reference=f"order-{random.getrandbits(40)}",
        metadata={"channel": "web"},
    )


def _number(url: str, question: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone()
    return int(row[0]) if row else 0
