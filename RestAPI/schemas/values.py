"""Reading single values of a request: each function takes what JSON or a URL gave, or says no.

A ValueError becomes one of the listed ``errors`` of a ``validation_failed``; an AmountInvalid is
none, so that it passes Pydantic with a code of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from unicodedata import category, normalize
from uuid import UUID

import orjson
from pydantic import ValidationInfo

from WalletCore.domain.errors import AmountInvalid
from WalletCore.domain.model import Document, OperationType
from WalletCore.domain.money import parse_decimal
from WalletCore.shop import MAX_NAME_CHARACTERS

ORDERED_TYPES: Final = (OperationType.DEPOSIT.value, OperationType.WITHDRAW.value)
"""What an order of one wallet may be; the other types have endpoints of their own."""

MORE_IN_NAMES: Final = "._-@+"
"""What a user's name may have beside letters and digits."""

MAX_METADATA_BYTES: Final = 4096
MAX_METADATA_DEPTH: Final = 8
MAX_METADATA_INTEGER: Final = 2**53
"""Up to here every JSON reader keeps an integer exactly, JavaScript's too (RFC 8259, section 6)."""

MAX_INTEGER_DIGITS: Final = 18
"""Of a whole number that is written with a point or an exponent."""

UUID_PATTERN: Final = (
    r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
)
LEAP_SECOND: Final = 60
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

_UUID = re.compile(UUID_PATTERN.strip("^$"), re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)


def parse_uuid(text: str) -> UUID:
    """The id of the usual form with hyphens. Raises ValueError for everything else."""
    if not _UUID.fullmatch(text):
        raise ValueError("This must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057.")
    return UUID(text)


def given_uuid(value: object) -> UUID:
    """The same for whatever JSON gave."""
    return parse_uuid(value if isinstance(value, str) else "")


def parse_time(text: object) -> datetime:
    """An RFC 3339 date-time with its offset, in UTC. Raises ValueError.

    A leap second counts as the second after it; a time outside of the years 1970 to 9999, where
    nothing can have happened, counts as the nearest moment inside. Digits after the sixth of a
    second are cut off.
    """
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(
            "This must be an RFC 3339 time with an offset, such as 2030-01-31T12:00:00Z "
            '(in a URL the "+" of an offset is written %2B).'
        )
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
    if int(offset_minutes or 0) > 59:
        raise ValueError("The minutes of an offset end at 59.")
    leap = timedelta(seconds=1) if second == LEAP_SECOND else timedelta()
    moment = datetime(
        year,
        month,
        day,
        hour,
        minute,
        59 if leap else second,
        int((fraction or "0")[:6].ljust(6, "0")),
        timezone(-offset if sign == "-" else offset),
    )
    try:
        return max(EARLIEST, (moment + leap).astimezone(UTC))
    except OverflowError:
        return EARLIEST if year == 1 else LATEST


def no_nul(text: str) -> str:
    """``text``, which must not hold NUL: PostgreSQL cannot keep it."""
    if "\x00" in text:
        raise ValueError("The character NUL cannot be kept; leave it out.")
    return text


def positive_amount(value: object, info: ValidationInfo) -> Decimal:
    """An amount that moves. Raises AmountInvalid or AmountOutOfRange, with its place."""
    return positive(value, f"body.{info.field_name}")


def optional_amount(value: object, info: ValidationInfo) -> Decimal | None:
    """The same, or None."""
    return None if value is None else positive_amount(value, info)


def positive(value: object, where: str) -> Decimal:
    """The same for what stands at ``where``."""
    amount = _decimal(value, where)
    if amount <= 0:
        raise _amount_error(AmountInvalid("The amount must be more than zero."), where)
    return amount


def credit_limit(value: object, info: ValidationInfo) -> Decimal:
    """A ``min_balance``. Raises AmountInvalid or AmountOutOfRange, with its place."""
    where = f"body.{info.field_name}"
    amount = _decimal(value, where)
    if amount > 0:
        raise _amount_error(
            AmountInvalid("min_balance is at most 0; below 0 it is a credit limit."), where
        )
    return amount


def ceiling(value: object, info: ValidationInfo) -> Decimal | None:
    """A ``max_balance``, or None. Raises AmountInvalid or AmountOutOfRange, with its place."""
    if value is None:
        return None
    where = f"body.{info.field_name}"
    amount = _decimal(value, where)
    if amount < 0:
        raise _amount_error(AmountInvalid("max_balance is at least 0."), where)
    return amount


def _decimal(value: object, where: str) -> Decimal:
    try:
        return parse_decimal(value)
    except AmountInvalid as error:
        raise _amount_error(error, where) from None


def _amount_error(error: AmountInvalid, where: str) -> AmountInvalid:
    """``error`` with its place. It is no ValueError, so that it passes Pydantic with its code."""
    return type(error)(error.detail, errors=[{"where": where, "what": error.detail}])


def operation_type(value: object) -> OperationType:
    """The name of an operation's type in any case. Raises ValueError."""
    # Outside of ASCII other letters have these capitals, too: "depo\u017fit".
    if isinstance(value, str) and value.isascii() and value.upper() in OperationType.__members__:
        return OperationType[value.upper()]
    raise ValueError(f"This must be one of {', '.join(OperationType)}.")


def ordered_type(value: object) -> OperationType:
    """DEPOSIT or WITHDRAW in any case. Raises ValueError."""
    if isinstance(value, str) and value.isascii() and value.upper() in ORDERED_TYPES:
        return OperationType[value.upper()]
    raise ValueError("This must be DEPOSIT or WITHDRAW.")


def whole_number(value: object) -> int:
    """A whole number in a body. Raises ValueError."""
    # The bound comes first: 1e9000000 would be nine million digits as an integer.
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and value.adjusted() < MAX_INTEGER_DIGITS
        and value == value.to_integral_value()
    ):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("This must be a whole number.")


def username(value: str) -> str:
    """A user's name in the one form in which it is compared. Raises ValueError."""
    name = normalize("NFC", value)
    # Of some letters this form is longer: U+FB2C has three characters in it.
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"A name has at most {MAX_NAME_CHARACTERS} characters, composed (NFC).")
    if not all(category(one)[0] in "LMN" or one in MORE_IN_NAMES for one in name):
        raise ValueError(f"A name is of letters, digits and {' '.join(MORE_IN_NAMES)} only.")
    return name


def query_integer(value: object) -> int:
    """A whole number as a URL writes it. Raises ValueError."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise ValueError("This must be a whole number.")


def query_flag(value: object) -> bool:
    """``true`` or ``false`` as a URL writes it. Raises ValueError."""
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("This must be true or false.")


def metadata(value: object) -> Document:
    """A JSON object that is kept exactly as it came. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("This must be an object.")
    if not value:
        return value
    kept = _kept_exactly(value, MAX_METADATA_DEPTH)
    size = len(orjson.dumps(kept))
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"Metadata is at most {MAX_METADATA_BYTES} bytes of JSON; this is {size}.")
    return kept  # type: ignore[no-any-return]  # a dict, because value is one


def _kept_exactly(value: Any, depth: int) -> Any:
    """``value`` as it will be answered later, or a ValueError if that could not be the same."""
    if isinstance(value, str):
        return no_nul(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < 20:
        value = int(value) if value == value.to_integral_value() else value
    if isinstance(value, int | Decimal):
        if isinstance(value, int) and abs(value) <= MAX_METADATA_INTEGER:
            return value
        raise ValueError(
            "Numbers in metadata are integers within 2^53, which every program reads exactly; "
            'send others as strings ("0.1").'
        )
    if depth == 0:
        raise ValueError(f"Metadata is nested at most {MAX_METADATA_DEPTH} deep.")
    if isinstance(value, dict):
        return {no_nul(name): _kept_exactly(item, depth - 1) for name, item in value.items()}
    return [_kept_exactly(item, depth - 1) for item in value]
