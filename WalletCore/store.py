"""The port: what the rest of Coffer asks of a store, and what the committer asks of it.

Two stores stand behind it, PostgreSQL (``WalletCore.postgres``) and memory (``WalletCore.memory``);
both let the same domain decide through the same committer, so that neither can lie about the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from WalletCore.condition import Condition
from WalletCore.domain.commands import Command
from WalletCore.domain.errors import CofferError
from WalletCore.domain.model import (
    Document,
    Entry,
    Event,
    Hold,
    HoldStatus,
    Message,
    OperationType,
    Original,
    Wallet,
    WalletStatus,
)
from WalletCore.domain.money import Currencies
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.working_set import Changes
from WalletCore.inbox import Notifications
from WalletCore.keys import Keys
from WalletCore.paging import Page, PageRequest
from WalletCore.search import SearchFilter
from WalletCore.shop import Shop
from WalletCore.statements import Statement

MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Who (``scope``) sent which ``key`` with which request (``request_hash``, SHA-256)."""

    scope: str
    key: str
    request_hash: bytes


class Outcome(NamedTuple):
    """The answer to a command: HTTP ``status``, JSON ``body``; ``replayed`` from an earlier one.

    A status of 400 or more has a problem document (RFC 9457) as its body.
    """

    status: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Remembered:
    """An outcome as it is kept under a key."""

    request_hash: bytes
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class WalletFilter:
    """Which wallets; None means any."""

    owner: str | None = None
    currency: str | None = None
    status: WalletStatus | None = None
    search: str | None = None
    """How the owner or the name begins, whatever the case, or the id."""

    @property
    def search_id(self) -> UUID | None:
        """The id that ``search`` is, if it is one."""
        try:
            found = UUID(self.search) if self.search is not None else None
        except ValueError:
            return None
        return found if str(found) == (self.search or "").lower() else None


@dataclass(frozen=True, slots=True)
class OperationFilter:
    """Which operations of a wallet; ``since`` is inclusive, ``until`` is not."""

    operation_type: OperationType | None = None
    since: datetime | None = None
    until: datetime | None = None
    reference: str | None = None


class Needs(NamedTuple):
    """What a command, or a batch of them, must lock and read, each id once and in order.

    ``wallets`` and ``messages`` are locked; ``holds`` and ``originals`` (operations that are to be
    reversed) belong to wallets that are. New ones need nothing.
    """

    wallets: Sequence[UUID] = ()
    messages: Sequence[UUID] = ()
    holds: Sequence[UUID] = ()
    originals: Sequence[UUID] = ()


class Store(Protocol):
    """Everything that the HTTP service asks. Each method may raise ``Unavailable``.

    Documents are ready for JSON; their shapes are those of the HTTP contract.
    """

    @property
    def currencies(self) -> Currencies:
        """The currencies that wallets can be in."""

    @property
    def notifications(self) -> Notifications:
        """What the worker has recorded."""

    @property
    def keys(self) -> Keys:
        """The API keys."""

    @property
    def shop(self) -> Shop:
        """The shop's users and items, and what somebody has."""

    def execute(
        self,
        command: Command,
        key: IdempotencyKey | None = None,
        origin: Origin = SERVICE,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """Decide and keep ``command``; durable when this returns.

        ``origin``: who asked; its events tell. Refusals come back as outcomes. Raises Unavailable
        and those below it. With ``dry_run`` it is decided in its turn, and nothing is kept.
        """

    def execute_each(
        self,
        commands: Sequence[tuple[Command, IdempotencyKey | None]],
        origin: Origin = SERVICE,
    ) -> list[Outcome | CofferError]:
        """The same for each of many on its own, in their order: an outcome, or what ``execute``
        would have raised.
        """

    def wallet(self, wallet_id: UUID) -> Document:
        """One wallet. Raises WalletNotFound."""

    def wallets(self, wanted: WalletFilter, page: PageRequest) -> Page:
        """Wallets in the order of their creation. Raises CursorInvalid."""

    def balance(self, wallet_id: UUID) -> Document:
        """``{wallet_id, currency, balance, held, available, version}``. Raises WalletNotFound."""

    def balance_at(self, wallet_id: UUID, at: datetime) -> Document:
        """``{wallet_id, currency, balance, at, seq}`` as of ``at``. Raises WalletNotFound."""

    def operation(self, operation_id: UUID, wallet_id: UUID | None = None) -> Document:
        """One operation; of a movement between wallets the side of ``wallet_id``, by default the
        one that gave. Raises OperationNotFound.
        """

    def wallets_of_operation(self, operation_id: UUID) -> tuple[UUID, ...]:
        """The wallets on both sides of an operation, that which gave first. Raises
        OperationNotFound.
        """

    def transfer(self, transfer_id: UUID) -> Document:
        """One transfer with all of its legs. Raises TransferNotFound."""

    def hold(self, hold_id: UUID) -> Document:
        """One hold. Raises HoldNotFound."""

    def holds(
        self, wallet_id: UUID, status: HoldStatus | None, page: PageRequest
    ) -> tuple[Page, Document]:
        """A wallet's holds, newest first, and its balance at the same moment. Raises
        WalletNotFound, CursorInvalid.
        """

    def due_holds(self, limit: int, without: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:
        """Up to ``limit`` open holds whose time is over, of other wallets than these: ids of the
        wallet and of the hold.
        """

    def operations(self, wallet_id: UUID, wanted: OperationFilter, page: PageRequest) -> Page:
        """A wallet's operations, newest first. Raises WalletNotFound, CursorInvalid."""

    def search(self, wanted: SearchFilter, page: PageRequest) -> Page:
        """Operations of all wallets, newest first; a page may be short and still have a cursor.

        Raises CursorInvalid.
        """

    def statement(
        self, wallet_id: UUID, since: datetime | None, until: datetime | None
    ) -> Statement:
        """What moved in [``since``, ``until``), fixed now; None: from the first entry, up to now.

        A later ``until`` counts as now. Raises WalletNotFound, Invalid if that is no period.
        """

    def event(self, event_id: UUID) -> Document:
        """One event of the log: a CloudEvent, and its ``status``. Raises EventNotFound."""

    def events(self, page: PageRequest) -> Page:
        """The log, oldest first, each event a CloudEvent with its ``status`` beside.

        ``next_cursor`` is never None: an empty page means that there is nothing more yet, and the
        same cursor goes on later. Rows committed late are never skipped. Raises CursorInvalid.
        """

    def newest_events(self, wallet_id: UUID | None, page: PageRequest) -> Page:
        """The same, newest first, of all or of one wallet; for people, who look back.

        An event that is committed late may be missed by who is past its place already. Raises
        CursorInvalid.
        """

    def trial_balance(self) -> Document:
        """``{balanced, currencies: [{currency, deposits, withdrawals, balances, difference}]}``."""

    def condition(self, newest_events: int) -> Condition:
        """How the store and those who follow its log are doing. ``newest_events``: so many are
        compared with what was recorded.
        """

    def missing(self) -> list[str]:
        """The names of what is not there and must be; empty when ready.

        ``database``, ``database_writable``, ``event_partitions``, ``committer``. The cache is not
        among them, because everything works without it.
        """

    def close(self) -> None:
        """Finish what waits, then let go of every connection."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a transaction locked and read: wallets that exist, answers that are remembered.

    ``busy_wallets``, ``busy_keys`` and ``busy_messages`` are those that somebody else kept locked.
    """

    wallets: dict[UUID, Wallet]
    remembered: dict[tuple[str, str], Remembered]
    busy_wallets: frozenset[UUID] = frozenset()
    busy_keys: frozenset[tuple[str, str]] = frozenset()
    messages: dict[UUID, Message] = field(default_factory=dict)
    busy_messages: frozenset[UUID] = frozenset()
    holds: dict[UUID, Hold] = field(default_factory=dict)
    originals: dict[UUID, Original] = field(default_factory=dict)

    def meets(self, needs: Needs) -> bool:
        """Whether what is needed is here but for some of the wallets, of which one is."""
        return (
            (not needs.wallets or any(id_ in self.wallets for id_ in needs.wallets))
            and self.messages.keys() >= set(needs.messages)
            and self.holds.keys() >= set(needs.holds)
            and self.originals.keys() >= set(needs.originals)
        )

    def covers(self, needs: Needs) -> bool:
        """Whether all that is needed is here."""
        return self.meets(needs) and self.wallets.keys() >= set(needs.wallets)


class Transaction(Protocol):
    """One unit of work, open. Leaving its block without ``save`` changes nothing."""

    def load(self, needs: Needs, keys: Sequence[tuple[str, str]], *, skip_locked: bool) -> Loaded:
        """Lock the keys, the wallets, then the messages, in one order for everybody; read all."""

    def join(self, keys: Sequence[tuple[str, str]], wallet_ids: Sequence[UUID]) -> Loaded:
        """Lock more keys and wallets, each only if it can be had at once, and read them.

        Waiting for one here, after the wallets, could be a deadlock. Keys that were not had are
        busy; wallets that were not had are missing.
        """

    def append(self, entries: Sequence[Entry], events: Sequence[Event]) -> None:
        """Begin to write the first of what there will be, and do not wait for it: more is decided
        meanwhile. Only ``save`` keeps it, and it may fail as late as there.
        """

    def save(self, changes: Changes, remembered: Mapping[tuple[str, str], Remembered]) -> None:
        """Write everything else and commit; durable when this returns."""


class TransactionSource(Protocol):
    """What the committer needs of a store. Failures come as the classes of ``failures``."""

    def begin(self) -> AbstractContextManager[Transaction]:
        """Open a unit of work. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""
