"""The port of ``WalletCore.store.Store`` on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import Connection, Select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from WalletCore.cache import BalanceCache, NullCache
from WalletCore.committer import MAX_BATCH_COMMANDS, Committer
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
from WalletCore.domain.commands import Command, Group
from WalletCore.domain.errors import (
    CofferError,
    CursorInvalid,
    EventNotFound,
    Overloaded,
    TransferNotFound,
    Unavailable,
)
from WalletCore.domain.hold_rules import hold_not_found
from WalletCore.domain.model import (
    Document,
    HoldStatus,
    Wallet,
    hold_document,
    operation_document,
    transfer_document,
    wallet_document,
)
from WalletCore.domain.money import Currencies, Currency
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.reversal_rules import operation_not_found
from WalletCore.domain.working_set import wallet_not_found
from WalletCore.expirer import HoldExpirer
from WalletCore.newest_events import newest_page, place_before
from WalletCore.paging import Page, PageRequest
from WalletCore.postgres import queries
from WalletCore.postgres.condition import read_condition
from WalletCore.postgres.connect import read_engine
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.postgres.event_log import read_log, read_newest
from WalletCore.postgres.keys import PostgresKeys
from WalletCore.postgres.locking import entry_of_row, hold_of_row, wallet_of_row
from WalletCore.postgres.notifications import PostgresNotifications
from WalletCore.postgres.partitions import PartitionKeeper
from WalletCore.postgres.pool_metrics import POOL_WAITS, WAIT_NOTED_SECONDS, PoolSampler
from WalletCore.postgres.search_queries import search_entries
from WalletCore.postgres.shop import PostgresShop
from WalletCore.postgres.statement_queries import read_statement
from WalletCore.postgres.transactions import PostgresTransactions
from WalletCore.search import SearchFilter
from WalletCore.statements import Statement
from WalletCore.store import IdempotencyKey, OperationFilter, Outcome, WalletFilter
from WalletCore.tracing import NO_TRACES, BatchTraces, Tracer, commit_words

READ_TRIES: Final = 3
"""A read whose connection turns out to be dead is done again on another one."""
READ_PAUSE_SECONDS: Final = 0.05

Answer = TypeVar("Answer")


class PostgresStore:
    """Make it after fork: it owns threads and connections. ``waiting_limit``: see Committer."""

    def __init__(
        self,
        url: str,
        currencies: Currencies,
        *,
        waiting_limit: int,
        cache: BalanceCache | NullCache | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self._cache = cache or NullCache()
        self._engine = read_engine(url)
        self.currencies = StoredCurrencies(self._engine, currencies)
        try:
            self.currencies.register()
        except SQLAlchemyError:
            pass  # a database that is away now was asked at the first start
        except ValueError:
            self._engine.dispose()
            raise
        self.notifications = PostgresNotifications(self._read)
        self.keys = PostgresKeys(self._read)
        self.shop = PostgresShop(self._read)
        self._partitions = PartitionKeeper(self._engine)
        sources = [PostgresTransactions(url, self.currencies) for _ in range(2)]
        self._committer = Committer(
            sources[0],
            self.currencies,
            waiting_limit=waiting_limit,
            after_commit=self._cache.forget,
            traces=BatchTraces(tracer, commit_words("postgresql")),
        )
        # What takes seconds has a connection of its own, and one place: others do not wait for it.
        self._large_groups = Committer(
            sources[1],
            self.currencies,
            waiting_limit=1,
            after_commit=self._cache.forget,
            traces=BatchTraces(tracer, commit_words("postgresql")),
        )
        self._expirer = HoldExpirer(self.due_holds, self.execute)
        self._sampler = PoolSampler(self._engine, [source.is_open for source in sources])

    def execute(
        self,
        command: Command,
        key: IdempotencyKey | None = None,
        origin: Origin = SERVICE,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """See Store."""
        committer = self._committer
        if isinstance(command, Group) and len(command.commands) > MAX_BATCH_COMMANDS:
            committer = self._large_groups
        return committer.submit(command, key, origin, dry_run=dry_run)

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
        after = None
        if page.cursor is not None:
            after = decode_id_cursor("wallets", page.cursor)
        rows = self._read(lambda c: queries.read_wallets(c, wanted, after, page.limit + 1))
        return page_of(
            [wallet_of_row(row, self.currencies) for row in rows],
            page.limit,
            wallet_document,
            lambda wallet: encode_cursor("wallets", str(wallet.id)),
        )

    def balance(self, wallet_id: UUID) -> Document:
        """See Store."""
        return self._cache.read(wallet_id, lambda: balance_document(self._wallet(wallet_id)))

    def balance_at(self, wallet_id: UUID, at: datetime) -> Document:
        """See Store."""
        wanted = {"wallet_id": wallet_id, "at": at}
        row = self._read(lambda c: c.execute(queries.BALANCE_AT, wanted).one_or_none())
        if row is None:
            raise wallet_not_found(wallet_id)
        return balance_at_document(
            wallet_id, self.currencies.stored(row[0]), at, seq=row[1], balance_minor=row[2]
        )

    def operation(self, operation_id: UUID, wallet_id: UUID | None = None) -> Document:
        """See Store."""
        sides = self._sides(operation_id)
        row = next((row for row in sides if wallet_id in (None, row[0])), None)
        if row is None:
            raise operation_not_found(operation_id)
        return operation_document(entry_of_row(row), self.currencies.stored(row[-1]))

    def wallets_of_operation(self, operation_id: UUID) -> tuple[UUID, ...]:
        """See Store."""
        return tuple(row[0] for row in self._sides(operation_id))

    def transfer(self, transfer_id: UUID) -> Document:
        """See Store."""
        wanted = {"transfer_id": transfer_id}
        rows = self._read(lambda c: c.execute(queries.TRANSFER, wanted).all())
        if not rows:
            raise TransferNotFound(f"There is no transfer {transfer_id}.")
        return transfer_document(
            [(entry_of_row(row), self.currencies.stored(row[-1])) for row in rows]
        )

    def hold(self, hold_id: UUID) -> Document:
        """See Store."""
        wanted = {"hold_id": hold_id}
        row = self._read(lambda c: c.execute(queries.HOLD, wanted).one_or_none())
        if row is None:
            raise hold_not_found(hold_id)
        return hold_document(hold_of_row(row), self.currencies.stored(row[-1]))

    def holds(
        self, wallet_id: UUID, status: HoldStatus | None, page: PageRequest
    ) -> tuple[Page, Document]:
        """See Store."""
        before = None
        if page.cursor is not None:
            before = decode_id_cursor("holds", page.cursor)
        query = queries.holds_page(wallet_id, status, before, page.limit + 1)

        def read(connection: Connection) -> tuple[Any, Sequence[Any]]:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():  # one snapshot for both
                row = connection.execute(queries.WALLET, {"wallet_id": wallet_id}).one_or_none()
                return row, connection.execute(query).all() if row is not None else ()

        row, rows = self._read(read)
        if row is None:
            raise wallet_not_found(wallet_id)
        wallet = wallet_of_row(row, self.currencies)
        shown = page_of(
            [hold_of_row(row) for row in rows],
            page.limit,
            lambda hold: hold_document(hold, wallet.currency),
            lambda hold: encode_cursor("holds", str(hold.id)),
        )
        return shown, balance_document(wallet)

    def due_holds(self, limit: int, without: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:
        """See Store."""
        wanted = {"rows": limit, "without": list(without)}
        rows = self._read(lambda c: c.execute(queries.DUE_HOLDS, wanted).all())
        return [(row[0], row[1]) for row in rows]

    def operations(self, wallet_id: UUID, wanted: OperationFilter, page: PageRequest) -> Page:
        """See Store."""
        before = None
        if page.cursor is not None:
            (before,) = decode_cursor("operations", page.cursor, int)
        query = queries.operations_page(wallet_id, wanted, before, page.limit + 1)
        currency, rows = self._of_wallet(wallet_id, query)
        return page_of(
            [entry_of_row(row) for row in rows],
            page.limit,
            lambda entry: operation_document(entry, currency),
            lambda entry: encode_cursor("operations", entry.seq),
        )

    def search(self, wanted: SearchFilter, page: PageRequest) -> Page:
        """See Store."""
        return search_entries(self._read, self.currencies, wanted, page)

    def statement(
        self, wallet_id: UUID, since: datetime | None, until: datetime | None
    ) -> Statement:
        """See Store."""
        return read_statement(self._read, self.currencies, wallet_id, since, until)

    def event(self, event_id: UUID) -> Document:
        """See Store."""
        wanted = {"event_id": event_id}
        row = self._read(lambda c: c.execute(queries.EVENT, wanted).one_or_none())
        if row is None:
            raise EventNotFound(f"There is no event {event_id} in the log.")
        return event_document(orjson.loads(row[0]), recorded=row[1], status=row[2])

    def events(self, page: PageRequest) -> Page:
        """See Store."""
        rows, cursor = self._read(lambda c: read_log(c, page.cursor, page.limit))
        items = [
            event_document(orjson.loads(body), recorded=recorded, status=status)
            for _, body, recorded, status in rows
        ]
        return Page(items, cursor)

    def newest_events(self, wallet_id: UUID | None, page: PageRequest) -> Page:
        """See Store."""
        before = place_before(wallet_id, page.cursor)
        found = self._read(lambda c: read_newest(c, wallet_id, before, page.limit + 1))
        rows = [
            (place, event_document(orjson.loads(body), recorded=recorded, status=status))
            for place, body, recorded, status in found
        ]
        return newest_page(wallet_id, rows, page.limit)

    def trial_balance(self) -> Document:
        """See Store. One at a time on the whole database, because it reads every entry."""
        totals = self._read(_trial_balance)
        return trial_balance_document({self.currencies.stored(c): t for c, t in totals.items()})

    def condition(self, newest_events: int) -> Condition:
        """See Store."""
        return self._read(lambda connection: read_condition(connection, newest_events))

    def missing(self) -> list[str]:
        """See Store."""
        if not self._committer.alive():
            return ["committer"]
        try:
            writable = self._read(lambda connection: connection.execute(queries.WRITABLE).scalar())
        except Unavailable:
            return ["database"]
        if not writable:
            return ["database_writable"]
        return [] if self._partitions.covered() else ["event_partitions"]

    def close(self) -> None:
        """See Store."""
        self._sampler.close()
        self._expirer.close()
        self._large_groups.close()
        self._committer.close()
        self._partitions.close()
        self._cache.close()
        self._engine.dispose()

    def _sides(self, operation_id: UUID) -> Sequence[Sequence[Any]]:
        wanted = {"operation_id": operation_id}
        rows = self._read(lambda c: c.execute(queries.OPERATION, wanted).all())
        if not rows:
            raise operation_not_found(operation_id)
        return rows

    def _of_wallet(
        self, wallet_id: UUID, query: Select[Any]
    ) -> tuple[Currency, Sequence[Sequence[Any]]]:
        """The wallet's currency and the rows of ``query``. Raises WalletNotFound."""

        def read(connection: Connection) -> tuple[str | None, Any]:
            of_wallet = {"wallet_id": wallet_id}
            code = connection.execute(queries.WALLET_CURRENCY, of_wallet).scalar_one_or_none()
            return code, connection.execute(query).all() if code is not None else ()

        code, rows = self._read(read)
        if code is None:
            raise wallet_not_found(wallet_id)
        return self.currencies.stored(code), rows

    def _wallet(self, wallet_id: UUID) -> Wallet:
        wanted = {"wallet_id": wallet_id}
        row = self._read(lambda c: c.execute(queries.WALLET, wanted).one_or_none())
        if row is None:
            raise wallet_not_found(wallet_id)
        return wallet_of_row(row, self.currencies)

    def _read(self, read: Callable[[Connection], Answer]) -> Answer:
        """Run ``read`` on a pooled connection. Raises Unavailable, Overloaded."""
        for attempt in range(1, READ_TRIES + 1):
            started = time.perf_counter()
            try:
                with self._engine.connect() as connection:
                    if time.perf_counter() - started > WAIT_NOTED_SECONDS:
                        POOL_WAITS.inc()
                    return read(connection)
            except PoolTimeout:
                POOL_WAITS.inc()
                raise Overloaded("Every connection for reads is busy; retry.") from None
            except DBAPIError as error:
                _raise_for(error, last=attempt == READ_TRIES)
                time.sleep(READ_PAUSE_SECONDS)
        raise AssertionError("the last try raises")


def _raise_for(error: DBAPIError, *, last: bool) -> None:
    """Raise what a read's failure means, or return if it is worth another try."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == "57014":
        raise Unavailable("The answer took too long to find; retry, or ask for less.") from None
    if state.startswith("22"):
        # Everything else that a client sends was checked; only a cursor is opaque to the checks.
        raise CursorInvalid("Send next_cursor of an earlier answer as it came.") from None
    if last or not (error.connection_invalidated or state.startswith(("57P", "08")) or not state):
        raise Unavailable("The database cannot be read right now; retry.") from None


def _trial_balance(connection: Connection) -> dict[str, Totals]:
    connection = connection.execution_options(isolation_level="READ COMMITTED")
    with connection.begin():
        seconds = queries.TRIAL_BALANCE_TIMEOUT_SECONDS
        connection.execute(text(f"SET LOCAL statement_timeout = '{seconds}s'"))
        if not connection.execute(queries.TRIAL_BALANCE_LOCK).scalar_one():
            raise Overloaded("A trial balance is being made already; ask again when it is done.")
        rows = connection.execute(queries.TRIAL_BALANCE)
        return {row[0]: Totals(int(row[1]), int(row[2]), int(row[3])) for row in rows}
