"""Importing a file, and a stream of lines over HTTP: done once, however often it is sent."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from uuid_utils.compat import uuid7

from RestAPI import importing
from RestAPI.importing import CannotImport, Import
from RestAPI.reading_lines import MAX_LINE_BYTES
from RestAPI.routes.bulk import SLICE_LINES
from testkit.ledgers import audit, balance_of, memory_store, new_wallet, postgres_store
from testkit.running import ROOT, RunningService, environment_of
from testkit.services import TestDatabases
from WalletCore.store import Store

UNKNOWN: Final = uuid7()
BULK: Final = "/api/v1/operations/bulk"
NDJSON: Final = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest, test_databases: TestDatabases) -> Iterator[Store]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield stack.enter_context(memory_store())
        else:
            url = stack.enter_context(test_databases.migrated())
            yield stack.enter_context(postgres_store(url))


def run(store: Store, file: Path, name: str = "", *, dry_run: bool = False) -> Import:
    one = Import(store, file, name or file.name, dry_run=dry_run)
    read: list[int] = []
    one.do(read.append)
    assert sum(read) == file.stat().st_size
    return one


def counts(one: Import) -> tuple[int, int, int]:
    return one.done, one.before, one.refused


def test_a_table_is_imported_once(store: Store, tmp_path: Path) -> None:
    one, two = new_wallet(store), new_wallet(store)
    file = tmp_path / "payroll.CSV"
    file.write_text(
        "\ufeffwallet_id,operation_type,amount,source_wallet_id,target_wallet_id,reference,metadata\n"
        f'{one},DEPOSIT,10.50,,,"January, first","{{""run"": 1}}"\n'
        f"{one},withdraw,99,,,too much,\n"
        f",,2.25,{one},{two},,\n"
        f"{UNKNOWN},DEPOSIT,1,,,,\n"
        f"{one},DEPOSIT,1,,,,not json\n"
        f"{one},DEPOSIT,1\n"
    )
    tried = run(store, file, dry_run=True)
    assert counts(tried) == (2, 0, 4)
    assert balance_of(store, one) == 0
    first = run(store, file)
    assert counts(first) == (2, 0, 4)
    assert first.listed[0].startswith("line 3: insufficient_funds: 99.00 USD")
    assert [text.split(":")[0] for text in first.listed] == ["line 3", "line 5", "line 6", "line 7"]
    assert next(first.report()) == "2 done now, 0 done before, 4 refused."
    assert counts(run(store, file)) == (0, 2, 4)
    assert (str(balance_of(store, one)), str(balance_of(store, two))) == ("8.25", "2.25")
    # More rows behind are done, those before are not done again; another name is another import.
    with file.open("a") as more:
        more.write(f"{two},DEPOSIT,1,,,,\n")
    assert counts(run(store, file)) == (1, 2, 4)
    assert counts(run(store, file, "february")) == (3, 0, 4)


def test_lines_are_imported_once(store: Store, tmp_path: Path) -> None:
    one = new_wallet(store)
    file = tmp_path / "operations.ndjson"
    item = {"wallet_id": str(one), "operation_type": "DEPOSIT", "amount": 1}
    lines = [orjson.dumps(item)] * (2 * importing.SLICE_ROWS + 1)
    file.write_bytes(b"\n".join([*lines, b"", b"nonsense", b'{"wallet_id": 1}']))
    assert counts(run(store, file)) == (len(lines), 0, 2)
    again = run(store, file)
    assert counts(again) == (0, len(lines), 2)
    assert "Nothing is new in the import 'operations.ndjson'" in list(again.report())[1]
    assert balance_of(store, one) == len(lines)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", b"", "neither a .csv nor a .ndjson"),
        ("a.csv", b'wallet_id\n"open', "no CSV"),
        ("a.csv", b"wallet_id\n\xff\n", "no CSV in UTF-8"),
        ("a.csv", b"wallet_id,amount,amount\n1,2,3\n", "same name"),
        ("a.ndjson", b"1" * (MAX_LINE_BYTES + 1), "more than"),
    ],
)
def test_what_is_no_such_file_says_so(name: str, content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with memory_store() as store, pytest.raises(CannotImport, match=why):
        run(store, file)


def test_the_report_lists_so_many_and_counts_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_LISTED_REFUSALS", 2)
    file = tmp_path / "a.ndjson"
    file.write_bytes(b"{}\n" * 3)
    with memory_store() as store:
        lines = list(run(store, file).report())
    assert lines[0] == "0 done now, 0 done before, 3 refused."
    assert lines[3:] == ["and 1 more", "validation_failed: 3"]


def test_the_command_imports_and_says_what_it_did(fresh_postgres_url: str, tmp_path: Path) -> None:
    with postgres_store(fresh_postgres_url) as store:
        one = new_wallet(store)
        file = tmp_path / "rows.csv"
        file.write_text(f"wallet_id,operation_type,amount\n{one},DEPOSIT,5\n{one},WITHDRAW,7\n")
        command = [sys.executable, "-m", "RestAPI", "import", str(file)]
        environment = environment_of({"database_url": fresh_postgres_url, "data_dir": tmp_path})
        for done, before in ((1, 0), (0, 1)):
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert ended.returncode == 1, ended.stderr
            assert f"{done} done now, {before} done before, 1 refused." in ended.stdout
            assert "line 3: insufficient_funds" in ended.stdout
            assert "Traceback" not in ended.stderr
        assert balance_of(store, one) == 5
    assert audit(fresh_postgres_url) == []


# -- Over HTTP -----------------------------------------------------------------------------------


@contextmanager
def stream(service: RunningService, key: str) -> Iterator[http.client.HTTPConnection]:
    """A request whose body comes bit by bit, in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.putrequest("POST", BULK)
    for name, value in {**NDJSON, "Transfer-Encoding": "chunked", "Idempotency-Key": key}.items():
        connection.putheader(name, value)
    connection.endheaders()
    yield connection
    connection.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_a_stream_is_answered_while_it_is_sent(fresh_postgres_url: str, web_server: str) -> None:
    with (
        postgres_store(fresh_postgres_url) as store,
        RunningService(fresh_postgres_url, web_server=web_server) as service,
    ):
        one = new_wallet(store)
        item = {"wallet_id": str(one), "operation_type": "DEPOSIT", "amount": 1}
        line = orjson.dumps(item) + b"\n"
        total = 3 * SLICE_LINES + 7
        answers: list[Any] = []
        for _ in range(2):  # the second time it is only replayed
            with stream(service, "the-stream") as connection:
                for _ in range(3):
                    connection.send(chunk(line * SLICE_LINES))
                connection.send(chunk(line * 7 + b"no json\n") + b"0\r\n\r\n")
                response = connection.getresponse()
                assert (response.status, response.getheader("Content-Type")) == (
                    200,
                    "application/x-ndjson",
                )
                answers = [orjson.loads(text) for text in response.read().splitlines()]
            assert answers[-1] == {"done": total, "refused": 1, "complete": True}
            assert [answer["status"] for answer in answers[:-1]] == [*[200] * total, 422]
        assert all(answer.get("replayed") for answer in answers[:-2])
        assert balance_of(store, one) == total


def test_a_stream_that_breaks_off_keeps_what_was_done(fresh_postgres_url: str) -> None:
    with (
        postgres_store(fresh_postgres_url) as store,
        RunningService(fresh_postgres_url) as service,
    ):
        one = new_wallet(store)
        item = {"wallet_id": str(one), "operation_type": "DEPOSIT", "amount": 1}
        with stream(service, "broken") as connection:
            connection.send(chunk((orjson.dumps(item) + b"\n") * 3))
            connection.send(chunk(b"1" * (MAX_LINE_BYTES + 1)) + b"0\r\n\r\n")
            *results, sums = [
                orjson.loads(text) for text in connection.getresponse().read().splitlines()
            ]
        assert [result["status"] for result in results] == [200] * 3
        assert (sums["done"], sums["complete"], sums["problem"]["code"]) == (
            3,
            False,
            "body_too_large",
        )
        assert balance_of(store, one) == 3
