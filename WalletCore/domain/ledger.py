"""The heart of Coffer: what may happen to money, decided in memory, purely.

A store locks the wallets that a batch of commands names, hands them to a Ledger, lets it decide the
commands in order, and writes down what came of it. Each command gets its own answer; a refused one
leaves no trace, because every rule checks everything before it changes anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from WalletCore.domain.commands import (
    Command,
    CreateWallet,
    Deposit,
    SendMessage,
    SetMessageStatus,
    Unset,
    UpdateWallet,
    Withdraw,
)
from WalletCore.domain.errors import (
    AmountInvalid,
    CofferError,
    EventStatusFixed,
    InsufficientFunds,
    LimitExceeded,
    WalletClosed,
    WalletFrozen,
    WalletNotEmpty,
    WalletNotFound,
)
from WalletCore.domain.events import EventType, message_event, wallet_event
from WalletCore.domain.model import (
    EXTERNAL,
    Document,
    Entry,
    Event,
    Message,
    OperationType,
    Wallet,
    WalletStatus,
    message_document,
    operation_document,
    wallet_document,
)
from WalletCore.domain.money import (
    MAX_AMOUNT_MINOR,
    Currencies,
    format_amount,
    to_minor,
)

OK = 200
CREATED = 201


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a command that was done: HTTP ``status`` (200 or 201) and the document."""

    status: int
    document: Document


Answer: TypeAlias = Accepted | CofferError


@dataclass(slots=True)
class Changes:
    """What a batch leaves to be written, each list in the order in which it happened.

    ``created`` are new wallets, ``changed`` those that were loaded and are different now (by id);
    ``described`` names those of them whose name, metadata or status changed. ``sent`` are new
    messages, ``marked`` those whose status was set (by id).
    """

    created: dict[UUID, Wallet] = field(default_factory=dict)
    changed: dict[UUID, Wallet] = field(default_factory=dict)
    described: set[UUID] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    sent: dict[UUID, Message] = field(default_factory=dict)
    marked: dict[UUID, Message] = field(default_factory=dict)


class Ledger:
    """The working set of one batch.

    ``wallets``, ``messages``: the locked ones by id (what is absent does not exist); they are
    changed in place. ``now``: the clock after the lock, UTC. ``new_id``: gives ids of events,
    time-ordered.
    """

    def __init__(
        self,
        wallets: Mapping[UUID, Wallet],
        currencies: Currencies,
        now: datetime,
        new_id: Callable[[], UUID],
        messages: Mapping[UUID, Message] | None = None,
    ) -> None:
        self._wallets = dict(wallets)
        self._messages = dict(messages or {})
        self._currencies = currencies
        self._now = now
        self._new_id = new_id
        self._traceparent: str | None = None
        self.changes = Changes()

    def decide(self, command: Command, traceparent: str | None = None) -> Answer:
        """Do ``command`` or refuse it. Never raises for what a client can cause.

        ``traceparent``: of the request, for its events (https://www.w3.org/TR/trace-context/).
        """
        self._traceparent = traceparent
        try:
            return self._RULES[type(command)](self, command)
        except CofferError as refusal:
            return refusal.with_traceback(None)

    def _create(self, command: CreateWallet) -> Accepted:
        currency = self._currencies[command.currency]
        min_balance_minor = to_minor(command.min_balance, currency)
        if min_balance_minor > 0:
            raise AmountInvalid(
                "min_balance is at most 0 (negative is a credit limit): a new wallet is empty."
            )
        wallet = Wallet(
            id=command.wallet_id,
            owner=command.owner,
            name=command.name,
            currency=currency,
            balance_minor=0,
            held_minor=0,
            shortfall_minor=0,
            min_balance_minor=min_balance_minor,
            version=1,
            entry_seq=0,
            status=WalletStatus.ACTIVE,
            metadata=command.metadata,
            created_at=self._now,
            updated_at=self._now,
        )
        self._wallets[wallet.id] = wallet
        self.changes.created[wallet.id] = wallet
        document = wallet_document(wallet)
        self._announce(EventType.WALLET_CREATED, wallet, document)
        return Accepted(CREATED, document)

    def _update(self, command: UpdateWallet) -> Accepted:
        wallet = self._wallet(command.wallet_id)
        name = wallet.name if isinstance(command.name, Unset) else command.name
        metadata = wallet.metadata if isinstance(command.metadata, Unset) else command.metadata
        status = wallet.status if isinstance(command.status, Unset) else command.status
        if (name, status) == (wallet.name, wallet.status) and _same(metadata, wallet.metadata):
            return Accepted(OK, wallet_document(wallet))
        if wallet.status is WalletStatus.CLOSED:
            raise _closed(wallet)
        if status is WalletStatus.CLOSED and (wallet.balance_minor or wallet.held_minor):
            raise WalletNotEmpty(
                "Only an empty wallet can be closed: its balance is "
                f"{_money(wallet.balance_minor, wallet)}, {_money(wallet.held_minor, wallet)} of "
                "it held. Bring both to zero first."
            )
        event_type = (
            EventType.WALLET_UPDATED if status is wallet.status else _EVENT_OF_STATUS[status]
        )
        wallet.name, wallet.metadata, wallet.status = name, metadata, status
        self._touch(wallet)
        if wallet.id in self.changes.changed:
            self.changes.described.add(wallet.id)
        document = wallet_document(wallet)
        self._announce(event_type, wallet, document)
        return Accepted(OK, document)

    def _deposit(self, command: Deposit) -> Accepted:
        wallet, amount_minor = self._moving(command.wallet_id, command.amount)
        if wallet.balance_minor + amount_minor > MAX_AMOUNT_MINOR:
            raise LimitExceeded(
                "The balance would pass 10^18 minor units, the most that a wallet can hold.",
                limit="max_balance",
            )
        return self._post(command, OperationType.DEPOSIT, wallet, amount_minor)

    def _withdraw(self, command: Withdraw) -> Accepted:
        wallet, amount_minor = self._moving(command.wallet_id, command.amount)
        if amount_minor > wallet.available_minor:
            raise InsufficientFunds(
                f"{_money(amount_minor, wallet)} was asked for and "
                f"{_money(wallet.available_minor, wallet)} is available.",
                available=format_amount(wallet.available_minor, wallet.currency),
            )
        if wallet.balance_minor - amount_minor < -MAX_AMOUNT_MINOR:
            raise LimitExceeded(
                "The balance would fall below -10^18 minor units, the least there can be.",
                limit="min_balance",
            )
        return self._post(command, OperationType.WITHDRAW, wallet, -amount_minor)

    def _send(self, command: SendMessage) -> Accepted:
        message = Message(
            id=command.event_id,
            user_id=command.user_id,
            description=command.description,
            status=None,
            created_at=self._now,
            updated_at=self._now,
        )
        self._messages[message.id] = message
        self.changes.sent[message.id] = message
        data = {"user_id": message.user_id, "description": message.description}
        self._tell(message.id, EventType.MESSAGE, message, data)
        return Accepted(CREATED, message_document(message))

    def _set_status(self, command: SetMessageStatus) -> Accepted:
        message = self._messages.get(command.event_id)
        if message is None:
            raise EventStatusFixed(
                "Only the status of a message of your own can be set; that of what happened to a "
                "wallet is Processed once the worker has recorded it."
            )
        if message.status is not command.status:
            message.status = command.status
            message.updated_at = max(self._now, message.updated_at)
            if message.id not in self.changes.sent:
                self.changes.marked[message.id] = message
            data = {"event_id": str(message.id), "status": command.status.value}
            self._tell(self._new_id(), EventType.MESSAGE_UPDATED, message, data)
        return Accepted(OK, message_document(message))

    def _tell(
        self, event_id: UUID, event_type: EventType, message: Message, data: Document
    ) -> None:
        self.changes.events.append(
            message_event(
                event_id,
                event_type,
                message,
                data,
                message.updated_at,
                traceparent=self._traceparent,
            )
        )

    def _moving(self, wallet_id: UUID, amount: Decimal) -> tuple[Wallet, int]:
        """The wallet whose money is to move, and the amount in its minor units."""
        wallet = self._wallet(wallet_id)
        amount_minor = to_minor(amount, wallet.currency)
        if amount_minor <= 0:
            raise AmountInvalid("The amount must be more than zero.")
        if wallet.status is WalletStatus.CLOSED:
            raise _closed(wallet)
        if wallet.status is WalletStatus.FROZEN:
            raise WalletFrozen(
                "No money moves in or out of a frozen wallet. Set its status to active first."
            )
        return wallet, amount_minor

    def _post(
        self,
        command: Deposit | Withdraw,
        operation_type: OperationType,
        wallet: Wallet,
        delta_minor: int,
    ) -> Accepted:
        """Write one entry: the only place where a balance changes."""
        wallet.balance_minor += delta_minor
        wallet.entry_seq += 1
        free_minor = wallet.balance_minor - wallet.held_minor - wallet.min_balance_minor
        wallet.shortfall_minor = min(wallet.shortfall_minor, max(0, -free_minor))
        assert free_minor + wallet.shortfall_minor >= 0  # noqa: S101 - a CHECK says the same
        self._touch(wallet)
        entry = Entry(
            wallet_id=wallet.id,
            seq=wallet.entry_seq,
            operation_id=command.operation_id,
            operation_type=operation_type,
            delta_minor=delta_minor,
            balance_after_minor=wallet.balance_minor,
            counterparty=EXTERNAL,
            reference=command.reference,
            description=command.description,
            metadata=command.metadata,
            created_at=wallet.updated_at,
        )
        self.changes.entries.append(entry)
        document = operation_document(entry, wallet.currency)
        self._announce(EventType.OPERATION_COMPLETED, wallet, document)
        return Accepted(OK, document)

    def _wallet(self, wallet_id: UUID) -> Wallet:
        wallet = self._wallets.get(wallet_id)
        if wallet is None:
            raise wallet_not_found(wallet_id)
        return wallet

    def _touch(self, wallet: Wallet) -> None:
        """Count a change. Time never runs backwards inside a wallet, whatever the clocks do."""
        wallet.version += 1
        wallet.updated_at = max(self._now, wallet.updated_at)
        if wallet.id not in self.changes.created:
            self.changes.changed[wallet.id] = wallet

    def _announce(self, event_type: EventType, wallet: Wallet, data: Document) -> None:
        """Exactly one event per change; its ``walletseq`` is the version that the change made."""
        self.changes.events.append(
            wallet_event(
                self._new_id(),
                event_type,
                wallet,
                data,
                wallet.updated_at,
                traceparent=self._traceparent,
            )
        )

    _RULES: ClassVar[Mapping[type, Callable[[Ledger, Any], Accepted]]] = {
        CreateWallet: _create,
        UpdateWallet: _update,
        Deposit: _deposit,
        Withdraw: _withdraw,
        SendMessage: _send,
        SetMessageStatus: _set_status,
    }


def decide(commands: Iterable[Command], ledger: Ledger) -> list[Answer]:
    """Decide ``commands`` in order on one working set; an answer for each, in the same order."""
    return [ledger.decide(command) for command in commands]


def wallet_not_found(wallet_id: UUID) -> WalletNotFound:
    """The error for an id that no wallet has."""
    return WalletNotFound(f"There is no wallet {wallet_id}. Create one with POST /api/v1/wallets.")


def _same(one: Document, other: Document) -> bool:
    """Whether two documents are the same JSON; to Python alone, 1 and true are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _closed(wallet: Wallet) -> WalletClosed:
    return WalletClosed(f"The wallet {wallet.id} is closed for good; its history stays readable.")


def _money(amount_minor: int, wallet: Wallet) -> str:
    return f"{format_amount(amount_minor, wallet.currency)} {wallet.currency.code}"


_EVENT_OF_STATUS = {
    WalletStatus.ACTIVE: EventType.WALLET_UNFROZEN,
    WalletStatus.FROZEN: EventType.WALLET_FROZEN,
    WalletStatus.CLOSED: EventType.WALLET_CLOSED,
}
