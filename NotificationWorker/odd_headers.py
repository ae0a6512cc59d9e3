"""Reading messages whose headers cannot be read.

Pika decodes the headers of a message before anybody is asked, and gives the connection up when it
cannot: a date in a year that Python does not have is enough. Then every message that was on its way
has spent a delivery, and the same one comes again. Here such a table becomes one with a marker, so
that the message goes to the dead queue like any other that cannot be read.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from pika import data

MARKER: Final = "x-coffer-headers-not-readable"

_decode_table: Final = data.decode_table


def tolerate() -> None:
    """Make pika read such headers from now on. May be called more than once."""
    data.decode_table = _tolerant


def _tolerant(encoded: bytes, offset: int) -> tuple[dict[str, Any], int]:
    """What pika.data.decode_table gives: the table at ``offset``, and where it ends."""
    try:
        table, end = _decode_table(encoded, offset)
    except Exception as error:  # noqa: BLE001 - there is a kind of error for each kind of nonsense
        # A table begins with its length in bytes.
        (length,) = struct.unpack_from(">I", encoded, offset)
        return {MARKER: type(error).__name__}, offset + 4 + length
    return dict(table), int(end)
