"""The rows of the store in memory, and the lock that guards them all."""

from __future__ import annotations

import copy
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar
from uuid import UUID

from WalletCore.domain.model import (
    REVERSALS,
    Entry,
    Event,
    Hold,
    HoldStatus,
    Message,
    Original,
    User,
    Wallet,
)
from WalletCore.domain.working_set import Changes
from WalletCore.failures import DataRefused
from WalletCore.store import Loaded, Needs, Remembered

Row = TypeVar("Row")


class MemoryLedger:
    """The rows, and the lock that guards them all. It is the committer's source of transactions."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.wallets: dict[UUID, Wallet] = {}
        self.entries: dict[UUID, list[Entry]] = defaultdict(list)
        self.operations: dict[UUID, list[Entry]] = defaultdict(list)
        self.related: dict[UUID, list[Entry]] = defaultdict(list)
        self.holds: dict[UUID, Hold] = {}
        self.open_holds: dict[UUID, Hold] = {}
        self.events: list[Event] = []
        self.event_places: dict[UUID, int] = {}
        self.messages: dict[UUID, Message] = {}
        self.users: dict[str, User] = {}
        self.remembered: dict[tuple[str, str], Remembered] = {}
        self._appended: tuple[list[Entry], list[Event]] = ([], [])

    @contextmanager
    def begin(self) -> Iterator[MemoryLedger]:
        """A transaction: the lock, for as long as the block lasts."""
        with self.lock:
            self._appended = ([], [])
            yield self

    def load(
        self,
        needs: Needs,
        keys: Sequence[tuple[str, str]],
        *,
        skip_locked: bool,  # noqa: ARG002 - nothing is ever locked by somebody else here
    ) -> Loaded:
        """Copies of what changes, so that a batch that fails leaves no trace."""
        return Loaded(
            _copies(self.wallets, needs.wallets),
            {key: self.remembered[key] for key in keys if key in self.remembered},
            messages=_copies(self.messages, needs.messages),
            holds=_copies(self.holds, needs.holds),
            originals={
                id_: self._original(id_) for id_ in needs.originals if id_ in self.operations
            },
        )

    def _original(self, operation_id: UUID) -> Original:
        entries = self.operations[operation_id]
        mine = entries[0].wallet_id
        return Original(
            tuple(entries),
            sum(
                abs(entry.delta_minor)
                for entry in self.related.get(operation_id, ())
                if entry.operation_type in REVERSALS and entry.wallet_id == mine
            ),
        )

    def join(self, keys: Sequence[tuple[str, str]], wallet_ids: Sequence[UUID]) -> Loaded:
        """The same way."""
        return self.load(Needs(wallet_ids), keys, skip_locked=True)

    def append(self, entries: Sequence[Entry], events: Sequence[Event]) -> None:
        """Put aside until ``save``."""
        self._appended[0].extend(entries)
        self._appended[1].extend(events)

    def save(self, changes: Changes, remembered: Mapping[tuple[str, str], Remembered]) -> None:
        """Put everything in its place. Raises DataRefused for a user that there is."""
        if any(user.username in self.users for user in changes.users):
            raise DataRefused("a user of this name exists")
        self.users.update({user.username: user for user in changes.users})
        self.wallets.update(changes.created)
        self.wallets.update(changes.changed)
        self.messages.update(changes.sent)
        self.messages.update(changes.marked)
        entries, events = self._appended
        for entry in (*entries, *changes.entries):
            self.entries[entry.wallet_id].append(entry)
            self.operations[entry.operation_id].append(entry)
            if entry.related_id is not None:
                self.related[entry.related_id].append(entry)
        for hold in (*changes.placed.values(), *changes.held.values()):
            self.holds[hold.id] = hold
            self.open_holds.pop(hold.id, None)
            if hold.status is HoldStatus.OPEN:
                self.open_holds[hold.id] = hold
        for event in (*events, *changes.events):
            self.event_places[event.id] = len(self.events)
            self.events.append(event)
        self.remembered.update(remembered)

    def events_from(self, place: int, limit: int) -> list[Event]:
        """The log from ``place`` on, at most ``limit`` events."""
        with self.lock:
            return self.events[place : place + limit]

    def close(self) -> None:
        """Nothing to let go of."""


def _copies(rows: Mapping[UUID, Row], ids: Sequence[UUID]) -> dict[UUID, Row]:
    return {id_: copy.copy(rows[id_]) for id_ in ids if id_ in rows}
