"""Short cuts for tests of the ledger: commands, stores, batches of a known order, an audit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from threading import Event
from typing import Any, Final, LiteralString
from uuid import UUID

import orjson
import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.waiting import eventually
from WalletCore.cache import BalanceCache, NullCache
from WalletCore.committer import Committer
from WalletCore.currencies import load_currencies
from WalletCore.domain.commands import (
    CaptureHold,
    Command,
    CreateWallet,
    Deposit,
    Leg,
    PlaceHold,
    Reverse,
    Transfer,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.money import Currencies
from WalletCore.memory import MemoryStore
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.store import PostgresStore
from WalletCore.store import IdempotencyKey, Outcome, Store, Transaction, TransactionSource

CURRENCIES: Final[Currencies] = load_currencies("COIN:0")
WAITING_COMMANDS: Final = 256
GATE_TIMEOUT_SECONDS: Final = 30.0
AN_HOUR: Final = timedelta(hours=1)

MONEY_AUDITS: Final = {
    "the balance is the sum of the entries": """
        SELECT w.id FROM coffer.wallets w LEFT JOIN
            (SELECT wallet_id, sum(delta) AS total FROM coffer.entries GROUP BY 1) e
            ON e.wallet_id = w.id WHERE w.balance <> coalesce(e.total, 0)""",
    "seq is contiguous from 1 to entry_seq": """
        SELECT w.id FROM coffer.wallets w LEFT JOIN
            (SELECT wallet_id, count(*) AS n, min(seq) AS first, max(seq) AS last
             FROM coffer.entries GROUP BY 1) e ON e.wallet_id = w.id
        WHERE w.entry_seq <> coalesce(e.n, 0)
            OR (e.n > 0 AND (e.first, e.last) <> (1, w.entry_seq))""",
    "balance_after is the running sum": """
        SELECT wallet_id FROM (
            SELECT wallet_id, balance_after,
                   sum(delta) OVER (PARTITION BY wallet_id ORDER BY seq) AS total
            FROM coffer.entries) e WHERE balance_after <> total""",
    "version is the number of events, walletseq contiguous from 1": """
        SELECT w.id FROM coffer.wallets w LEFT JOIN
            (SELECT wallet_id, count(*) AS n, min(seq) AS first, max(seq) AS last
             FROM coffer.events GROUP BY 1) v ON v.wallet_id = w.id
        WHERE v.n IS NULL OR (v.n, v.first, v.last) <> (w.version, 1, w.version)""",
    "available is never below the limit": """
        SELECT id FROM coffer.wallets WHERE balance - held + shortfall < min_balance""",
    "nothing belongs to no wallet": """
        SELECT wallet_id FROM (SELECT wallet_id FROM coffer.entries
            UNION ALL SELECT wallet_id FROM coffer.events WHERE wallet_id IS NOT NULL) r
        WHERE NOT EXISTS (SELECT FROM coffer.wallets w WHERE w.id = r.wallet_id)""",
    "every entry has one event, of its own type": """
        SELECT e.wallet_id, e.operation_id, v.wallet_id, v.id FROM
            (SELECT wallet_id, operation_id, 'coffer.' || CASE
                WHEN operation_type LIKE 'TRANSFER%' THEN 'transfer.completed'
                WHEN operation_type LIKE 'CAPTURE%' THEN 'hold.captured'
                WHEN operation_type LIKE 'REVERSAL%' THEN 'operation.reversed'
                WHEN operation_type LIKE 'PURCHASE%' THEN 'purchase.completed'
                ELSE 'operation.completed' END AS type FROM coffer.entries) e
            FULL JOIN
            (SELECT wallet_id, type, body::jsonb -> 'data' ->> 'id' AS id, count(*) AS n
             FROM coffer.events WHERE type IN ('coffer.operation.completed',
                'coffer.transfer.completed', 'coffer.hold.captured', 'coffer.operation.reversed',
                'coffer.purchase.completed')
             GROUP BY 1, 2, 3) v
            ON (v.wallet_id, v.type, v.id) = (e.wallet_id, e.type, e.operation_id::text)
        WHERE e.operation_id IS NULL OR v.n IS DISTINCT FROM 1""",
    "an operation has one side outside, or two that name each other and sum to zero": """
        SELECT operation_id FROM coffer.entries e JOIN coffer.wallets w ON w.id = e.wallet_id
        GROUP BY 1 HAVING CASE
            WHEN count(*) = 1 THEN min(counterparty) <> 'external'
            ELSE count(*) <> 2 OR sum(delta) <> 0 OR count(DISTINCT currency) <> 1
                OR array_agg(wallet_id::text ORDER BY wallet_id::text)
                    <> array_agg(counterparty ORDER BY counterparty) END""",
}
"""What must hold, and the SQL that finds where it does not. It shares no code with ``verify``, so
that neither can hide a defect of the other. These need nothing that a later migration added."""

AUDITS: Final = MONEY_AUDITS | {
    "held is what the open holds keep back": """
        SELECT w.id FROM coffer.wallets w LEFT JOIN
            (SELECT wallet_id, sum(amount - captured) AS total FROM coffer.holds
             WHERE status = 'open' GROUP BY 1) h
            ON h.wallet_id = w.id WHERE w.held <> coalesce(h.total, 0)""",
    "captured is the sum of the captures": """
        SELECT h.id, c.hold FROM coffer.holds h FULL JOIN
            (SELECT wallet_id, related_id AS hold, sum(-delta) AS total FROM coffer.entries
             WHERE operation_type = 'CAPTURE_OUT' GROUP BY 1, 2) c
            ON (c.wallet_id, c.hold) = (h.wallet_id, h.id)
        WHERE h.id IS NULL OR h.captured <> coalesce(c.total, 0)""",
    "an open hold has something left": """
        SELECT id FROM coffer.holds WHERE status = 'open' AND captured = amount""",
    "no hold belongs to no wallet": """
        SELECT id FROM coffer.holds h
        WHERE NOT EXISTS (SELECT FROM coffer.wallets w WHERE w.id = h.wallet_id)""",
    "the balance is never above the ceiling": """
        SELECT id FROM coffer.wallets WHERE balance > max_balance""",
    "reversals go the other way and never beyond the operation": """
        SELECT o.operation_id, r.related_id FROM
            (SELECT wallet_id, related_id, sum(delta) AS total FROM coffer.entries
             WHERE operation_type IN ('REVERSAL_OUT', 'REVERSAL_IN') GROUP BY 1, 2) r
            LEFT JOIN coffer.entries o
            ON (o.wallet_id, o.operation_id) = (r.wallet_id, r.related_id)
        WHERE o.operation_id IS NULL OR o.operation_type IN ('REVERSAL_OUT', 'REVERSAL_IN')
            OR sign(r.total) = sign(o.delta) OR abs(r.total) > abs(o.delta)""",
    "a transfer is of transfers alone": """
        SELECT t.operation_id FROM coffer.entries t JOIN coffer.entries o
            ON o.related_id = t.related_id AND o.operation_type NOT LIKE 'TRANSFER%'
        WHERE t.operation_type LIKE 'TRANSFER%'""",
    "a purchase is of one item, and of two entries": """
        SELECT related_id FROM coffer.entries WHERE operation_type LIKE 'PURCHASE%'
        GROUP BY related_id
        HAVING count(*) <> 2 OR count(DISTINCT reference) <> 1 OR count(reference) <> 2""",
    "a user of the shop has a wallet that bears the same name": """
        SELECT u.username FROM coffer.shop_users u LEFT JOIN coffer.wallets w
            ON w.id = u.wallet_id
        WHERE w.owner IS DISTINCT FROM u.username OR w.currency <> 'COIN'""",
}
"""All that must hold."""


def deposit(wallet_id: UUID, amount: str | int = 1, reference: str | None = None) -> Deposit:
    """A deposit with an id of its own."""
    return Deposit(wallet_id, uuid7(), Decimal(amount), reference)


def withdraw(wallet_id: UUID, amount: str | int = 1, reference: str | None = None) -> Withdraw:
    """A withdrawal with an id of its own."""
    return Withdraw(wallet_id, uuid7(), Decimal(amount), reference)


def transfer(source_id: UUID, target_id: UUID, amount: str | int = 1) -> Transfer:
    """A transfer of one leg with ids of its own."""
    return legs((source_id, target_id, amount))


def legs(*moves: tuple[UUID, UUID, str | int]) -> Transfer:
    """A transfer of these legs (source, target, amount), with ids of its own."""
    return Transfer(
        uuid7(),
        tuple(Leg(uuid7(), source, target, Decimal(amount)) for source, target, amount in moves),
    )


def place_hold(wallet_id: UUID, amount: str | int = 1, lasts: timedelta = AN_HOUR) -> PlaceHold:
    """A hold with an id of its own."""
    return PlaceHold(wallet_id, uuid7(), Decimal(amount), lasts)


def capture(
    placed: PlaceHold,
    amount: str | int | None = None,
    *,
    final: bool = True,
    target_id: UUID | None = None,
) -> CaptureHold:
    """A capture of a hold, with an id of its own."""
    wanted = None if amount is None else Decimal(amount)
    return CaptureHold(placed.wallet_id, placed.hold_id, uuid7(), wanted, final, target_id)


def void(placed: PlaceHold) -> VoidHold:
    """The release of a hold."""
    return VoidHold(placed.wallet_id, placed.hold_id)


def reverse(store: Store, operation_id: UUID, amount: str | int | None = None) -> Reverse:
    """A reversal of an operation in ``store``, with an id of its own."""
    wanted = None if amount is None else Decimal(amount)
    sides = store.wallets_of_operation(operation_id)
    return Reverse(operation_id, sides, uuid7(), wanted)


def keyed(key: str, request: str = "") -> IdempotencyKey:
    """``key`` as it is sent with ``request``, which stands for all of the request."""
    return IdempotencyKey("", key, hashlib.sha256(request.encode()).digest())


def new_wallet(store: Store, currency: str = "USD", *, balance: int = 0, limit: int = 0) -> UUID:
    """A wallet in ``store`` with that balance and ``min_balance``, both in major units."""
    wallet_id = uuid7()
    assert store.execute(CreateWallet(wallet_id, currency, min_balance=Decimal(limit))).status < 300
    if balance:
        assert store.execute(deposit(wallet_id, balance)).status < 300
    return wallet_id


def balance_of(store: Store, wallet_id: UUID) -> Decimal:
    """The balance of a wallet, in major units."""
    return Decimal(store.wallet(wallet_id)["balance"])


def code_of(outcome: Outcome) -> str:
    """The code of a refusal, or nothing for what was done."""
    return "" if outcome.status < 300 else str(orjson.loads(outcome.body)["code"])


def done(answers: Sequence[Outcome | BaseException]) -> list[Outcome]:
    """The answers, none of which is an error."""
    assert all(isinstance(answer, Outcome) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Outcome)]


@contextmanager
def postgres_store(
    url: str,
    *,
    waiting_limit: int = WAITING_COMMANDS,
    cache: BalanceCache | NullCache | None = None,
) -> Iterator[PostgresStore]:
    """A store on the database at ``url``, closed at the end."""
    store = PostgresStore(url, CURRENCIES, waiting_limit=waiting_limit, cache=cache)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def memory_store(*, waiting_limit: int = WAITING_COMMANDS) -> Iterator[MemoryStore]:
    """A store in memory, closed at the end."""
    store = MemoryStore(CURRENCIES, waiting_limit=waiting_limit)
    try:
        yield store
    finally:
        store.close()


class Gate:
    """Stands before a committer's transactions: what comes while it is shut becomes one batch.

    As a context manager it is shut inside and opens at the end, so that the commands that
    ``submit`` puts into the queue, in that order, are decided together afterwards.
    """

    def __init__(self, store: MemoryStore | PostgresStore) -> None:
        self.committer: Committer = store._committer  # noqa: SLF001 - no other way into a batch
        self._source: TransactionSource = self.committer._source  # noqa: SLF001
        self.committer._source = self  # noqa: SLF001
        self._open = Event()
        self._open.set()
        self._reached = Event()
        self._blocker: Future[Any] | None = None
        self._pool = ThreadPoolExecutor(max_workers=2048, thread_name_prefix="gate")

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See TransactionSource; waits until the gate is open."""
        self._reached.set()
        if not self._open.wait(GATE_TIMEOUT_SECONDS):
            raise TimeoutError("the gate was never opened")
        with self._source.begin() as transaction:
            yield transaction

    def close(self) -> None:
        """See TransactionSource."""
        self._pool.shutdown()
        self._source.close()

    def shut(self) -> None:
        """Shut it, with one harmless command behind it, so that what comes now has to gather."""
        self._reached.clear()
        self._open.clear()
        self._blocker = self._pool.submit(self.committer.submit, deposit(uuid7()))
        assert self._reached.wait(GATE_TIMEOUT_SECONDS)

    def open(self) -> None:
        """Let everything through."""
        self._open.set()

    def waiting(self) -> int:
        """How many commands are in the queue."""
        return self.committer._queue.qsize()  # noqa: SLF001

    def submit(self, command: Command, key: IdempotencyKey | None = None) -> Future[Outcome]:
        """Put one command into the queue, after those that are in it already."""
        before = self.waiting()
        future = self._pool.submit(self.committer.submit, command, key)
        eventually(lambda: self.waiting() > before or future.done(), "the command's place")
        return future

    def batch(
        self, commands: Sequence[tuple[Command, IdempotencyKey | None]]
    ) -> list[Outcome | BaseException]:
        """The answers to ``commands``, decided in one batch in this order."""
        self.shut()
        futures = [self.submit(command, key) for command, key in commands]
        self.open()
        return [future.exception() or future.result() for future in futures]


def sizes_of(store: MemoryStore | PostgresStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the store's committer does from now on."""
    sizes: list[int] = []
    attempt = store._committer._attempt  # noqa: SLF001

    def counting(batch: list[Any], **options: bool) -> Any:
        results = attempt(batch, **options)
        sizes.append(len(batch))  # with those that joined it
        return results

    monkeypatch.setattr(store._committer, "_attempt", counting)  # noqa: SLF001
    return sizes


def audit(url: str, audits: Mapping[str, LiteralString] = AUDITS) -> list[str]:
    """What is wrong with the ledger at ``url``; nothing must be."""
    with psycopg.connect(connection_info(url)) as connection:
        found = {what: connection.execute(query).fetchall() for what, query in audits.items()}
    return [f"{what}: not so for {rows[:5]}" for what, rows in found.items() if rows]
