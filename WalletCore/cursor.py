"""Opaque cursors: the place in a listing where the next page begins, as URL-safe text.

A cursor carries the listing's name, so that one of another listing is refused instead of leading
somewhere odd. It holds no secrets and grants nothing; a client may keep it for as long as it likes.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any
from uuid import UUID

import orjson

from WalletCore.domain.errors import CursorInvalid

MAX_CURSOR_CHARACTERS = 4096
"""Room for a snapshot of the log that names some hundred transactions in progress."""

MAX_POSITION = 2**63 - 1
"""The largest place that a BIGINT can name."""


def encode_cursor(listing: str, *place: str | int) -> str:
    """The cursor of ``place`` in ``listing``."""
    text = orjson.dumps([listing, *place])
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode("ascii")


def decode_cursor(
    listing: str, cursor: str, *types: type, max_characters: int = MAX_CURSOR_CHARACTERS
) -> list[Any]:
    """The place that encode_cursor was given, one value per type.

    Raises CursorInvalid if this is no cursor of ``listing`` or its values have other types.
    """
    if len(cursor) > max_characters:
        raise _invalid()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        name, *found = orjson.loads(raw)
    except (ValueError, TypeError, binascii.Error):
        raise _invalid() from None
    place: list[Any] = found
    if name != listing or [type(value) for value in place] != list(types):
        raise _invalid()
    if any(isinstance(value, int) and not 0 <= value <= MAX_POSITION for value in place):
        raise _invalid()
    return place


def decode_id_cursor(listing: str, cursor: str) -> UUID:
    """The id in a cursor of a listing that is ordered by id. Raises CursorInvalid."""
    (text,) = decode_cursor(listing, cursor, str)
    try:
        return UUID(text)
    except ValueError:
        raise _invalid() from None


def _invalid() -> CursorInvalid:
    return CursorInvalid("Send next_cursor of an earlier answer as it came, or leave cursor out.")
