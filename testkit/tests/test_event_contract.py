"""That an event which breaks its contract cannot go unseen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.event_contract import (
    ContractBroken,
    Watch,
    check_database,
    document,
    faults_of,
    validators,
)
from testkit.ledgers import new_wallet, postgres_store
from testkit.services import TestDatabases
from WalletCore.domain.events import EventType, message_event
from WalletCore.domain.model import Document, Event, Message
from WalletCore.domain.origin import SERVICE
from WalletCore.postgres import migrate
from WalletCore.postgres.connect import connection_info

ROOT: Final = Path(__file__).resolve().parents[2]
RUN_TIMEOUT_SECONDS: Final = 60
INSERT: Final = "INSERT INTO coffer.events (id, type, body, created_at) VALUES (%s, %s, %s, now())"

GUILTY: Final = """
import threading
from test_event_contract import wrong_event
from WalletCore.domain import working_set

def test_that_looks_at_nothing():
    thread = threading.Thread(target=wrong_event, args=(working_set.message_event,))
    thread.start()
    thread.join()

def test_that_comes_after_it():
    pass
"""

GOOD_EVENT: Final[Document] = document()["components"]["messages"]["walletCreated"]["examples"][0][
    "payload"
]
"""A good event, of another type than the row that it is put into."""


def wrong_event(make: Any = message_event) -> Event:
    """An event that says more than it may."""
    event_id, now = uuid7(), datetime.now(UTC)
    message = Message(event_id, "alice", "hello", None, now, now)
    data = {"user_id": "alice", "description": "hello", "secret": "1234"}
    made: Event = make(event_id, EventType.MESSAGE, message, data, now, origin=SERVICE)
    return made


def test_every_type_has_a_validator() -> None:
    assert validators().keys() == {kind.value for kind in EventType}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"data": {"user_id": "alice"}}, "/data"),
        ({"data": {"user_id": "alice", "description": "a", "more": 1}}, "/data"),
        ({"extra": "1"}, "/:"),
        ({"userid": None}, "/userid"),
        ({"traceparent": ""}, "/traceparent"),
        ({"time": "2030-01-31T12:00:00Z"}, "/time"),
        ({"time": "2030-02-31T12:00:00.000000Z"}, "/time"),
        ({"id": "1"}, "/id"),
        ({"subject": "wallets/1"}, "/subject"),
        ({"specversion": "0.3"}, "/specversion"),
        ({"type": "coffer.unknown"}, "no type"),
    ],
)
def test_faults_are_found_and_named(change: dict[str, Any], where: str) -> None:
    good = wrong_event().body
    del good["data"]["secret"]
    assert faults_of(good) == []
    (fault, *_) = faults_of({**good, **change})
    assert where in fault


@pytest.mark.parametrize("event", [None, [], 1, "coffer.message", {}, {"type": 1}])
def test_what_is_no_event_is_a_fault(event: object) -> None:
    assert len(faults_of(event)) == 1


def test_a_watch_sees_what_other_threads_make() -> None:
    watch = Watch()
    make = watch.over(message_event)
    watch.raise_failures()
    thread = threading.Thread(target=wrong_event, args=(make,))
    thread.start()
    thread.join()
    with pytest.raises(ContractBroken, match="secret"):
        watch.raise_failures()
    watch.raise_failures()


def test_the_suite_is_watched(tmp_path: Path) -> None:
    """A run of its own, in which one test makes a wrong event and does not care."""
    (tmp_path / "test_guilty.py").write_text(GUILTY)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'testkit' / 'tests'}"}
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-n0", "-p", "conftest", "-p", "no:cacheprovider"),
            *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)),
        ],
        cwd=ROOT,
        env={name: text for name, text in environment.items() if "XDIST" not in name},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "2 passed, 1 error" in ended.stdout
    assert "ERROR at teardown of test_that_looks_at_nothing" in ended.stdout
    assert "secret" in ended.stdout


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps(wrong_event().body),
        orjson.dumps(GOOD_EVENT),
        b"[]",
        b"b",
    ],
)
def test_a_database_with_a_wrong_event_is_dropped_all_the_same(body: bytes) -> None:
    databases = TestDatabases(f"contract{uuid7().hex[-6:]}", migrate.upgrade, check_database)
    with ExitStack() as stack:
        url = stack.enter_context(databases.migrated())
        with postgres_store(url) as store:
            new_wallet(store, balance=5)
        check_database(url)
        with psycopg.connect(connection_info(url), autocommit=True) as connection:
            # Rows of types that are none of ours are left alone.
            connection.execute(INSERT, (uuid7(), "test", "b"))
            check_database(url)
            connection.execute(INSERT, (uuid7(), "coffer.message", body.decode()))
        with pytest.raises(ContractBroken):
            stack.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(connection_info(url))


def test_a_database_without_a_log_is_passed_over(empty_postgres_url: str) -> None:
    check_database(empty_postgres_url)
