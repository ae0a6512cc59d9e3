"""A statement as JSON and as CSV, in parts: each part has one slice of it, whatever its length.

What comes last says that the whole is there: ``totals`` and ``closing_balance`` in JSON, the row
``closing`` in CSV. An answer without that was cut.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import orjson

from RestAPI.reading import JSON_TYPE
from WalletCore.domain.model import Entry, operation_document, rfc3339
from WalletCore.domain.money import format_amount
from WalletCore.statements import Statement

CSV_MEDIA_TYPE: Final = "text/csv"
CSV_TYPE: Final = f"{CSV_MEDIA_TYPE}; charset=utf-8; header=present"
"""https://www.rfc-editor.org/rfc/rfc4180"""

CSV_COLUMNS: Final = (
    "row",
    "time",
    "wallet_id",
    "currency",
    "seq",
    "id",
    "operation_type",
    "credit",
    "debit",
    "balance",
    "reference",
    "description",
    "metadata",
)

_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|'")

Write: TypeAlias = Callable[[Statement], Iterator[bytes]]


class Format(StrEnum):
    """How a statement is written."""

    JSON = "json"
    CSV = "csv"


@dataclass(slots=True)
class Totals:
    """What came in and what went out so far, in minor units, each positive."""

    credits_minor: int = 0
    debits_minor: int = 0
    count: int = 0

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.count += 1
        if entry.delta_minor > 0:
            self.credits_minor += entry.delta_minor
        else:
            self.debits_minor -= entry.delta_minor


def json_parts(statement: Statement) -> Iterator[bytes]:
    """The statement as one JSON object; what is added up comes after the entries."""
    currency = statement.currency
    since = None if statement.since is None else rfc3339(statement.since)
    head = {
        "wallet_id": str(statement.wallet_id),
        "currency": currency.code,
        "from": since,
        "to": rfc3339(statement.until),
        "opening_balance": format_amount(statement.opening_minor, currency),
    }
    totals = Totals()
    text = orjson.dumps(head)[:-1] + b',"entries":['
    for entries in statement.slices():
        comma = b"," if totals.count else b""
        for entry in entries:
            totals.add(entry)
        documents = [operation_document(entry, currency) for entry in entries]
        yield text + comma + orjson.dumps(documents)[1:-1]
        text = b""
    tail = {
        "totals": {
            "credits": format_amount(totals.credits_minor, currency),
            "debits": format_amount(totals.debits_minor, currency),
            "count": totals.count,
        },
        "closing_balance": format_amount(statement.closing_minor, currency),
    }
    yield text + b"]," + orjson.dumps(tail)[1:]


def csv_parts(statement: Statement) -> Iterator[bytes]:
    """The statement as CSV: a header, the opening balance, the entries, the closing balance.

    ``credit`` and ``debit`` of the last row are the totals.
    """
    currency = statement.currency
    always = {"wallet_id": str(statement.wallet_id), "currency": currency.code}
    opening = {
        **always,
        "row": "opening",
        "time": "" if statement.since is None else rfc3339(statement.since),
        "balance": format_amount(statement.opening_minor, currency),
    }
    totals = Totals()
    text = _lines([dict(zip(CSV_COLUMNS, CSV_COLUMNS, strict=True)), opening])
    for entries in statement.slices():
        for entry in entries:
            totals.add(entry)
        yield text + _lines({**always, **_row(entry, statement)} for entry in entries)
        text = b""
    closing = {
        **always,
        "row": "closing",
        "time": rfc3339(statement.until),
        "credit": format_amount(totals.credits_minor, currency),
        "debit": format_amount(totals.debits_minor, currency),
        "balance": format_amount(statement.closing_minor, currency),
    }
    yield text + _lines([closing])


def _row(entry: Entry, statement: Statement) -> dict[str, str]:
    side = "credit" if entry.delta_minor > 0 else "debit"
    return {
        "row": "operation",
        "time": rfc3339(entry.created_at),
        "seq": str(entry.seq),
        "id": str(entry.operation_id),
        "operation_type": entry.operation_type.value,
        side: format_amount(abs(entry.delta_minor), statement.currency),
        "balance": format_amount(entry.balance_after_minor, statement.currency),
        "reference": plain_cell(entry.reference),
        "description": plain_cell(entry.description),
        "metadata": orjson.dumps(entry.metadata).decode(),
    }


def plain_cell(text: str | None) -> str:
    """``text`` so that no spreadsheet takes it for a formula: with an apostrophe before it if it
    begins like one, or with an apostrophe, so that taking one away always gives the text again.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if text is None:
        return ""
    return f"'{text}" if _FORMULA.match(text) else text


def _lines(rows: Iterable[Mapping[str, str]]) -> bytes:
    written = io.StringIO()
    csv.DictWriter(written, CSV_COLUMNS, lineterminator="\r\n").writerows(rows)
    return written.getvalue().encode()


WRITERS: Final[Mapping[Format, tuple[Write, str]]] = {
    Format.JSON: (json_parts, JSON_TYPE),
    Format.CSV: (csv_parts, CSV_TYPE),
}
"""How each format is written, and its Content-Type."""
