from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from benchmarks import __main__ as program
from benchmarks.grown import ENTRIES_PER_WALLET, Grown, grow, new_ledger
from benchmarks.measurements import GUNICORN, Measurement
from benchmarks.options import Options
from benchmarks.sizes import _READS, EMPTY_ENTRIES, QUICK_SIZES, SIZES, sizes_of
from benchmarks.sizes_report import KINDS, judge_sizes, size_name, sizes_table, whole_of_sizes
from benchmarks.tests.test_arithmetic import MACHINE, OPTIONS
from RestAPI.app import create_app
from testkit.ledgers import AUDITS, postgres_store
from WalletCore.settings import load_settings

SINCE = datetime(2030, 1, 1, tzinfo=UTC)
ENTRIES = 700
HOLDING = [query for what, query in AUDITS.items() if "event" not in what]


def test_a_smoke_test_has_small_sizes() -> None:
    assert sizes_of(Options()) == SIZES
    assert sizes_of(Options(smoke=True)) == QUICK_SIZES
    assert all(size % ENTRIES_PER_WALLET == 0 for size in (EMPTY_ENTRIES, *SIZES, *QUICK_SIZES))


def test_a_ledger_has_as_many_wallets_as_its_entries_need() -> None:
    assert new_ledger(1000, 500).wallets == 500
    large = new_ledger(100_000, 500)
    assert (large.wallets, large.filled) == (1000, 1000)


def test_moments_are_spread_over_the_period() -> None:
    grown = Grown(ENTRIES, 7, SINCE)
    assert grown.moment(0) == "2030-01-01T00:00:00.000000Z"
    assert grown.moment(ENTRIES / 2)[:10] == "2030-02-14"
    assert grown.moment(ENTRIES - 0.5)[:10] == "2030-03-31"


def test_wallets_are_taken_evenly_out_of_all() -> None:
    ids = Grown(ENTRIES, 40, SINCE).evenly(4)
    assert [int(id_[-12:], 16) for id_ in ids] == [1, 11, 21, 31]


class Ledger:
    """A grown one in a database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.grown = new_ledger(ENTRIES, 40)
        self.said: list[str] = []
        grow(url, self.grown, self.said.append)


@pytest.fixture
def ledger(fresh_postgres_url: str) -> Ledger:
    return Ledger(fresh_postgres_url)


def test_a_grown_ledger_adds_up(ledger: Ledger) -> None:
    with psycopg.connect(ledger.url) as connection:
        wrong = [row for query in HOLDING for row in connection.execute(query.encode())]
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM coffer.wallets), count(*), "
            "count(DISTINCT operation_id), count(DISTINCT wallet_id) FROM coffer.entries"
        ).fetchone()
    assert wrong == []
    assert counts == (40, ENTRIES, ENTRIES, ENTRIES // ENTRIES_PER_WALLET)
    assert ledger.said[0].startswith("Made 700 entries in 7 wallets")


@pytest.mark.parametrize("kind", _READS)
def test_what_is_read_is_as_long_as_expected(ledger: Ledger, kind: str) -> None:
    read = _READS[kind]
    with postgres_store(ledger.url) as store:
        client = create_app(load_settings(), store).test_client()
        for _ in range(10):
            answer = client.get(read.path(ledger.grown))
            assert answer.status_code == 200, answer.text
            assert read.told(answer.get_json()) == read.expected


def run(factor: float) -> list[Measurement]:
    """One in which everything is so many times slower on the large ledger."""
    return [
        Measurement(
            1, GUNICORN, size_name(kind, 1000, empty), value if empty else value * slower, unit
        )
        for kind in KINDS
        for empty in (True, False)
        for value, unit, slower in (
            [(900.0, "ops/s", 1 / factor)] if kind == "deposits_spread" else [(2.0, "ms", factor)]
        )
    ]


def test_every_size_is_judged_by_the_empty_ledger() -> None:
    within = judge_sizes(run(1.4), GUNICORN, [1000])
    assert [result.verdict for result in within] == ["met"] * len(KINDS)
    beyond = judge_sizes(run(1.6), GUNICORN, [1000])
    assert all(result.verdict.startswith("missed by ") for result in beyond)
    assert {r.verdict for r in judge_sizes(run(1.6), GUNICORN, [10])} == {"not measured"}


def test_table_of_sizes() -> None:
    results = judge_sizes(run(1.4), GUNICORN, [1000])
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in sizes_table(run(1.4), results).splitlines()
    ]
    assert rows[2][2:] == ["900", "643", ">= 0.667", "0.714", "met"]
    assert rows[3] == [
        *("1,000", "a page of history, ms", "2.00", "2.80", "< 1.500", "1.400", "met"),
    ]
    assert len(rows) == 2 + len(KINDS)


def test_report_of_sizes_says_that_a_smoke_test_is_one() -> None:
    options = OPTIONS | {"servers": [GUNICORN], "smoke": True}
    text = whole_of_sizes(
        MACHINE, options, run(9.0), judge_sizes(run(9.0), GUNICORN, [1000], smoke=True)
    )
    assert text.count("SMOKE TEST") == 2
    assert "missed" not in text


@pytest.mark.parametrize("more", [["--only", "memory"], ["--profile"], ["--backlog", "5000"]])
def test_sizes_are_a_run_of_their_own(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--sizes", *more])
    assert "--sizes goes with" in capsys.readouterr().err


def test_one_wallet_is_not_enough(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--wallets", "1"])
    assert "transfers need two" in capsys.readouterr().err


def test_publishing_writes_between_its_own_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(program.DOCUMENT.read_text())
    monkeypatch.setattr(program, "DOCUMENT", document)
    before = document.read_text()
    program._publish("NEW", program.BEGIN_SIZES, program.END_SIZES)
    after = document.read_text()
    start, end = before.index(program.BEGIN_SIZES), before.index(program.END_SIZES)
    assert after == f"{before[:start]}{program.BEGIN_SIZES}\n\nNEW\n\n{before[end:]}"
