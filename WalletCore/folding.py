"""Text without its case, the same in Python and in PostgreSQL, whatever the database's locale.

``lower`` of a database in the locale C knows ASCII alone, so the letters are listed here: those of
Latin, Greek, Cyrillic and Armenian that have a small letter, one for one. Their mapping is stable
in Unicode: https://www.unicode.org/policies/stability_policy.html#Case_Pair
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

_LETTERS: Final[Iterable[int]] = chain(
    range(ord("A"), ord("Z") + 1), range(0xC0, 0x557), range(0x1E00, 0x1F00)
)
_PAIRS: Final = [
    (chr(code), chr(code).lower())
    for code in _LETTERS
    if chr(code).lower() != chr(code) and len(chr(code).lower()) == 1
]

CAPITALS: Final = "".join(capital for capital, _ in _PAIRS)
SMALL_LETTERS: Final = "".join(small for _, small in _PAIRS)
"""At the place of each of the CAPITALS what it becomes."""

_TABLE: Final = str.maketrans(CAPITALS, SMALL_LETTERS)

_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
"""No characters, so none can follow another one."""


def fold(text: str) -> str:
    """``text`` in small letters, character by character.

    >>> fold("Ольга ÅS")
    'ольга ås'
    """
    return text.translate(_TABLE)


def end_of_prefix(prefix: str) -> str | None:
    """The first text after all that begin with ``prefix``, by code points; None: there is none.

    >>> end_of_prefix("ab")
    'ac'
    """
    for place in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[place]) + 1
        if code in _SURROGATES:
            code = _SURROGATES.stop
        if code <= _LAST:
            return prefix[:place] + chr(code)
    return None
