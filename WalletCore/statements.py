"""Statements: what moved in a wallet in a period, in slices that add up.

A statement is fixed when it begins, by two places in the wallet's history: the entries above
``after_seq`` and up to ``last_seq``. Entries are never changed and have no gaps, so that however
long it takes to read them, and whatever is written meanwhile, the opening balance and what follows
make the closing one. Each slice is one short read; nothing is held between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from WalletCore.domain.errors import Invalid
from WalletCore.domain.model import Entry, Wallet
from WalletCore.domain.money import Currency

STATEMENT_SLICE_ENTRIES: Final = 500
"""How many entries of a statement are read, held and sent at once: some 200 kB."""

SHORTEST_MOMENT: Final = timedelta(microseconds=1)
"""Between two times that differ."""

ReadSlice: TypeAlias = Callable[[int, int], Sequence[Entry]]
"""Gives the entries above the first ``seq`` and up to the second one, in their order."""


class DoesNotAddUp(RuntimeError):
    """A wallet's history is not what its balances say. A defect; ``verify`` finds the place."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A wallet's entries in [``since``, ``until``); amounts in minor units of ``currency``.

    ``since``: None is from the first entry on. ``read_slice`` reads the entries; it may raise
    Unavailable. Raises Invalid if the period is none.
    """

    wallet_id: UUID
    currency: Currency
    since: datetime | None
    until: datetime
    after_seq: int
    last_seq: int
    opening_minor: int
    closing_minor: int
    read_slice: ReadSlice

    def __post_init__(self) -> None:
        if self.since is not None and self.since >= self.until:
            what = "This must be before `to`, which is at most now."
            raise Invalid(f"query.from: {what}", errors=[{"where": "query.from", "what": what}])

    @property
    def count(self) -> int:
        """How many entries it has."""
        return self.last_seq - self.after_seq

    def slices(self) -> Iterator[Sequence[Entry]]:
        """All entries, oldest first, at most STATEMENT_SLICE_ENTRIES at once.

        Raises Unavailable, also between two slices, and DoesNotAddUp.
        """
        seq, balance_minor = self.after_seq, self.opening_minor
        while seq < self.last_seq:
            entries = self.read_slice(seq, min(seq + STATEMENT_SLICE_ENTRIES, self.last_seq))
            for entry in entries:
                seq += 1
                balance_minor += entry.delta_minor
                if (entry.seq, entry.balance_after_minor) != (seq, balance_minor):
                    raise self._broken(seq)
            if not entries:
                raise self._broken(seq + 1)
            yield entries
        if balance_minor != self.closing_minor:
            raise self._broken(seq)

    def _broken(self, seq: int) -> DoesNotAddUp:
        return DoesNotAddUp(f"wallet {self.wallet_id}: the entry seq {seq} is not what it must be")


def end_of_period(wallet: Wallet, until: datetime | None, now: datetime) -> datetime:
    """The end of a statement that is asked for up to ``until`` (None: everything).

    At most now. That is after the wallet's last change even if another machine's clock, which is
    ahead, has dated it: what was answered before is never missing.
    """
    latest = max(now, wallet.updated_at + SHORTEST_MOMENT)
    return latest if until is None else min(until, latest)
