"""What is counted of the ledger, and of the connections to PostgreSQL."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from testkit.ledgers import deposit, memory_store, new_wallet, place_hold, postgres_store, transfer
from testkit.waiting import eventually
from WalletCore.domain.errors import Overloaded, WalletBusy
from WalletCore.postgres import pool_metrics
from WalletCore.postgres.connect import READ_POOL_CONNECTIONS


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def operations(type_: str) -> float:
    return value("coffer_operations_total", type=type_)


def test_entries_are_counted_by_type_once_they_are_committed() -> None:
    names = ("DEPOSIT", "WITHDRAW", "TRANSFER_OUT", "TRANSFER_IN")
    with memory_store() as store:
        source, target = new_wallet(store), new_wallet(store)
        before = [operations(name) for name in names]
        for _ in range(3):
            store.execute(deposit(source, 10))
        store.execute(deposit(source, 10), dry_run=True)
        store.execute(transfer(source, target, 1))
        assert store.execute(transfer(target, source, 99)).status >= 400
    counted = [operations(name) - start for name, start in zip(names, before, strict=True)]
    assert counted == [3, 0, 1, 1]


def test_holds_that_expire_are_counted() -> None:
    before = value("coffer_holds_expired_total")
    with memory_store() as store:
        wallet_id = new_wallet(store, balance=10)
        for _ in range(3):
            store.execute(place_hold(wallet_id, 1, timedelta(0)))
        store.execute(place_hold(wallet_id, 1))
        eventually(lambda: value("coffer_holds_expired_total") == before + 3, "three of the four")


def test_refusals_that_wake_somebody_are_there_before_the_first_one() -> None:
    with memory_store():
        for code in ("outcome_unknown", Overloaded.code, WalletBusy.code):
            assert REGISTRY.get_sample_value("coffer_refusals_total", {"code": code}) is not None


def test_connections_are_counted(fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_metrics, "SAMPLE_SECONDS", 0.02)
    with postgres_store(fresh_postgres_url) as store:
        wallet_id = new_wallet(store)
        eventually(lambda: value("coffer_committer_connections") == 1, "that of the committer")
        assert value("coffer_pool_size") == READ_POOL_CONNECTIONS
        connections = [store._engine.connect() for _ in range(READ_POOL_CONNECTIONS)]
        eventually(lambda: value("coffer_pool_in_use") == READ_POOL_CONNECTIONS, "all in use")
        assert value("coffer_pool_open") == READ_POOL_CONNECTIONS
        waits = value("coffer_pool_waits_total")
        read = threading.Thread(target=store.wallet, args=(wallet_id,))
        read.start()
        timer = threading.Timer(0.2, connections.pop().close)
        timer.start()
        read.join()
        timer.join()
        assert value("coffer_pool_waits_total") > waits
        for connection in connections:
            connection.close()
        eventually(lambda: value("coffer_pool_in_use") == 0, "none in use")
        assert value("coffer_pool_open") == READ_POOL_CONNECTIONS
        waits = value("coffer_pool_waits_total")
        for _ in range(20):
            store.wallet(wallet_id)
        assert value("coffer_pool_waits_total") < waits + 20


def test_a_committer_without_its_connection_is_seen(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_metrics, "SAMPLE_SECONDS", 0.02)
    with postgres_store(fresh_postgres_url) as store:
        eventually(lambda: value("coffer_committer_connections") == 0, "none was needed yet")
        new_wallet(store)
        eventually(lambda: value("coffer_committer_connections") == 1, "one")
