"""What is remembered under an Idempotency-Key, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    Gate,
    balance_of,
    code_of,
    deposit,
    done,
    keyed,
    memory_store,
    new_wallet,
    withdraw,
)
from WalletCore.memory import MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with memory_store() as store:
        yield store


def test_the_same_key_twice_in_one_batch_is_done_once(store: MemoryStore) -> None:
    wallet_id = new_wallet(store)
    key = keyed("k", "deposit 5")
    first, second, other = done(
        Gate(store).batch(
            [
                (deposit(wallet_id, 5), key),
                (deposit(wallet_id, 5), key),
                (deposit(wallet_id, 6), keyed("k", "deposit 6")),
            ]
        )
    )
    assert (first.status, first.replayed) == (200, False)
    assert second == first._replace(replayed=True)
    assert (other.status, code_of(other)) == (409, "idempotency_key_reused")
    assert balance_of(store, wallet_id) == 5


def test_a_refusal_is_remembered_even_when_the_money_is_there_later(store: MemoryStore) -> None:
    wallet_id = new_wallet(store)
    key = keyed("k")
    refused = store.execute(withdraw(wallet_id, 5), key)
    store.execute(deposit(wallet_id, 100))
    assert code_of(refused) == "insufficient_funds"
    assert store.execute(withdraw(wallet_id, 5), key) == refused._replace(replayed=True)
    assert balance_of(store, wallet_id) == 100


def test_what_was_not_decided_under_the_lock_is_not_remembered(store: MemoryStore) -> None:
    wallet_id, key = uuid7(), keyed("k")
    assert code_of(store.execute(deposit(wallet_id), key)) == "wallet_not_found"
    assert code_of(store.execute(deposit(new_wallet(store), "0.001"), key)) == "amount_too_precise"
    known = new_wallet(store)
    first = store.execute(deposit(known), key)
    assert (first.status, first.replayed) == (200, False)
    assert store.execute(deposit(known), key) == first._replace(replayed=True)


def test_scopes_keep_equal_keys_apart(store: MemoryStore) -> None:
    wallet_id = new_wallet(store)
    for scope in ("", "a", "b"):
        outcome = store.execute(deposit(wallet_id), replace(keyed("k", scope), scope=scope))
        assert (outcome.status, outcome.replayed) == (200, False)
    assert balance_of(store, wallet_id) == 3
