"""Arrays for the parameters of a statement, in PostgreSQL's binary form.

Each is of one type, so that a prepared statement's parameters are the same for every batch (psycopg
makes int2[], int4[] or int8[] of a list of integers, by its values). Neither side has to quote,
escape or parse anything: in text, an event takes the longest time to be put between quotes.
https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/arrayfuncs.c
(array_recv) says what an array is; of each element ``..._recv`` of its type does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from struct import Struct
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from WalletCore.domain.model import MAX_CACHED_TIMES

_HEADER: Final = Struct(">iiIii")
"""Dimensions, whether there are NULLs, the type of the elements, how many, number of the first."""

_LENGTH: Final = Struct(">i").pack
"""What stands before each element."""

_NULL: Final = _LENGTH(-1)
_INTEGER: Final = Struct(">iq").pack
_INTEGER_BYTES: Final = 8
_UUID_LENGTH: Final = _LENGTH(16)
_JSONB_VERSION: Final = b"\x01"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Where PostgreSQL begins to count time."""
_MICROSECOND: Final = timedelta(microseconds=1)


class Array(bytes):
    """An array in its binary form, ready to be sent. Each subclass is of one type."""

    element_oid: int
    oid: int

    @classmethod
    def of(cls, count: int, elements: Iterable[bytes], *, nullable: bool = False) -> Array:
        """``elements``: each with its length before it."""
        return cls(_HEADER.pack(1, nullable, cls.element_oid, count, 1) + b"".join(elements))


class _ArrayDumper(Dumper):
    """Lets psycopg send an Array as it is."""

    format = Format.BINARY

    def dump(self, obj: Any) -> Buffer:
        """It is ready."""
        return obj  # type: ignore[no-any-return]  # an Array


def _array_type(element: str) -> type[Array]:
    """The class of arrays of this type, which psycopg knows then."""
    info = psycopg.adapters.types[element]
    names = {"element_oid": info.oid, "oid": info.array_oid}
    array_type = type(f"{element}[]", (Array,), names)
    dumper = type(f"{element}[] dumper", (_ArrayDumper,), {"oid": info.array_oid})
    psycopg.adapters.register_dumper(array_type, dumper)
    return array_type


_Uuids: Final = _array_type("uuid")
_Integers: Final = _array_type("int8")
_Texts: Final = _array_type("text")
_Jsons: Final = _array_type("jsonb")
_Times: Final = _array_type("timestamptz")
_Binaries: Final = _array_type("bytea")


def uuids(values: Sequence[UUID]) -> Array:
    """A uuid[]."""
    return _Uuids.of(len(values), [_UUID_LENGTH + value.int.to_bytes(16) for value in values])


def nullable_uuids(values: Sequence[UUID | None]) -> Array:
    """The same with NULLs."""
    elements = [_NULL if v is None else _UUID_LENGTH + v.int.to_bytes(16) for v in values]
    return _Uuids.of(len(values), elements, nullable=True)


def integers(values: Sequence[int]) -> Array:
    """A bigint[]. Raises struct.error for what is none."""
    return _Integers.of(len(values), map(_INTEGER, repeat(_INTEGER_BYTES), values))


def nullable_integers(values: Sequence[int | None]) -> Array:
    """The same with NULLs."""
    elements = [_NULL if value is None else _INTEGER(_INTEGER_BYTES, value) for value in values]
    return _Integers.of(len(values), elements, nullable=True)


def texts(values: Sequence[str | None]) -> Array:
    """A text[] with or without NULLs. Raises UnicodeEncodeError for what is no Unicode."""
    elements = [_NULL if value is None else _sized(value.encode()) for value in values]
    return _Texts.of(len(values), elements, nullable=True)


def utf8(values: Sequence[bytes]) -> Array:
    """A text[] of texts that are encoded already."""
    return _Texts.of(len(values), map(_sized, values))


def jsons(values: Sequence[bytes]) -> Array:
    """A jsonb[]."""
    return _Jsons.of(len(values), [_sized(_JSONB_VERSION + value) for value in values])


def times(values: Sequence[datetime]) -> Array:
    """A timestamptz[]."""
    return _Times.of(len(values), map(_time, values))


def binaries(values: Sequence[bytes]) -> Array:
    """A bytea[]."""
    return _Binaries.of(len(values), map(_sized, values))


def _sized(value: bytes) -> bytes:
    return _LENGTH(len(value)) + value


@lru_cache(maxsize=MAX_CACHED_TIMES)
def _time(value: datetime) -> bytes:
    return _INTEGER(_INTEGER_BYTES, (value - _EPOCH) // _MICROSECOND)
