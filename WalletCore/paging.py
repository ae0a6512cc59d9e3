"""Parts of a listing: what is asked for and what is given."""

from __future__ import annotations

from dataclasses import dataclass

from WalletCore.domain.model import Document

DEFAULT_PAGE_ITEMS = 50
MAX_PAGE_ITEMS = 200


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing. ``next_cursor`` is None at its end."""

    items: list[Document]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part: after ``cursor`` (None: from the start), at most ``limit`` items."""

    cursor: str | None = None
    limit: int = DEFAULT_PAGE_ITEMS
