from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.pgbench import FIRST_UUIDV7_VERSION, insert_wallets
from benchmarks.set_benchmark import SET_DEPOSITS, SetBenchmark, set_script, with_variables
from testkit.ledgers import AUDITS
from WalletCore.postgres import statements

HOLDING = [query for what, query in AUDITS.items() if "event" not in what]
"""The bodies of pgbench's events are all the same, so no event can be told from another by them."""

EVENTS = """
SELECT w.id FROM coffer.wallets w LEFT JOIN (SELECT wallet_id, count(*) AS n, min(seq) AS first,
    max(seq) AS last FROM coffer.events GROUP BY 1) v ON v.wallet_id = w.id
WHERE w.version <> 1 AND (v.n, v.first, v.last) IS DISTINCT FROM (w.version - 1, 2, w.version)
"""
"""Wallets that have not an event for every version but the first, which insert_wallets makes."""


def test_variables_stand_for_the_parameters_of_a_statement() -> None:
    assert with_variables("SELECT %s::int, %s", "a", "b") == "SELECT :a::int, :b"


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c")])
def test_a_statement_that_has_changed_is_noticed(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="for 2 parameters"):
        with_variables("SELECT %s, %s", *names)


def test_the_script_has_the_statements_of_the_committer() -> None:
    script = re.sub(r"(?<!:):[a-z_]+", "%s", set_script("uuidv7()"))
    for statement in ("LOCK_WALLETS", "UPDATE_WALLETS", "INSERT_ENTRIES", "INSERT_EVENTS"):
        assert getattr(statements, statement) in script


class Client:
    """Does what pgbench does with such a script, one transaction after the other."""

    def __init__(self, url: str, script: str) -> None:
        self._url = url
        self._script = script
        self._values: dict[str, Any] = {"order": 1}

    def run(self, times: int) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for _ in range(times):
                for statement, kept in self._statements():
                    cursor = psycopg.ClientCursor(connection)
                    cursor.execute(
                        re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", statement).encode(), self._values
                    )
                    if kept:
                        row = cursor.fetchone()
                        names = [column.name for column in cursor.description or ()]
                        self._values |= dict(zip(names, row or (), strict=True))

    def _statements(self) -> Iterator[tuple[str, bool]]:
        lines = [
            line
            for line in self._script.splitlines()
            if not line.startswith(("\\if", "\\else", "\\set", "\\endif"))
        ]
        for part in re.split(r"(?<=\\gset)\n|;\n", "\n".join(lines)):
            if part.strip():
                yield part.removesuffix("\\gset"), part.endswith("\\gset")


@pytest.mark.parametrize(("kind", "wallets"), [("spread", 40), ("hot", 1)])
def test_the_ledger_adds_up_after_sets(
    fresh_postgres_url: str, tmp_path: Path, kind: str, wallets: int
) -> None:
    url = fresh_postgres_url
    insert_wallets(url, 40)
    SetBenchmark(url, tmp_path, 40)._prepare(url, wallets)
    Client(url, set_script(new_id(url))).run(2)
    with psycopg.connect(url) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM coffer.entries), (SELECT count(*) FROM coffer.events), "
            "(SELECT count(*) FROM coffer.wallets WHERE entry_seq > 0)"
        ).fetchone()
        wrong = [row for query in (*HOLDING, EVENTS) for row in connection.execute(query.encode())]
    assert counts == (2 * SET_DEPOSITS, 2 * SET_DEPOSITS, wallets)
    assert wrong == []


def new_id(url: str) -> str:
    with psycopg.connect(url) as connection:
        old = connection.info.server_version < FIRST_UUIDV7_VERSION
    return "gen_random_uuid()" if old else "uuidv7()"
