"""A point in a batch to which everything can be put back: for groups that are all or nothing, and
for what is only tried out.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any
from uuid import UUID

from WalletCore.domain.working_set import WorkingSet


class Savepoint:
    """Remembers of ``books`` what is to be done next may change: the rows with these ``ids``."""

    def __init__(self, books: WorkingSet, ids: Collection[UUID]) -> None:
        self._books = books
        tables: tuple[dict[UUID, Any], ...] = (
            books.wallets,
            books.messages,
            books.holds,
            books.originals,
        )
        self._rows = [
            (row, copy.copy(row)) for rows in tables for id_ in ids if (row := rows.get(id_))
        ]
        changes = books.changes
        lists: tuple[list[Any], ...] = (changes.entries, changes.events, changes.users)
        self._lists = [(each, len(each)) for each in lists]
        noted: tuple[dict[UUID, Any], ...] = (changes.changed, changes.held, changes.marked)
        self._noted = [(each, dict(each)) for each in noted]
        self._described = set(changes.described)
        made: tuple[tuple[dict[UUID, Any], dict[UUID, Any]], ...] = (
            (changes.created, books.wallets),
            (changes.placed, books.holds),
            (changes.sent, books.messages),
        )
        self._made = [(each, rows, len(each)) for each, rows in made]

    def roll_back(self) -> None:
        """Put everything back. The objects stay the same, because others may have them, too."""
        for row, before in self._rows:
            for name in row.__slots__:
                setattr(row, name, getattr(before, name))
        for made, rows, count in self._made:
            for id_ in list(made)[count:]:
                del made[id_], rows[id_]
        changes = self._books.changes
        for each, count in self._lists:
            del each[count:]
        for noted, earlier in self._noted:
            noted.clear()
            noted.update(earlier)
        changes.described = self._described
