"""What the state machine compares with the naive model: the rules alone, and whole stores."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from testkit.ledgers import CURRENCIES, Gate
from WalletCore.domain.commands import Command
from WalletCore.domain.ledger import Ledger
from WalletCore.domain.model import EXTERNAL, REVERSALS, Document, Entry, Original, wallet_document
from WalletCore.domain.working_set import Accepted
from WalletCore.memory import MemoryStore
from WalletCore.paging import PageRequest
from WalletCore.postgres.store import PostgresStore
from WalletCore.store import IdempotencyKey, OperationFilter, Outcome

PAGE_ITEMS: Final = 200

Answer: TypeAlias = tuple[int, str, Document]
"""Status, code of the refusal (or nothing), document."""
Sent: TypeAlias = tuple[Command, IdempotencyKey | None]


class Subject(Protocol):
    """Something that decides commands and shows what came of them."""

    knows_keys: bool

    def send(self, sent: Sequence[Sent]) -> list[Answer]:
        """The answers to one batch."""

    def wallet(self, wallet_id: UUID) -> Document: ...

    def entries(self, wallet_id: UUID) -> list[tuple[int, int, int]]:
        """(seq, delta, balance after), oldest first, in minor units."""

    def event_seqs(self) -> Mapping[str, list[int]]:
        """The walletseqs of each wallet, in the order of the log."""

    def balanced(self) -> bool: ...


class DomainSubject:
    """The rules alone, with the working set kept in a dictionary."""

    knows_keys = False

    def __init__(self) -> None:
        self._wallets: dict[UUID, Any] = {}
        self._holds: dict[UUID, Any] = {}
        self._entries: list[Any] = []
        self._seqs: dict[str, list[int]] = {}

    def send(self, sent: Sequence[Sent]) -> list[Answer]:
        ledger = Ledger(
            copy.deepcopy(self._wallets),
            CURRENCIES,
            datetime.now(UTC),
            uuid7,
            holds=copy.deepcopy(self._holds),
            originals=self._originals(),
        )
        answers = [ledger.decide(command) for command, _ in sent]
        changes = ledger.changes
        assert not changes.created.keys() & changes.changed.keys()
        assert changes.described <= changes.changed.keys()
        self._wallets |= changes.created | changes.changed
        self._holds |= changes.placed | changes.held
        self._entries += changes.entries
        for event in changes.events:
            self._seqs.setdefault(str(event.wallet_id), []).append(event.body["walletseq"])
        return [
            (answer.status, "", answer.document)
            if isinstance(answer, Accepted)
            else (answer.status, answer.code, answer.problem())
            for answer in answers
        ]

    def _originals(self) -> dict[UUID, Original]:
        sides: dict[UUID, list[Entry]] = {}
        for entry in self._entries:
            sides.setdefault(entry.operation_id, []).append(entry)
        return {
            id_: Original(
                tuple(entries),
                sum(
                    abs(entry.delta_minor)
                    for entry in self._entries
                    if entry.related_id == id_
                    and entry.operation_type in REVERSALS
                    and entry.wallet_id == entries[0].wallet_id
                ),
            )
            for id_, entries in sides.items()
        }

    def wallet(self, wallet_id: UUID) -> Document:
        return wallet_document(self._wallets[wallet_id])

    def entries(self, wallet_id: UUID) -> list[tuple[int, int, int]]:
        return [
            (entry.seq, entry.delta_minor, entry.balance_after_minor)
            for entry in self._entries
            if entry.wallet_id == wallet_id
        ]

    def event_seqs(self) -> Mapping[str, list[int]]:
        return self._seqs

    def balanced(self) -> bool:
        total: Counter[str] = Counter()
        for wallet in self._wallets.values():
            total[wallet.currency.code] += wallet.balance_minor
        for entry in self._entries:
            if entry.counterparty == EXTERNAL:
                total[self._wallets[entry.wallet_id].currency.code] -= entry.delta_minor
        return not any(total.values())


class StoreSubject:
    """A whole store, seen through its port."""

    knows_keys = True

    def __init__(self, store: MemoryStore | PostgresStore) -> None:
        self._store = store
        self._gate = Gate(store)
        self._seqs: dict[str, list[int]] = {}
        self._cursor: str | None = None

    def send(self, sent: Sequence[Sent]) -> list[Answer]:
        if len(sent) == 1:
            outcomes: list[Outcome | BaseException] = [self._store.execute(*sent[0])]
        else:
            outcomes = self._gate.batch(sent)
        return [self._answer(outcome) for outcome in outcomes]

    def _answer(self, outcome: Outcome | BaseException) -> Answer:
        assert isinstance(outcome, Outcome), outcome
        document = orjson.loads(outcome.body)
        code = document["code"] if outcome.status >= 400 else ""
        return outcome.status, code, document | {"replayed": outcome.replayed}

    def wallet(self, wallet_id: UUID) -> Document:
        document = self._store.wallet(wallet_id)
        shown = self._store.balance(wallet_id)
        assert shown.items() <= ({"wallet_id": str(wallet_id)} | document).items()
        return document

    def entries(self, wallet_id: UUID) -> list[tuple[int, int, int]]:
        found: list[Document] = []
        cursor = None
        while True:
            page = self._store.operations(
                wallet_id, OperationFilter(), PageRequest(cursor, PAGE_ITEMS)
            )
            found += page.items
            if (cursor := page.next_cursor) is None:
                break
        return [
            (
                operation["seq"],
                minor_of(operation["new_balance"]) - minor_of(operation["previous_balance"]),
                minor_of(operation["new_balance"]),
            )
            for operation in reversed(found)
        ]

    def event_seqs(self) -> Mapping[str, list[int]]:
        while True:
            page = self._store.events(PageRequest(self._cursor, PAGE_ITEMS))
            self._cursor = page.next_cursor
            for event in page.items:
                self._seqs.setdefault(event["wallet"], []).append(event["walletseq"])
            if not page.items:
                return self._seqs

    def balanced(self) -> bool:
        trial = self._store.trial_balance()
        assert all(not Decimal(row["difference"]) for row in trial["currencies"])
        return bool(trial["balanced"])


def minor_of(amount: str) -> int:
    """Minor units of an answer: all of its digits."""
    return int(amount.replace(".", ""))
