"""Searching operations across wallets: what is asked for, and what both stores agree on.

The order is that of the operations' ids, the newest first. They are UUIDv7 and so in the order of
the moments at which the operations were asked for, a little before their ``created_at``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from WalletCore.cursor import decode_cursor, encode_cursor
from WalletCore.domain.errors import CursorInvalid
from WalletCore.domain.model import Document, Entry, OperationType, Wallet
from WalletCore.domain.money import MAX_AMOUNT_MINOR

LISTING: Final = "search"

MAX_DONE_AFTER_ASKED_SECONDS: Final = 60
"""How much later than its id says an operation may have been done: what a command waits in the
queue and for its transaction, and a half of it more for clocks of machines that differ."""

MAX_ASKED_AFTER_DONE_SECONDS: Final = 5
"""How much earlier: a clock that is set back between the two."""

MAX_ID_MILLISECONDS: Final = 2**48 - 1
"""The last moment that a UUIDv7 can name."""

_BITS_BELOW_MILLISECONDS: Final = 80
"""Of a UUIDv7."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Place: TypeAlias = tuple[UUID, UUID]
"""An entry's place in the order: the ids of its operation and, where that has two, its wallet."""

LAST_PLACE: Final[Place] = (UUID(int=2**128 - 1), UUID(int=2**128 - 1))
FIRST_ID: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which operations; all conditions together, None means any.

    ``metadata``: what theirs must contain, see ``contains``. ``least_minor``, ``most_minor``: of
    the amount, both inclusive, in minor units of ``currency``. ``since`` is inclusive, ``until`` is
    not. ``owner``: of the wallet.
    """

    reference: str | None = None
    metadata: Document | None = None
    least_minor: int = 0
    most_minor: int = MAX_AMOUNT_MINOR
    currency: str | None = None
    operation_type: OperationType | None = None
    since: datetime | None = None
    until: datetime | None = None
    owner: str | None = None

    def matches(self, entry: Entry, wallet: Wallet) -> bool:
        """Whether ``entry``, of ``wallet``, is wanted."""
        return (
            self.reference in (None, entry.reference)
            and self.operation_type in (None, entry.operation_type)
            and self.currency in (None, wallet.currency.code)
            and self.owner in (None, wallet.owner)
            and self.least_minor <= abs(entry.delta_minor) <= self.most_minor
            and (self.since is None or entry.created_at >= self.since)
            and (self.until is None or entry.created_at < self.until)
            and (self.metadata is None or contains(entry.metadata, self.metadata))
        )

    @property
    def first_id(self) -> UUID:
        """No wanted operation has an id below this one."""
        return FIRST_ID if self.since is None else _id_at(self.since, -MAX_DONE_AFTER_ASKED_SECONDS)

    @property
    def end(self) -> Place:
        """Every wanted operation comes before this place."""
        if self.until is None:
            return LAST_PLACE
        return _id_at(self.until, MAX_ASKED_AFTER_DONE_SECONDS), FIRST_ID


def contains(held: Any, wanted: Any) -> bool:
    """Whether the JSON value ``held`` contains ``wanted``, as jsonb's ``@>`` has it.

    An object contains what has some of its members, an array what has some of its items in any
    order and number, each compared in the same way; a scalar contains its equal. An object's member
    that is an array does not contain the bare item.
    https://www.postgresql.org/docs/current/datatype-json.html#JSON-CONTAINMENT
    """
    if isinstance(wanted, dict):
        return isinstance(held, dict) and all(
            name in held and contains(held[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(held, list) and all(
            any(contains(item, value) for item in held) for value in wanted
        )
    # To Python alone, 1 and true are equal.
    return type(held) is type(wanted) and bool(held == wanted)


def has_scalar(value: Any) -> bool:
    """Whether there is anything in ``value`` but objects and arrays: an index has only scalars."""
    if isinstance(value, dict):
        return any(map(has_scalar, value.values()))
    if isinstance(value, list):
        return any(map(has_scalar, value))
    return True


def place_of(entry: Entry) -> Place:
    """Where ``entry`` stands in the order."""
    return entry.operation_id, entry.wallet_id


def encode_place(place: Place) -> str:
    """The cursor of what comes after ``place``."""
    return encode_cursor(LISTING, *map(str, place))


def decode_place(cursor: str) -> Place:
    """The place that encode_place was given. Raises CursorInvalid."""
    operation_id, wallet_id = decode_cursor(LISTING, cursor, str, str)
    try:
        return UUID(operation_id), UUID(wallet_id)
    except ValueError:
        raise CursorInvalid(
            "Send next_cursor of an earlier answer as it came, or leave cursor out."
        ) from None


def veiled(rest: Place, start: Place, last: Place) -> Place:
    """A place for the cursor where that of ``rest`` would name an entry of somebody else.

    ``last``: of the last entry that was found between ``start`` and ``rest``, otherwise ``start``.
    From the end of the millisecond of ``rest`` on some entries are looked at twice, and none is
    found twice. More entries in one millisecond than are looked at would be no way forward.
    """
    end_of_millisecond = UUID(int=rest[0].int | (1 << _BITS_BELOW_MILLISECONDS) - 1)
    hidden = min((end_of_millisecond, LAST_PLACE[1]), last)
    return hidden if hidden < start else rest


def _id_at(moment: datetime, seconds: int) -> UUID:
    """The smallest UUIDv7 of ``seconds`` after ``moment``: 48 bits of milliseconds come first.

    https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
    """
    milliseconds = (moment - _EPOCH) // _MILLISECOND + seconds * 1000
    return UUID(int=min(max(milliseconds, 0), MAX_ID_MILLISECONDS) << _BITS_BELOW_MILLISECONDS)
