"""``verify`` finds every kind of damage, names it, and gives no false alarm under load."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

import RestAPI
from RestAPI.tests.damages import DAMAGES, DAMAGES_BETWEEN
from testkit.ledgers import (
    audit,
    capture,
    deposit,
    new_wallet,
    place_hold,
    postgres_store,
    reverse,
    transfer,
    void,
    withdraw,
)
from testkit.services import TestDatabases
from WalletCore.domain.commands import UpdateWallet
from WalletCore.domain.model import WalletStatus
from WalletCore.postgres import verify as verify_module
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.verify import Progress, verify

ROOT: Final = Path(RestAPI.__file__).parents[1]
COMMAND_TIMEOUT_SECONDS: Final = 60
MIN_RUNS_UNDER_LOAD: Final = 3

TABLES: Final = ("wallets", "entries", "events", "holds")


@contextmanager
def without_triggers(url: str) -> Iterator[psycopg.Connection[Any]]:
    """The owner with the triggers off: able to do what nothing in Coffer can do."""
    with psycopg.connect(connection_info(url)) as connection:
        for table in TABLES:
            connection.execute(f"ALTER TABLE coffer.{table} DISABLE TRIGGER USER")
        yield connection
        for table in TABLES:
            connection.execute(f"ALTER TABLE coffer.{table} ENABLE TRIGGER USER")


@pytest.fixture(scope="module")
def saved(test_databases: TestDatabases) -> Iterator[tuple[str, list[UUID]]]:
    """A filled ledger with a copy of its tables, and its wallets."""
    with test_databases.migrated() as url:
        wallets = fill(url)
        with psycopg.connect(connection_info(url)) as connection:
            for table in TABLES:
                connection.execute(f"CREATE TABLE saved_{table} AS TABLE coffer.{table}")
        yield url, wallets


@pytest.fixture
def ledger(saved: tuple[str, list[UUID]]) -> tuple[str, list[UUID]]:
    """The filled ledger as it was."""
    url, wallets = saved
    with without_triggers(url) as connection:
        for table in TABLES:
            connection.execute(f"TRUNCATE coffer.{table}")
            connection.execute(f"INSERT INTO coffer.{table} TABLE saved_{table}")
    return url, wallets


def fill(url: str) -> list[UUID]:
    """Five wallets with three entries and four changes each, one that gave money to another one
    and has an open hold of 2.00, the other one, and one that has no entry.
    """
    with postgres_store(url) as store:
        wallets = [new_wallet(store) for _ in range(5)]
        for wallet_id in wallets:
            store.execute(deposit(wallet_id, 5))
            store.execute(deposit(wallet_id, 2))
            store.execute(withdraw(wallet_id, 2))
            store.execute(withdraw(wallet_id, 100))
        source_id, target_id = new_wallet(store, balance=10), new_wallet(store)
        moved = transfer(source_id, target_id, 4)
        kept, released = place_hold(source_id, 3), place_hold(source_id, 1)
        for command in (moved, kept, released, capture(kept, 1, final=False, target_id=target_id)):
            assert store.execute(command).status < 300
        assert store.execute(void(released)).status == 200
        assert store.execute(reverse(store, moved.legs[0].operation_id, 2)).status == 201
        new_wallet(store)
    return [*wallets, source_id, target_id]


def damage(url: str, kind: str, wallet_id: UUID) -> UUID:
    """Do one of the damages; the answer is the id that it may have used."""
    new = uuid7()
    with without_triggers(url) as connection:
        statement, _ = (DAMAGES | DAMAGES_BETWEEN)[kind]
        changed = connection.execute(statement.encode(), {"wallet": wallet_id, "new": new})
        assert changed.rowcount > 0
    return new


def verdict(url: str) -> Progress:
    return list(verify(url))[-1]


def run_command(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "RestAPI", "verify"],
        cwd=ROOT,
        env={**os.environ, "COFFER_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_a_clean_ledger_is_clean(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Whatever the size of the slices."""
    monkeypatch.setattr(verify_module, "WALLETS_PER_SLICE", rows)
    monkeypatch.setattr(verify_module, "ROWS_PER_SLICE", rows)
    wallets = fill(fresh_postgres_url)
    with postgres_store(fresh_postgres_url) as store:
        for status in (WalletStatus.FROZEN, WalletStatus.ACTIVE):
            store.execute(UpdateWallet(wallets[0], status=status))
    assert verdict(fresh_postgres_url) == Progress(8, 22)
    assert audit(fresh_postgres_url) == []


def test_an_empty_ledger_is_clean(fresh_postgres_url: str) -> None:
    assert verdict(fresh_postgres_url) == Progress(0, 0)


@pytest.mark.parametrize("rows", [2, 1000])
@pytest.mark.parametrize("kind", DAMAGES)
def test_every_kind_of_damage_is_found_and_named(
    ledger: tuple[str, list[UUID]], monkeypatch: pytest.MonkeyPatch, kind: str, rows: int
) -> None:
    monkeypatch.setattr(verify_module, "WALLETS_PER_SLICE", rows)
    monkeypatch.setattr(verify_module, "ROWS_PER_SLICE", rows)
    url, wallets = ledger
    # One in the middle, so that there are slices before and after it.
    new = damage(url, kind, wallets[2])
    difference = verdict(url).difference
    assert difference is not None
    assert str(wallets[2]) in difference or str(new) in difference
    assert DAMAGES[kind][1] in difference


@pytest.mark.parametrize("rows", [2, 1000])
@pytest.mark.parametrize("kind", DAMAGES_BETWEEN)
def test_damage_to_holds_and_between_wallets_is_found_and_named(
    ledger: tuple[str, list[UUID]], monkeypatch: pytest.MonkeyPatch, kind: str, rows: int
) -> None:
    monkeypatch.setattr(verify_module, "WALLETS_PER_SLICE", rows)
    monkeypatch.setattr(verify_module, "ROWS_PER_SLICE", rows)
    url, wallets = ledger
    damage(url, kind, wallets[5])
    difference = verdict(url).difference
    assert difference is not None
    assert str(wallets[5]) in difference
    assert DAMAGES_BETWEEN[kind][1] in difference
    # The audit has found it as well, with SQL of its own.
    assert audit(url) != []


def test_the_command_says_what_it_found_and_exits_with_it(
    ledger: tuple[str, list[UUID]],
) -> None:
    url, wallets = ledger
    clean = run_command(url)
    assert clean.returncode == 0, clean.stderr
    assert "8 wallets" in clean.stdout
    damage(url, "a balance that was changed", wallets[3])
    different = run_command(url)
    assert different.returncode == 1
    assert str(wallets[3]) in different.stdout
    # Minor units: 500 and one more.
    assert "501" in different.stdout


def test_a_ledger_that_cannot_be_read_is_no_verdict(empty_postgres_url: str) -> None:
    unreadable = run_command(empty_postgres_url)
    assert unreadable.returncode == 2
    assert "Traceback" not in unreadable.stderr


def test_load_gives_no_false_alarm(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wallets grow, and new ones come, in the middle of slices of a few rows."""
    monkeypatch.setattr(verify_module, "WALLETS_PER_SLICE", 3)
    monkeypatch.setattr(verify_module, "ROWS_PER_SLICE", 40)
    ended = threading.Event()
    with postgres_store(fresh_postgres_url) as store, ThreadPoolExecutor(6) as pool:
        wallets = [new_wallet(store, limit=-1000) for _ in range(4)]

        def load(thread: int) -> None:
            number = thread
            while not ended.is_set():
                number += 1
                wallet_id, other_id = (wallets[n * 7 % len(wallets)] for n in (number, number + 1))
                command: Any = (deposit if number % 3 else withdraw)(wallet_id)
                store.execute(command)
                store.execute(transfer(wallet_id, other_id))
                store.execute(placed := place_hold(wallet_id, 2))
                store.execute(capture(placed, 1, final=False, target_id=other_id))
                if number % 4:
                    store.execute(void(placed))
                if number % 25 == 0:
                    wallets.append(new_wallet(store, balance=1))
                    store.execute(UpdateWallet(wallets[-1], name=str(number)))

        loading = [pool.submit(load, thread) for thread in range(5)]
        try:
            entries = 0
            for run in range(50):
                last = verdict(fresh_postgres_url)
                assert last.difference is None
                if run >= MIN_RUNS_UNDER_LOAD and last.entries > entries > 100:
                    break
                entries = last.entries
            else:
                pytest.fail("the load did not get on")
        finally:
            ended.set()
        for future in loading:
            future.result()
    assert verdict(fresh_postgres_url).difference is None
    assert audit(fresh_postgres_url) == []


def test_damage_is_found_under_load_as_well(ledger: tuple[str, list[UUID]]) -> None:
    ended = threading.Event()
    url, wallets = ledger
    damage(url, "an entry that its wallet never counted", wallets[0])
    with postgres_store(url) as store, ThreadPoolExecutor(2) as pool:

        def load(thread: int) -> None:
            while not ended.is_set():
                store.execute(deposit(wallets[1 + thread]))

        loading = [pool.submit(load, thread) for thread in range(2)]
        try:
            difference = verdict(url).difference
        finally:
            ended.set()
        for future in loading:
            future.result()
    assert difference is not None
    assert str(wallets[0]) in difference
