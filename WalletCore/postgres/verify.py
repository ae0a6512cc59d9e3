"""Replays the ledger: every wallet against its entries, its events and its holds, both sides of
what moved between wallets, and the users of the shop against their wallets, while the service runs.

Wallets, entries and events are read in the same order, in short slices, and compared side by side.
What was added after a wallet was read lies beyond its ``entry_seq`` and ``version`` and is left
alone; what changes, holds, is read in one statement with its wallet, and so are both sides of a
movement. So load gives no false alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, text

from WalletCore.cursor import MAX_POSITION
from WalletCore.domain.events import EventType
from WalletCore.postgres.connect import read_engine
from WalletCore.postgres.partitions import seconds_of_uuid7

WALLETS_PER_SLICE: Final = 1000
ROWS_PER_SLICE: Final = 10_000

OPERATION_EVENTS: Final = frozenset(
    {
        EventType.OPERATION_COMPLETED.value,
        EventType.TRANSFER_COMPLETED.value,
        EventType.HOLD_CAPTURED.value,
        EventType.OPERATION_REVERSED.value,
        EventType.PURCHASE_COMPLETED.value,
    }
)
"""There is one of these for each entry."""

FIRST_ID: Final = UUID(int=0)
LAST_ID: Final = UUID(int=2**128 - 1)

WALLETS = text(
    "SELECT w.id, w.balance, w.version, w.entry_seq, w.created_at, w.held, h.total "
    "FROM coffer.wallets w CROSS JOIN LATERAL ("
    "SELECT coalesce(sum(amount - captured), 0)::bigint AS total FROM coffer.holds "
    "WHERE wallet_id = w.id AND status = 'open') h "
    "WHERE w.id > :after ORDER BY w.id LIMIT :rows"
)
"""Each with what its open holds keep back."""
ENTRIES = text(
    "SELECT e.wallet_id, e.seq, e.delta, e.balance_after, e.operation_id, "
    "e.counterparty = 'external' OR o.found IS NOT NULL "
    "FROM coffer.entries e LEFT JOIN LATERAL ("
    "SELECT true AS found FROM coffer.entries WHERE e.counterparty <> 'external' "
    "AND operation_id = e.operation_id AND wallet_id::text = e.counterparty "
    "AND counterparty = e.wallet_id::text AND delta = -e.delta LIMIT 1) o ON true "
    "WHERE (e.wallet_id, e.seq) > (:wallet_id, :seq) AND e.wallet_id <= :until "
    "ORDER BY e.wallet_id, e.seq LIMIT :rows"
)
"""Each with whether its other side is where it says; both came in one transaction."""
EVENTS = text(
    "SELECT wallet_id, seq, type FROM coffer.events "
    "WHERE (wallet_id, seq) > (:wallet_id, :seq) AND wallet_id <= :until "
    "ORDER BY wallet_id, seq LIMIT :rows"
)
WALLET_EXISTS = text("SELECT EXISTS (SELECT FROM coffer.wallets WHERE id = :wallet_id)")
COUNTS = text("SELECT version, entry_seq FROM coffer.wallets WHERE id = :wallet_id")
USERS = text(
    "SELECT u.username, u.wallet_id, w.owner IS NOT DISTINCT FROM u.username "
    "FROM (SELECT username, wallet_id FROM coffer.shop_users WHERE username > :after "
    "ORDER BY username LIMIT :rows) u LEFT JOIN coffer.wallets w ON w.id = u.wallet_id "
    "ORDER BY u.username"
)
"""Each with whether its wallet is there and bears its name; both came in one transaction."""
LOG_START = text(
    "SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \\('([0-9a-f-]+)'$$)) "
    "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'coffer.events'::regclass"
)
"""The lower bound of the log's oldest partition: what is older was dropped by the retention."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; ``difference`` names the first one found, and ends the run."""

    wallets: int
    entries: int
    difference: str | None = None


@dataclass(slots=True)
class _Tally:
    """One wallet as it was read, and what its entries and events have added up to so far."""

    id: UUID
    balance_minor: int
    version: int
    entry_seq: int
    created_at: datetime
    held_minor: int
    open_holds_minor: int
    seq: int = 0
    sum_minor: int = 0
    first_event: int = 0
    event_seq: int = 0
    operations: int = 0
    later_entry: int = 0
    later_event: int = 0


class _Different(Exception):
    """The first difference."""


def verify(url: str) -> Iterator[Progress]:
    """Compare everything at ``url``; a Progress after each slice, the last one has the verdict.

    Raises sqlalchemy.exc.DBAPIError if the database cannot be read.
    """
    engine = read_engine(url)
    try:
        yield from _Verifier(engine).run()
    finally:
        engine.dispose()


class _Verifier:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wallets = 0
        self._entries = 0
        self._log_start = _time_of(self._rows(LOG_START)[0][0])

    def run(self) -> Iterator[Progress]:
        after = FIRST_ID
        try:
            while True:
                rows = self._rows(WALLETS, after=after, rows=WALLETS_PER_SLICE)
                tallies = {row[0]: _Tally(*row) for row in rows}
                # After the last wallet there may still be rows that belong to none.
                until = rows[-1][0] if len(rows) == WALLETS_PER_SLICE else LAST_ID
                self._replay(ENTRIES, after, until, tallies, self._entry)
                self._replay(EVENTS, after, until, tallies, self._event)
                for tally in tallies.values():
                    self._conclude(tally)
                self._wallets += len(rows)
                if until == LAST_ID:
                    self._check_users()
                yield Progress(self._wallets, self._entries)
                if until == LAST_ID:
                    return
                after = until
        except _Different as difference:
            yield Progress(self._wallets, self._entries, str(difference))

    def _check_users(self) -> None:
        after = ""
        while rows := self._rows(USERS, after=after, rows=ROWS_PER_SLICE):
            for username, wallet_id, named in rows:
                if not named:
                    raise _Different(
                        f"user {username!r} of the shop: there is no wallet {wallet_id} of its own"
                    )
            after = rows[-1][0]

    def _replay(
        self,
        statement: Any,
        after: UUID,
        until: UUID,
        tallies: dict[UUID, _Tally],
        take: Callable[[_Tally, Any], bool],
    ) -> None:
        """Hand the rows of the wallets in (after, until] to ``take``, which says whether it wants
        more of the same wallet.
        """
        wallet_id, seq = after, MAX_POSITION
        while True:
            rows = self._rows(
                statement, wallet_id=wallet_id, seq=seq, until=until, rows=ROWS_PER_SLICE
            )
            wanted = True
            for row in rows:
                if row[0] != wallet_id:
                    wallet_id, wanted = row[0], True
                seq = row[1]
                tally = tallies.get(wallet_id)
                if tally is None:
                    self._check_exists(wallet_id)
                    wanted = False
                elif wanted:
                    wanted = take(tally, row)
            if len(rows) < ROWS_PER_SLICE:
                return
            if not wanted:
                seq = MAX_POSITION

    def _entry(self, tally: _Tally, row: Any) -> bool:
        _, seq, delta_minor, balance_after_minor, operation_id, paired = row
        if seq > tally.entry_seq:
            tally.later_entry = seq
            return False
        if seq != tally.seq + 1:
            raise _Different(f"wallet {tally.id}: entry seq {tally.seq + 1} is missing")
        tally.seq = seq
        tally.sum_minor += delta_minor
        self._entries += 1
        if balance_after_minor != tally.sum_minor:
            raise _Different(
                f"wallet {tally.id}: entry seq {seq} says a balance of {balance_after_minor} "
                f"after it, the entries add up to {tally.sum_minor} (minor units)"
            )
        if not paired:
            raise _Different(
                f"wallet {tally.id}: entry seq {seq}, operation {operation_id}, has no other side "
                "in the wallet that it names"
            )
        return True

    def _event(self, tally: _Tally, row: Any) -> bool:
        _, seq, event_type = row
        if seq > tally.version:
            tally.later_event = seq
            return False
        if tally.first_event == 0:
            tally.first_event = seq
        elif seq != tally.event_seq + 1:
            raise _Different(
                f"wallet {tally.id}: after event walletseq {tally.event_seq} comes {seq}"
            )
        tally.event_seq = seq
        tally.operations += event_type in OPERATION_EVENTS
        return True

    def _conclude(self, tally: _Tally) -> None:
        name = f"wallet {tally.id}"
        if tally.seq != tally.entry_seq:
            raise _Different(
                f"{name}: entry_seq is {tally.entry_seq}, its last entry has seq {tally.seq}"
            )
        if tally.sum_minor != tally.balance_minor:
            raise _Different(
                f"{name}: balance is {tally.balance_minor}, its entries add up to "
                f"{tally.sum_minor} (minor units)"
            )
        if tally.held_minor != tally.open_holds_minor:
            raise _Different(
                f"{name}: held is {tally.held_minor}, its open holds keep "
                f"{tally.open_holds_minor} (minor units)"
            )
        whole_log = tally.created_at >= self._log_start
        if tally.version != tally.event_seq and (tally.event_seq or whole_log):
            raise _Different(
                f"{name}: version is {tally.version}, its last event has walletseq "
                f"{tally.event_seq}"
            )
        if whole_log and tally.first_event != 1:
            raise _Different(f"{name}: its first event has walletseq {tally.first_event}, not 1")
        if whole_log and tally.operations != tally.entry_seq:
            raise _Different(
                f"{name}: {tally.entry_seq} entries but {tally.operations} events of operations"
            )

        if tally.later_entry or tally.later_event:
            self._check_counted(tally)

    def _check_counted(self, tally: _Tally) -> None:
        """Rows beyond what the wallet counted must by now be counted: they came in one
        transaction with the count.
        """
        version, entry_seq = self._rows(COUNTS, wallet_id=tally.id)[0]
        if entry_seq < tally.later_entry or version < tally.later_event:
            raise _Different(
                f"wallet {tally.id}: entry_seq is {entry_seq} and version {version}, but there is "
                f"an entry seq {tally.later_entry} or an event walletseq {tally.later_event}"
            )

    def _check_exists(self, wallet_id: UUID) -> None:
        """A wallet that was made since its slice was read is fine; one that is not there is not."""
        if not self._rows(WALLET_EXISTS, wallet_id=wallet_id)[0][0]:
            raise _Different(f"there are rows of a wallet that does not exist: {wallet_id}")

    def _rows(self, statement: Any, **wanted: object) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(statement, wanted).all()


def _time_of(uuid7: str | None) -> datetime:
    """The moment in a UUIDv7; the far past for None."""
    return datetime.fromtimestamp(seconds_of_uuid7(uuid7) if uuid7 else 0, UTC)
