"""A point in a batch to which everything can be put back: for groups that are all or nothing, and
for what is only tried out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from WalletCore.domain.working_set import WorkingSet


class Savepoint:
    """Remembers ``books`` as they are now."""

    def __init__(self, books: WorkingSet) -> None:
        self._books = books
        self._rows = [
            (rows, {id_: copy.copy(row) for id_, row in rows.items()}) for rows in _tables(books)
        ]
        changes = books.changes
        self._entries, self._events = len(changes.entries), len(changes.events)
        noted: Sequence[dict[UUID, Any]] = (
            changes.created,
            changes.changed,
            changes.placed,
            changes.held,
            changes.sent,
            changes.marked,
        )
        self._noted = [(each, dict(each)) for each in noted]
        self._described = set(changes.described)

    def roll_back(self) -> None:
        """Put everything back. The objects stay the same, because others may have them, too."""
        for rows, before in self._rows:
            for id_ in rows.keys() - before.keys():
                del rows[id_]
            for id_, row in rows.items():
                for name in row.__slots__:
                    setattr(row, name, getattr(before[id_], name))
        changes = self._books.changes
        del changes.entries[self._entries :]
        del changes.events[self._events :]
        for noted, before in self._noted:
            noted.clear()
            noted.update(before)
        changes.described = self._described


def _tables(books: WorkingSet) -> tuple[dict[UUID, Any], ...]:
    return books.wallets, books.messages, books.holds, books.originals
