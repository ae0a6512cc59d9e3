"""What becomes of each command of a batch, once its wallets and keys are locked and read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from WalletCore.domain.commands import (
    CaptureHold,
    Command,
    CreateWallet,
    Deposit,
    ExpireHold,
    Group,
    OpenAccount,
    PlaceHold,
    Purchase,
    Reverse,
    SendMessage,
    SetMessageStatus,
    Transfer,
    UpdateWallet,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.errors import (
    CofferError,
    IdempotencyKeyReused,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Unavailable,
    WalletBusy,
)
from WalletCore.domain.ledger import Ledger
from WalletCore.domain.model import Document, Entry, Event
from WalletCore.domain.money import Currencies
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.working_set import Accepted, Changes
from WalletCore.failures import DataRefused
from WalletCore.store import IdempotencyKey, Loaded, Needs, Outcome, Remembered
from WalletCore.telemetry import OPERATIONS, REFUSALS

Result: TypeAlias = Outcome | CofferError
KeyName: TypeAlias = tuple[str, str]

LOG_PART_EVENTS: Final = 128
"""So many events of a batch are written while the next ones are decided."""


class Submission:
    """A command on its way through the committer, and the thread that waits for it.

    ``claim`` belongs to whoever gets it first: the committer, which then does the command, or the
    waiting thread, which then gives it up. So a command that is given up was certainly not done.
    ``weight``: how many movements it is. ``dry_run``: only tried out, and not remembered.
    ``in_order``: after those that were put into the queue before it, and never ahead of them.
    """

    __slots__ = (
        "claim",
        "command",
        "done",
        "dry_run",
        "in_order",
        "key",
        "needs",
        "origin",
        "result",
        "weight",
    )

    def __init__(
        self,
        command: Command,
        key: IdempotencyKey | None,
        origin: Origin = SERVICE,
        *,
        dry_run: bool = False,
        in_order: bool = False,
    ) -> None:
        self.command = command
        self.dry_run = dry_run
        self.in_order = in_order
        self.weight = _weight_of(command)
        self.needs = needs_of(command)
        self.key = key
        self.origin = origin
        self.claim = threading.Lock()
        self.done = threading.Lock()
        self.done.acquire()
        self.result: Result | None = None


def decide_batch(
    batch: Sequence[Submission],
    loaded: Loaded,
    currencies: Currencies,
    append: Callable[[Sequence[Entry], Sequence[Event]], None],
) -> tuple[list[Result], Changes, dict[KeyName, Remembered]]:
    """Decide every command in order. Gives a result for each, what is to be written that ``append``
    was not given already, and the answers that are to be remembered under their keys.
    """
    ledger = ledger_of(loaded, currencies)
    changes = ledger.changes
    fresh: dict[KeyName, Remembered] = {}
    results: list[Result] = []
    for submission in batch:
        if len(changes.events) >= LOG_PART_EVENTS:
            append(*changes.take_log())
        results.append(_decide_one(submission, ledger, loaded, fresh))
    return results, changes, fresh


def ledger_of(loaded: Loaded, currencies: Currencies) -> Ledger:
    """A ledger on what a transaction has locked and read."""
    return Ledger(
        loaded.wallets,
        currencies,
        datetime.now(UTC),
        uuid7,
        messages=loaded.messages,
        holds=loaded.holds,
        originals=loaded.originals,
    )


def _decide_one(
    submission: Submission, ledger: Ledger, loaded: Loaded, fresh: dict[KeyName, Remembered]
) -> Result:
    """Decide one command, or replay what its key was answered. ``fresh``: answers to keep."""
    key = submission.key
    if key is not None:
        name = name_of(key)
        if name in loaded.busy_keys:
            return counted(busy())
        earlier = fresh.get(name) or loaded.remembered.get(name)
        if earlier is not None:
            if earlier.request_hash != key.request_hash:
                return _refusal_outcome(counted(_reused()))
            return Outcome(earlier.status, earlier.body, replayed=True)
    if not (
        loaded.busy_wallets.isdisjoint(submission.needs.wallets)
        and loaded.busy_messages.isdisjoint(submission.needs.messages)
    ):
        return counted(busy())
    if submission.dry_run:
        needs = submission.needs
        ids = {*needs.wallets, *needs.messages, *needs.holds, *needs.originals}
        answer = ledger.try_out(submission.command, ids, submission.origin)
    else:
        answer = ledger.decide(submission.command, submission.origin)
    if isinstance(answer, Accepted):
        outcome = Outcome(answer.status, _json(answer.document))
    else:
        outcome = _refusal_outcome(counted(answer))
    if key is not None and not submission.dry_run and isinstance(answer, Accepted | Refused):
        fresh[name_of(key)] = Remembered(key.request_hash, outcome.status, outcome.body)
    return outcome


def needs_of(command: Command) -> Needs:
    """What ``command`` needs of what exists."""
    return _NEEDS[type(command)](command)


def _weight_of(command: Command) -> int:
    if isinstance(command, Group):
        return sum(_weight_of(one) for one in command.commands)
    return len(command.legs) if isinstance(command, Transfer) else 1


def _needs_of_transfer(command: Transfer) -> Needs:
    return Needs(tuple({w for leg in command.legs for w in (leg.source_id, leg.target_id)}))


def _needs_of_hold(command: CaptureHold | VoidHold | ExpireHold) -> Needs:
    target = command.target_id if isinstance(command, CaptureHold) else None
    wallets = (command.wallet_id,) if target is None else (command.wallet_id, target)
    return Needs(wallets, holds=(command.hold_id,))


_NEEDS: Mapping[type, Callable[[Any], Needs]] = {
    CreateWallet: lambda _: Needs(),
    UpdateWallet: lambda command: Needs((command.wallet_id,)),
    Deposit: lambda command: Needs((command.wallet_id,)),
    Withdraw: lambda command: Needs((command.wallet_id,)),
    Transfer: _needs_of_transfer,
    PlaceHold: lambda command: Needs((command.wallet_id,)),
    CaptureHold: _needs_of_hold,
    VoidHold: _needs_of_hold,
    ExpireHold: _needs_of_hold,
    Reverse: lambda command: Needs(command.wallet_ids, originals=(command.original_id,)),
    OpenAccount: lambda _: Needs(),
    Purchase: lambda command: Needs((command.wallet_id, command.merchant_id)),
    Group: lambda command: all_needs(needs_of(one) for one in command.commands),
    SendMessage: lambda _: Needs(),
    SetMessageStatus: lambda command: Needs(messages=(command.event_id,)),
}


def all_needs(each: Iterable[Needs]) -> Needs:
    """What all need together, in the order in which everybody locks."""
    wallets: set[UUID] = set()
    messages: set[UUID] = set()
    holds: set[UUID] = set()
    originals: set[UUID] = set()
    for needs in each:
        wallets.update(needs.wallets)
        messages.update(needs.messages)
        holds.update(needs.holds)
        originals.update(needs.originals)
    return Needs(sorted(wallets), sorted(messages), sorted(holds), sorted(originals))


def name_of(key: IdempotencyKey) -> KeyName:
    """What a key is stored under."""
    return (key.scope, key.key)


def counted(error: CofferError) -> CofferError:
    """``error``, counted by its code."""
    REFUSALS.labels(error.code).inc()
    return error


def start_counting() -> None:
    """Let the refusals that somebody is woken for be counted from 0 on: of a series that begins
    with 1 Prometheus sees no increase.
    """
    for kind in (OutcomeUnknown, Overloaded, WalletBusy):
        REFUSALS.labels(kind.code)


def count_operations(changes: Changes) -> None:
    """Count what was committed."""
    entries = (*changes.taken, *changes.entries)
    by_type = Counter(entry.operation_type for entry in entries)
    for type_, count in by_type.items():
        OPERATIONS.labels(type_.value).inc(count)


def _json(document: Document) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError as error:  # text that is no Unicode, a number beyond 64 bits
        raise DataRefused(f"not JSON: {error}") from error


def _refusal_outcome(error: CofferError) -> Outcome:
    return Outcome(error.status, orjson.dumps(error.problem()))


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "This Idempotency-Key was used before with another request. Use a new key for a new "
        "request, and the same key only to repeat one."
    )


def too_much() -> Overloaded:
    """What takes the database too long is done by nobody."""
    return Overloaded(
        "The database could not write all of this in time; nothing was done. Send it in smaller "
        "parts."
    )


def wake(batch: Sequence[Submission]) -> None:
    """Let the threads that wait for ``batch`` go on."""
    for submission in batch:
        submission.done.release()


def busy() -> WalletBusy:
    """Not done: somebody else kept the wallet or the key locked."""
    return WalletBusy("The wallet stayed locked for too long; this request was not done. Retry.")


def database_away() -> Unavailable:
    """Not done: there is no database."""
    return Unavailable("The database cannot be reached; this request was not done. Retry.")


def outcome_unknown() -> OutcomeUnknown:
    """Done or not: nobody can say."""
    return OutcomeUnknown(
        "The database went away during COMMIT. Retry with the same Idempotency-Key: the answer "
        "says whether it was done. Without a key, look at the wallet's operations first."
    )
