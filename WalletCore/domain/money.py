"""Money: currencies, and amounts between the wire and the ledger.

On the wire an amount is an exact decimal; inside it is an integer of minor units (cents for USD).
No binary float anywhere: ``0.1 + 0.2`` never happens here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact

from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CurrencyUnknown,
)

MAX_AMOUNT_MINOR = 10**18
"""Every amount, balance and limit is within ±10^18 minor units; BIGINT ends at 9.2 * 10^18, so the
sum of any two never overflows the database."""

MAX_AMOUNT_CHARACTERS = 64
"""The longest text that is looked at as an amount; the largest legal one takes 24."""

MAX_EXPONENT = 8
"""The most decimals that a currency may have (a satoshi is 10^-8)."""

_MAX_ADJUSTED = 18
"""The power of ten of the first digit of 10^18 in a currency without decimals."""

_EXACT = Context(prec=128, traps=[Inexact])
"""More digits than any legal amount; a result that would need rounding raises instead."""

_AMOUNT = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?", re.ASCII)
_CODE = re.compile(r"[A-Z][A-Z0-9]{2,11}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency: ``code`` (``USD``, ``COIN``) and ``exponent``, its number of decimals."""

    code: str
    exponent: int

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise ValueError(
                f"currency code {self.code!r}: 3 to 12 capital letters or digits, a letter first"
            )
        if not 0 <= self.exponent <= MAX_EXPONENT:
            raise ValueError(
                f"currency {self.code}: between 0 and {MAX_EXPONENT} decimals, not {self.exponent}"
            )


class Currencies:
    """The currencies that this deployment knows, by code. Immutable once made."""

    def __init__(self, known: Iterable[Currency]) -> None:
        self._known: Mapping[str, Currency] = {currency.code: currency for currency in known}

    def __getitem__(self, code: str) -> Currency:
        """The currency of this code. Raises CurrencyUnknown."""
        currency = self._known.get(code)
        if currency is None:
            raise CurrencyUnknown(
                f"The currency {code[:20]!r} is not known here: use a code of ISO 4217 such as "
                "USD, or add your own to COFFER_CURRENCIES."
            )
        return currency

    def __iter__(self) -> Iterator[Currency]:
        return iter(self._known.values())

    def __len__(self) -> int:
        return len(self._known)


def parse_decimal(value: object) -> Decimal:
    """The exact decimal of a JSON number or string, of either sign.

    Takes ``str`` (ASCII digits, an optional sign and point), ``int`` and ``Decimal``; a ``bool``
    or a ``float`` is refused. Raises AmountInvalid, or AmountOutOfRange for what no currency holds.
    """
    if isinstance(value, str):
        if len(value) > MAX_AMOUNT_CHARACTERS or not _AMOUNT.fullmatch(value):
            raise AmountInvalid(
                'An amount as a string is digits with an optional point: "10" or "10.50".'
            )
        number = Decimal(value)
    elif isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise AmountInvalid('An amount is a JSON number or a string: 10.5 or "10.50".')
    elif isinstance(value, int):
        if abs(value) > MAX_AMOUNT_MINOR:
            raise _out_of_range()
        number = Decimal(value)
    else:
        number = value
    if not number.is_finite():
        raise AmountInvalid("An amount is a finite number; NaN and Infinity are not.")
    if number and number.adjusted() > _MAX_ADJUSTED:
        raise _out_of_range()
    return number


def to_minor(amount: Decimal, currency: Currency) -> int:
    """``amount`` (major units) in minor units of ``currency``: exact, either sign.

    Raises AmountTooPrecise if it has more decimals than the currency (``10.500`` counts by its
    value), AmountOutOfRange beyond 10^18 minor units.
    """
    if not amount:
        return 0
    # Both bounds come before any arithmetic: 1e999999 would be a million digits as an integer.
    if amount.adjusted() > _MAX_ADJUSTED:
        raise _out_of_range()
    if amount.adjusted() < -currency.exponent:
        raise _too_precise(currency)
    try:
        scaled = amount.scaleb(currency.exponent, _EXACT)
    except Inexact:
        raise _too_precise(currency) from None
    value, denominator = scaled.as_integer_ratio()
    if denominator != 1:
        raise _too_precise(currency)
    if abs(value) > MAX_AMOUNT_MINOR:
        raise _out_of_range()
    return value


def parse_amount(value: object, currency: Currency) -> int:
    """A JSON value as minor units of ``currency``: parse_decimal, then to_minor."""
    return to_minor(parse_decimal(value), currency)


def format_amount(amount_minor: int, currency: Currency) -> str:
    """Minor units as the string on the wire: 1050 of USD is ``"10.50"``, -5 is ``"-0.05"``."""
    exponent = currency.exponent
    if exponent == 0:
        return str(amount_minor)
    # Of digits with a sign, zeros are put in behind it: "-5" becomes "-005".
    digits = str(amount_minor).zfill(exponent + (2 if amount_minor < 0 else 1))
    return f"{digits[:-exponent]}.{digits[-exponent:]}"


def _out_of_range() -> AmountOutOfRange:
    return AmountOutOfRange("An amount is at most 10^18 minor units of its currency.")


def _too_precise(currency: Currency) -> AmountTooPrecise:
    return AmountTooPrecise(
        f"{currency.code} has {currency.exponent} decimals; the amount has more. Round it first."
    )
