"""Amounts as people type them, read by the very module that the pages use."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

AMBIGUOUS = "amount.ambiguous"

READ = [
    ("12", 2, "12"),
    (" 12 ", 2, "12"),
    ("0012", 2, "12"),
    ("10.5", 2, "10.5"),
    ("10,5", 2, "10.5"),
    ("10.50", 2, "10.50"),
    ("10.500", 2, AMBIGUOUS),
    ("0.500", 2, "0.50"),
    (".5", 2, "0.5"),
    ("12.", 2, "12"),
    ("1 234,50", 2, "1234.50"),
    ("1\u00a0234,50", 2, "1234.50"),
    ("1\u202f234\u202f567,5", 2, "1234567.5"),
    ("1'234.50", 2, "1234.50"),
    ("1,234.50", 2, "1234.50"),
    ("1.234,50", 2, "1234.50"),
    ("1,234,567", 2, "1234567"),
    ("1.234.567,89", 2, "1234567.89"),
    ("1234.500", 2, "1234.50"),
    ("1 234,500", 2, "1234.50"),
    ("90071992547409.93", 2, "90071992547409.93"),
    ("1,234", 2, AMBIGUOUS),
    ("1.234", 2, AMBIGUOUS),
    ("999.000", 0, AMBIGUOUS),
    ("1.234", 3, "1.234"),
    ("1,234", 3, AMBIGUOUS),
    ("1,234.500", 3, "1234.500"),
    ("12,34", 3, "12.34"),
    ("1,234", 0, AMBIGUOUS),
    ("0.001", 2, "amount.too_precise"),
    ("1.005", 2, AMBIGUOUS),
    ("10.005", 1, AMBIGUOUS),
    ("1234.567", 2, "amount.too_precise"),
    ("10.55", 1, "amount.too_precise"),
    ("10.5", 0, "amount.whole_only"),
    ("10.0", 0, "10"),
    ("-5", 2, "-5"),
    ("\u22125", 2, "-5"),
    ("- 5", 2, "-5"),
    ("+5", 2, "5"),
    ("", 2, "amount.missing"),
    ("   ", 2, "amount.missing"),
    ("abc", 2, "amount.not_a_number"),
    ("1e5", 2, "amount.not_a_number"),
    ("12 usd", 2, "amount.not_a_number"),
    (".", 2, "amount.not_a_number"),
    ("1..5", 2, "amount.not_a_number"),
    ("12,34,567", 2, "amount.not_a_number"),
    ("1.2345,6", 2, "amount.not_a_number"),
    ("1,234.5,6", 2, "amount.not_a_number"),
    ("1 23", 2, "amount.not_a_number"),
    ("12 34.5", 2, "amount.not_a_number"),
    ("10.5 0", 2, "amount.not_a_number"),
    ("--5", 2, "amount.not_a_number"),
    ("٣", 2, "amount.not_a_number"),
]

LIMITS = [
    ("250", "-250"),
    ("-250", "-250"),
    ("\u22121 000,5", "-1000.5"),
    ("0", "0"),
    ("-0.00", "0"),
]

SHOWN = [
    ("1234567.50", "en", "1,234,567.50"),
    ("1234567.50", "ru", "1\u00a0234\u00a0567,50"),
    ("-1234.5", "en", "\u22121,234.5"),
    ("0.00", "ru", "0,00"),
    ("123", "en", "123"),
    ("1234", "en", "1,234"),
    ("90071992547409931234.99", "en", "90,071,992,547,409,931,234.99"),
]

CALL = """async ([name, rows]) => {
  const money = await import("/static/console/money.js");
  return rows.map((given) => {
    try { return money[name](...given); }
    catch (error) { if (error.code) return error.code; throw error; }
  });
}"""


def call(page: Page, name: str, rows: list[tuple[Any, ...]]) -> list[Any]:
    answers: list[Any] = page.evaluate(CALL, [name, [[*row] for row in rows]])
    return answers


def test_amounts_are_read_exactly_or_not_at_all(page: Page) -> None:
    answers = call(page, "parseAmount", [(typed, decimals) for typed, decimals, _ in READ])
    assert list(zip([typed for typed, _, _ in READ], answers, strict=True)) == [
        (typed, wanted) for typed, _, wanted in READ
    ]


def test_a_lower_limit_needs_no_minus(page: Page) -> None:
    assert call(page, "parseCreditLimit", [(typed, 2) for typed, _ in LIMITS]) == [
        wanted for _, wanted in LIMITS
    ]


def test_amounts_are_shown_with_all_their_digits(page: Page) -> None:
    answers = call(page, "formatAmount", [(amount, language) for amount, language, _ in SHOWN])
    assert answers == [wanted for _, _, wanted in SHOWN]


def test_what_is_shown_is_read_again_as_the_same(page: Page) -> None:
    amounts = ["0.00", "10.50", "1234.50", "1234567.89", "-250.00", "90071992547409.93"]
    for language in ("en", "ru"):
        shown = call(page, "formatAmount", [(amount, language) for amount in amounts])
        assert call(page, "parseAmount", [(text, 2) for text in shown]) == amounts


def test_three_decimals_are_read_by_the_sign_of_the_language(page: Page) -> None:
    rows = [("1,234", 3, "ru"), ("1.234", 3, "ru"), ("1.234", 3, "en"), ("1,234", 3, "en")]
    assert call(page, "parseAmount", rows) == ["1.234", AMBIGUOUS, "1.234", AMBIGUOUS]


def test_what_stands_in_a_field_is_read_as_the_same(page: Page) -> None:
    for amount, decimals in (("1234", 0), ("-1234.50", 2), ("1.234", 3), ("999.000", 3)):
        for language in ("en", "ru"):
            [shown] = call(page, "typeAmount", [(amount, language)])
            assert call(page, "parseAmount", [(shown, decimals, language)]) == [amount]


def test_decimals_and_zero_are_those_of_the_digits(page: Page) -> None:
    assert call(page, "decimalsOf", [("0.00",), ("5",), ("-1.234",)]) == [2, 0, 3]
    assert call(page, "isZero", [("0.00",), ("0",), ("0.01",), ("-10.00",)]) == [
        True,
        True,
        False,
        False,
    ]
