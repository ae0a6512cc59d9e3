"""Pages of the event log backwards: a place counts in the whole log, or in one wallet's events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from WalletCore.cursor import MAX_POSITION, decode_cursor, encode_cursor
from WalletCore.domain.errors import CursorInvalid
from WalletCore.domain.model import Document
from WalletCore.paging import Page

LISTING: Final = "events-newest"
"""The name of these listings in their cursors."""


def place_before(wallet_id: UUID | None, cursor: str | None) -> int:
    """Below which place the page of ``cursor`` begins. Raises CursorInvalid, also for one of
    another wallet's events.
    """
    if cursor is None:
        return MAX_POSITION
    whose, before = decode_cursor(LISTING, cursor, str, int)
    if whose != _whose(wallet_id):
        raise CursorInvalid("This cursor is of other events. Begin anew without one.")
    return int(before)


def newest_page(wallet_id: UUID | None, rows: Sequence[tuple[int, Document]], limit: int) -> Page:
    """The page of ``rows`` (place and document), of which there is one more than ``limit`` where
    the listing goes on.
    """
    shown = rows[:limit]
    more = len(rows) > limit
    cursor = encode_cursor(LISTING, _whose(wallet_id), shown[-1][0]) if more else None
    return Page([document for _, document in shown], cursor)


def _whose(wallet_id: UUID | None) -> str:
    return "" if wallet_id is None else str(wallet_id)
