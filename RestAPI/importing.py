"""``python -m RestAPI import``: operations from a file, each with a key, so that running it again
changes nothing.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from RestAPI.bulk_items import FIRST_ERROR_STATUS, do_each
from RestAPI.caller import Caller
from RestAPI.problems import invalid
from RestAPI.reading import OPEN_SCOPE, parse_json
from RestAPI.reading_lines import MAX_LINE_BYTES
from RestAPI.schemas.bulk import MAX_BULK_ITEMS
from WalletCore.domain.errors import CofferError
from WalletCore.domain.origin import SHELL_ACTOR, Origin
from WalletCore.keys import ALL_SCOPES
from WalletCore.store import IdempotencyKey, Outcome, Store

SLICE_ROWS: Final = 500
"""Rows that are read, and done, together. Of what is only tried out later rows build on earlier
ones, so that it goes in parts as large as can be.
"""

MAX_LISTED_REFUSALS: Final = 1000
"""Rows that the report names; all are counted."""

CSV, NDJSON = ".csv", ".ndjson"


class CannotImport(Exception):
    """The file cannot be read as what it seems to be; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file: its ``line``, counted from 1, what it says, or what is wrong with it."""

    line: int
    item: object | CofferError


class Import:
    """One import of ``file`` into ``store``, called ``name``."""

    def __init__(self, store: Store, file: Path, name: str, *, dry_run: bool) -> None:
        self._caller = Caller(store, Origin(SHELL_ACTOR), ALL_SCOPES, OPEN_SCOPE)
        self._file = file
        self._name = name
        self._dry_run = dry_run
        self.done = self.before = self.refused = 0
        self.listed: list[str] = []
        self.codes: Counter[str] = Counter()

    def do(self, progress: Callable[[int], None]) -> None:
        """Do all rows. ``progress`` is told how many bytes more were read. Raises CannotImport."""
        rows = {CSV: _csv_rows, NDJSON: _ndjson_rows}.get(self._file.suffix.lower())
        if rows is None:
            raise CannotImport(f"{self._file.name} is neither a .csv nor a .ndjson file.")
        with self._file.open("rb") as file:
            read, behind = rows(file), 0
            size = MAX_BULK_ITEMS if self._dry_run else SLICE_ROWS
            while part := list(itertools.islice(read, size)):
                self._do(part)
                progress(file.tell() - behind)
                behind = file.tell()

    def _do(self, rows: list[Row]) -> None:
        given = [(row.line, row.item, f"line {row.line}") for row in rows]
        results = do_each(self._caller, given, self._key(), dry_run=self._dry_run)
        for row, outcome in zip(rows, results, strict=True):
            if outcome.status >= FIRST_ERROR_STATUS:
                self._refuse(row, outcome)
            elif outcome.replayed:
                self.before += 1
            else:
                self.done += 1

    def _key(self) -> IdempotencyKey:
        """Stands for one of each row, by its line."""
        name = hashlib.sha256(self._name.encode()).hexdigest()
        return IdempotencyKey(OPEN_SCOPE, f"import-{name}", b"")

    def _refuse(self, row: Row, outcome: Outcome) -> None:
        problem = orjson.loads(outcome.body)
        self.refused += 1
        self.codes[problem["code"]] += 1
        if len(self.listed) < MAX_LISTED_REFUSALS:
            self.listed.append(f"line {row.line}: {problem['code']}: {problem['detail']}")

    def report(self) -> Iterator[str]:
        """What became of it, for a person."""
        verb = "would be done" if self._dry_run else "done now"
        yield f"{self.done:,} {verb}, {self.before:,} done before, {self.refused:,} refused."
        if self.before and not self.done and not self._dry_run:
            yield f"Nothing is new in the import {self._name!r}; give another one another --name."
        yield from self.listed
        if self.refused > len(self.listed):
            yield f"and {self.refused - len(self.listed):,} more"
        for code, count in self.codes.most_common():
            yield f"{code}: {count:,}"


def _ndjson_rows(file: BinaryIO) -> Iterator[Row]:
    for line, text in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
        if len(text) > MAX_LINE_BYTES:
            raise CannotImport(f"Line {line} has more than {MAX_LINE_BYTES} bytes.")
        if text.strip():
            yield Row(line, _or_error(lambda given=text: parse_json(given)))  # type: ignore[misc]


def _csv_rows(file: BinaryIO) -> Iterator[Row]:
    """The rows of a table with a line of names (RFC 4180). What is empty is not there."""
    texts = (text.decode("utf-8-sig" if place == 0 else "utf-8") for place, text in enumerate(file))
    reader = csv.DictReader(texts, strict=True)
    try:
        names = reader.fieldnames or []
        if len(set(names)) < len(names):
            raise CannotImport("Two columns have the same name; which one counts cannot be known.")
        for row in reader:
            yield Row(reader.line_num, _or_error(lambda given=row: _csv_item(given)))  # type: ignore[misc]
    except (csv.Error, UnicodeDecodeError) as error:
        raise CannotImport(f"After line {reader.line_num} it is no CSV in UTF-8: {error}") from None


def _csv_item(row: dict[str | None, str | None]) -> object:
    if None in row or None in row.values():
        raise invalid([("row", "It has more or fewer fields than there are names.")])
    item: dict[object, object] = {name: value for name, value in row.items() if value}
    if "metadata" in item:
        item["metadata"] = parse_json(str(item["metadata"]).encode())
    return item


def _or_error(read: Callable[[], object]) -> object | CofferError:
    try:
        return read()
    except CofferError as error:
        return error
