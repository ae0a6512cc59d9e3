"""The working set of a batch: what is locked, what changes, and the one place where money moves.

The rules (``wallet_rules``, ``money_rules``, ``hold_rules``, ``reversal_rules``) check everything
here before they change anything, so that a refused command leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from WalletCore.domain.errors import (
    AmountInvalid,
    InsufficientFunds,
    LimitExceeded,
    NotAllowed,
    WalletClosed,
    WalletFrozen,
    WalletNotFound,
)
from WalletCore.domain.events import EventType, message_event, wallet_event
from WalletCore.domain.model import (
    EXTERNAL,
    Document,
    Entry,
    Event,
    Hold,
    Message,
    OperationType,
    Original,
    User,
    Wallet,
    WalletStatus,
)
from WalletCore.domain.money import MAX_AMOUNT_MINOR, Currencies, format_amount, to_minor
from WalletCore.domain.origin import SERVICE

OK = 200
CREATED = 201


class Accepted(NamedTuple):
    """The answer to a command that was done: HTTP ``status`` (200 or 201) and the document."""

    status: int
    document: Document


@dataclass(slots=True)
class Changes:
    """What a batch leaves to be written, each list in the order in which it happened.

    ``created`` are new wallets, ``changed`` those that were loaded and are different now (by id);
    ``described`` names those of them of which more than money changed. ``placed`` are new holds,
    ``held`` those that were loaded and are different now. ``sent`` are new messages, ``marked``
    those whose status was set (by id). ``users`` are new ones of the shop.
    """

    created: dict[UUID, Wallet] = field(default_factory=dict)
    changed: dict[UUID, Wallet] = field(default_factory=dict)
    described: set[UUID] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    placed: dict[UUID, Hold] = field(default_factory=dict)
    held: dict[UUID, Hold] = field(default_factory=dict)
    sent: dict[UUID, Message] = field(default_factory=dict)
    marked: dict[UUID, Message] = field(default_factory=dict)
    users: list[User] = field(default_factory=list)
    taken: list[Entry] = field(default_factory=list)
    """Entries that ``take_log`` has given away."""

    def take_log(self) -> tuple[list[Entry], list[Event]]:
        """Entries and events so far, for whoever writes them before the rest; gone from here."""
        taken = self.entries, self.events
        self.taken += self.entries
        self.entries, self.events = [], []
        return taken


class Movement(NamedTuple):
    """What all entries of one movement have in common."""

    operation_id: UUID
    related_id: UUID | None
    reference: str | None
    description: str | None
    metadata: Document


class WorkingSet:
    """``wallets``, ``messages``, ``holds``: the locked ones by id (what is absent does not exist);
    they are changed in place. ``originals``: operations that are to be reversed, by id. ``now``:
    the clock after the lock, UTC. ``new_id``: gives ids of events, time-ordered.
    """

    def __init__(
        self,
        wallets: Mapping[UUID, Wallet],
        currencies: Currencies,
        now: datetime,
        new_id: Callable[[], UUID],
        *,
        messages: Mapping[UUID, Message] | None = None,
        holds: Mapping[UUID, Hold] | None = None,
        originals: Mapping[UUID, Original] | None = None,
    ) -> None:
        self.wallets = dict(wallets)
        self.messages = dict(messages or {})
        self.holds = dict(holds or {})
        self.originals = dict(originals or {})
        self.currencies = currencies
        self.now = now
        self.new_id = new_id
        self.origin = SERVICE
        self.changes = Changes()

    # -- What the rules ask -------------------------------------------------------------------

    def wallet(self, wallet_id: UUID) -> Wallet:
        """One that whoever asks may touch. Raises WalletNotFound."""
        wallet = self.wallets.get(wallet_id)
        owner = self.origin.owner
        if wallet is None or (owner is not None and wallet.owner != owner):
            raise wallet_not_found(wallet_id)
        return wallet

    def owner_of_new(self, wanted: str | None) -> str | None:
        """Whose something new becomes: of whoever asks, if that is limited. Raises NotAllowed."""
        owner = self.origin.owner
        if owner is not None and wanted not in (None, owner):
            raise NotAllowed("This key is limited to one owner, and that is another one.")
        return wanted if owner is None else owner

    def moving(self, wallet_id: UUID) -> Wallet:
        """A wallet whose money may move. Raises WalletNotFound, WalletClosed, WalletFrozen."""
        wallet = self.wallet(wallet_id)
        if wallet.status is WalletStatus.ACTIVE:
            return wallet
        if wallet.status is WalletStatus.CLOSED:
            raise wallet_closed(wallet)
        raise WalletFrozen(
            f"No money moves in or out of the frozen wallet {wallet.id}. Set its status to active "
            "first."
        )

    # -- What the rules do --------------------------------------------------------------------

    def post(
        self,
        wallet: Wallet,
        operation_type: OperationType,
        delta_minor: int,
        movement: Movement,
        counterparty: str = EXTERNAL,
    ) -> Entry:
        """Write one entry, of a change that the rule announces: nowhere else a balance changes."""
        wallet.balance_minor += delta_minor
        wallet.entry_seq += 1
        free_minor = wallet.available_minor
        if wallet.shortfall_minor:
            wallet.shortfall_minor = min(wallet.shortfall_minor, max(0, -free_minor))
        assert free_minor + wallet.shortfall_minor >= 0  # noqa: S101 - a CHECK says the same
        self.touch(wallet)
        entry = Entry(
            wallet_id=wallet.id,
            seq=wallet.entry_seq,
            operation_id=movement.operation_id,
            operation_type=operation_type,
            delta_minor=delta_minor,
            balance_after_minor=wallet.balance_minor,
            counterparty=counterparty,
            reference=movement.reference,
            description=movement.description,
            metadata=movement.metadata,
            created_at=wallet.updated_at,
            related_id=movement.related_id,
        )
        self.changes.entries.append(entry)
        return entry

    def touch(self, wallet: Wallet) -> None:
        """Count a change. Time never runs backwards inside a wallet, whatever the clocks do."""
        wallet.version += 1
        wallet.updated_at = max(self.now, wallet.updated_at)
        if wallet.id not in self.changes.created:
            self.changes.changed[wallet.id] = wallet

    def announce(self, event_type: EventType, wallet: Wallet, data: Document) -> None:
        """Exactly one event per change; its ``walletseq`` is the version that the change made."""
        self.changes.events.append(
            wallet_event(
                self.new_id(),
                event_type,
                wallet,
                data,
                wallet.updated_at,
                origin=self.origin,
            )
        )

    def tell(self, event_id: UUID, event_type: EventType, message: Message, data: Document) -> None:
        """The event of a message."""
        self.changes.events.append(
            message_event(
                event_id,
                event_type,
                message,
                data,
                message.updated_at,
                origin=self.origin,
            )
        )


def positive_minor(amount: Decimal, wallet: Wallet) -> int:
    """``amount`` in minor units of the wallet's currency. Raises AmountInvalid."""
    amount_minor = to_minor(amount, wallet.currency)
    if amount_minor <= 0:
        raise AmountInvalid("The amount must be more than zero.")
    return amount_minor


def check_taken(wallet: Wallet, amount_minor: int, *, before_minor: int = 0) -> None:
    """Whether ``amount_minor`` may leave the wallet, after a change by ``before_minor`` that is
    decided and not posted yet. Raises InsufficientFunds, LimitExceeded.
    """
    available_minor = wallet.available_minor + before_minor
    if amount_minor > available_minor:
        raise InsufficientFunds(
            f"{money(amount_minor, wallet)} was asked for and "
            f"{money(available_minor, wallet)} is available.",
            available=format_amount(available_minor, wallet.currency),
        )
    check_floor(wallet, amount_minor, before_minor=before_minor)


def check_floor(wallet: Wallet, amount_minor: int, *, before_minor: int = 0) -> None:
    """Whether the balance stays within what can be counted. Raises LimitExceeded."""
    if wallet.balance_minor + before_minor - amount_minor < -MAX_AMOUNT_MINOR:
        raise LimitExceeded(
            "The balance would fall below -10^18 minor units, the least there can be.",
            limit="min_balance",
        )


def check_given(wallet: Wallet, amount_minor: int, *, before_minor: int = 0) -> None:
    """Whether ``amount_minor`` may come into the wallet. Raises LimitExceeded."""
    after_minor = wallet.balance_minor + before_minor + amount_minor
    ceiling_minor = wallet.max_balance_minor
    if ceiling_minor is not None and after_minor > ceiling_minor:
        raise LimitExceeded(
            f"The balance would be {money(after_minor, wallet)}; the wallet's max_balance is "
            f"{money(ceiling_minor, wallet)}.",
            limit="max_balance",
        )
    if after_minor > MAX_AMOUNT_MINOR:
        raise LimitExceeded(
            "The balance would pass 10^18 minor units, the most that a wallet can hold.",
            limit="max_balance",
        )


def wallet_not_found(wallet_id: UUID) -> WalletNotFound:
    """The error for an id that no wallet has."""
    return WalletNotFound(f"There is no wallet {wallet_id}. Create one with POST /api/v1/wallets.")


def wallet_closed(wallet: Wallet) -> WalletClosed:
    """The error for what a closed wallet does not do."""
    return WalletClosed(f"The wallet {wallet.id} is closed for good; its history stays readable.")


def money(amount_minor: int, wallet: Wallet) -> str:
    """An amount of the wallet's currency for a person: ``10.50 USD``."""
    return f"{format_amount(amount_minor, wallet.currency)} {wallet.currency.code}"
