"""Money between the wire and the ledger: exact, bounded, and never a float."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CurrencyUnknown,
)
from WalletCore.domain.money import (
    MAX_AMOUNT_CHARACTERS,
    MAX_AMOUNT_MINOR,
    MAX_EXPONENT,
    Currencies,
    Currency,
    format_amount,
    parse_amount,
    parse_decimal,
    to_minor,
)

COIN = Currency("COIN", 0)
JPY = Currency("JPY", 0)
USD = Currency("USD", 2)
KWD = Currency("KWD", 3)
FINE = Currency("FINE", MAX_EXPONENT)

currencies = st.builds(Currency, st.just("TEST"), st.integers(0, MAX_EXPONENT))
amounts_minor = st.integers(-MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR)


@given(amounts_minor, currencies)
def test_what_is_written_is_read_back(amount_minor: int, currency: Currency) -> None:
    assert parse_amount(format_amount(amount_minor, currency), currency) == amount_minor


@given(amounts_minor, currencies)
def test_a_decimal_is_the_same_amount_as_its_text(amount_minor: int, currency: Currency) -> None:
    number = Decimal(amount_minor).scaleb(-currency.exponent)
    assert parse_amount(number, currency) == amount_minor
    assert Decimal(format_amount(amount_minor, currency)) == number


@given(amounts_minor, currencies, st.integers(0, 20))
def test_zeros_at_the_end_change_nothing(amount_minor: int, currency: Currency, zeros: int) -> None:
    text = format_amount(amount_minor, currency)
    if currency.exponent == 0:
        text += "."
    assert parse_amount((text + "0" * zeros).removesuffix("."), currency) == amount_minor
    assert to_minor(Decimal(text + "0" * zeros), currency) == amount_minor


@given(amounts_minor, currencies)
def test_an_amount_has_exactly_the_decimals_of_its_currency(
    amount_minor: int, currency: Currency
) -> None:
    whole, point, decimals = format_amount(amount_minor, currency).partition(".")
    assert len(decimals) == currency.exponent
    assert bool(point) == bool(currency.exponent)
    assert whole.removeprefix("-").isdecimal()
    assert whole == "0" or not whole.removeprefix("-").startswith("00")


@given(amounts_minor, currencies, st.integers(1, 9), st.integers(1, 12))
def test_a_digit_below_the_minor_unit_is_refused(
    amount_minor: int, currency: Currency, digit: int, further: int
) -> None:
    text = format_amount(amount_minor, currency)
    if currency.exponent == 0:
        text += "."
    text += "0" * (further - 1) + str(digit)
    with pytest.raises((AmountTooPrecise, AmountOutOfRange)):
        parse_amount(text, currency)


@given(st.integers(min_value=MAX_AMOUNT_MINOR + 1, max_value=10**40 - 1), currencies)
def test_beyond_the_bound_is_refused(amount_minor: int, currency: Currency) -> None:
    for signed in (amount_minor, -amount_minor):
        number = Decimal(signed).scaleb(-currency.exponent)
        for value in (number, format_amount(signed, currency)):
            with pytest.raises(AmountOutOfRange):
                parse_amount(value, currency)


@given(st.decimals(allow_nan=True, allow_infinity=True), currencies)
def test_any_decimal_is_exact_or_refused(number: Decimal, currency: Currency) -> None:
    try:
        amount_minor = parse_amount(number, currency)
    except AmountInvalid:
        return
    assert abs(amount_minor) <= MAX_AMOUNT_MINOR
    assert Decimal(amount_minor).scaleb(-currency.exponent) == number


@given(st.text(max_size=80), currencies)
def test_any_text_is_exact_or_refused(text: str, currency: Currency) -> None:
    try:
        amount_minor = parse_amount(text, currency)
    except AmountInvalid:
        return
    assert text.isascii()
    assert Decimal(amount_minor).scaleb(-currency.exponent) == Decimal(text)


@given(st.lists(st.integers(1, 10**12), max_size=30))
def test_sums_in_minor_units_are_the_sums_of_the_decimals(parts_minor: list[int]) -> None:
    total_minor = sum(parts_minor)
    total = sum((Decimal(format_amount(part, USD)) for part in parts_minor), Decimal(0))
    assert Decimal(format_amount(total_minor, USD)) == total


@pytest.mark.parametrize(
    ("value", "currency", "amount_minor"),
    [
        ("10.50", USD, 1050),
        ("10.5", USD, 1050),
        ("10.500", USD, 1050),
        (Decimal("10.500"), USD, 1050),
        (Decimal("1E+2"), USD, 10_000),
        (Decimal("1250E-2"), USD, 1250),
        (10, USD, 1000),
        (10, COIN, 10),
        ("00010.50", USD, 1050),
        ("-0.05", USD, -5),
        ("0", USD, 0),
        ("-0", USD, 0),
        (Decimal("-0.0"), USD, 0),
        (Decimal("0E+999999"), USD, 0),
        (Decimal("0E-999999"), USD, 0),
        ("100.0", JPY, 100),
        ("0.001", KWD, 1),
        ("0.00000001", FINE, 1),
        ("90071992547409.93", USD, 9_007_199_254_740_993),
        (Decimal("90071992547409.93"), USD, 9_007_199_254_740_993),
        (2**53 + 1, COIN, 2**53 + 1),
        ("10000000000000000.00", USD, MAX_AMOUNT_MINOR),
        (MAX_AMOUNT_MINOR, COIN, MAX_AMOUNT_MINOR),
        (-MAX_AMOUNT_MINOR, COIN, -MAX_AMOUNT_MINOR),
        (Decimal("1E+18"), COIN, MAX_AMOUNT_MINOR),
        ("10000000000.00000000", FINE, MAX_AMOUNT_MINOR),
        (Decimal("1." + "0" * 1000), USD, 100),
    ],
)
def test_amounts_that_are_taken(value: object, currency: Currency, amount_minor: int) -> None:
    assert parse_amount(value, currency) == amount_minor


@pytest.mark.parametrize(
    ("value", "currency"),
    [
        ("10.005", USD),
        (Decimal("10.005"), USD),
        ("0.1", JPY),
        ("0.0001", KWD),
        (Decimal("1E-30"), USD),
        (Decimal("1E-999999"), USD),
        (Decimal("9" * 100 + "E-99"), USD),
        (Decimal("1." + "0" * 1000 + "1"), USD),
    ],
)
def test_amounts_that_are_too_precise(value: object, currency: Currency) -> None:
    with pytest.raises(AmountTooPrecise, match=currency.code) as caught:
        parse_amount(value, currency)
    assert caught.value.code == "amount_too_precise"


@pytest.mark.parametrize(
    ("value", "currency"),
    [
        (MAX_AMOUNT_MINOR + 1, COIN),
        (-MAX_AMOUNT_MINOR - 1, COIN),
        (MAX_AMOUNT_MINOR, USD),
        ("10000000000000000.01", USD),
        ("-10000000000000000.01", USD),
        (Decimal("1E+30"), COIN),
        (Decimal("1E+999999"), COIN),
        (Decimal("-1E+999999"), COIN),
        ("9" * 40, COIN),
        (10**4000, COIN),
    ],
)
def test_amounts_that_are_out_of_range(value: object, currency: Currency) -> None:
    with pytest.raises(AmountOutOfRange) as caught:
        parse_amount(value, currency)
    assert caught.value.code == "amount_out_of_range"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "ten",
        "1e2",
        "+1",
        "--1",
        " 1",
        "1 ",
        "1\n",
        "1.",
        ".5",
        "-",
        "1,5",
        "1_000",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "\u0661\u0660",
        "\uff11",
        "1\u0000",
        "0" * (MAX_AMOUNT_CHARACTERS + 1),
        True,
        False,
        None,
        1.5,
        float("nan"),
        [],
        {},
        b"1",
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
    ],
)
def test_what_is_no_amount(value: Any) -> None:
    with pytest.raises(AmountInvalid) as caught:
        parse_decimal(value)
    assert caught.value.code == "amount_invalid"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [
        (0, USD, "0.00"),
        (0, COIN, "0"),
        (5, USD, "0.05"),
        (-5, USD, "-0.05"),
        (1050, USD, "10.50"),
        (-1, KWD, "-0.001"),
        (-7, JPY, "-7"),
        (MAX_AMOUNT_MINOR, USD, "10000000000000000.00"),
        (2 * MAX_AMOUNT_MINOR, COIN, "2000000000000000000"),
        (1, FINE, "0.00000001"),
    ],
)
def test_how_amounts_are_written(amount_minor: int, currency: Currency, text: str) -> None:
    assert format_amount(amount_minor, currency) == text


@pytest.mark.parametrize(
    "code", ["", "US", "usd", "1USD", "US D", "USD\n", "ABCDEFGHIJKLM", "\uff35SD"]
)
def test_codes_that_no_currency_has(code: str) -> None:
    with pytest.raises(ValueError, match="capital letters"):
        Currency(code, 2)


@pytest.mark.parametrize("exponent", [-1, MAX_EXPONENT + 1])
def test_decimals_that_no_currency_has(exponent: int) -> None:
    with pytest.raises(ValueError, match="decimals"):
        Currency("USD", exponent)


def test_currencies_are_found_by_code() -> None:
    known = Currencies([USD, COIN])
    assert known["USD"] is USD
    assert list(known) == [USD, COIN]
    assert len(known) == 2
    for code in ("ZZZ", "usd", "", "x" * 10_000):
        with pytest.raises(CurrencyUnknown) as caught:
            known[code]
        assert len(caught.value.detail) < 200
