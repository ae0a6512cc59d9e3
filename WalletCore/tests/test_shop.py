"""The shop's port on both stores: users, prices, and what somebody has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Final
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import (
    audit,
    code_of,
    deposit,
    done,
    memory_store,
    new_wallet,
    postgres_store,
    reverse,
    transfer,
    withdraw,
)
from WalletCore.domain.commands import CreateWallet, OpenAccount, Purchase
from WalletCore.domain.errors import LimitExceeded, NotStorable, Unavailable, WalletNotFound
from WalletCore.domain.model import Document, User
from WalletCore.memory import MemoryStore
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.store import PostgresStore
from WalletCore.postgres.verify import verify
from WalletCore.shop import MAX_ITEMS, MERCHANT_ID, START_PRICES
from WalletCore.store import IdempotencyKey

Subject = MemoryStore | PostgresStore

AT_ONCE: Final = 200
"""Purchases and gifts of one user."""


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        with memory_store() as memory:
            yield memory
    else:
        with postgres_store(request.getfixturevalue("fresh_postgres_url")) as postgres:
            yield postgres


def opening(username: str, password_hash: str = "hash") -> OpenAccount:
    return OpenAccount(username, password_hash, uuid7(), uuid7(), Decimal(1000))


def key_of(username: str) -> IdempotencyKey:
    digest = hashlib.sha256(username.encode()).hexdigest()
    return IdempotencyKey("shop", f"open {digest}", bytes(32))


def account(store: Subject, username: str) -> UUID:
    assert store.execute(opening(username), key_of(username)).status == 201
    user = store.shop.user(username)
    assert user is not None
    return user.wallet_id


def open_shop(store: Subject) -> None:
    assert store.execute(CreateWallet(MERCHANT_ID, "COIN")).status == 201


def buying(wallet_id: UUID, item: str = "cup") -> Purchase:
    price = Decimal(START_PRICES[item])
    return Purchase(wallet_id, MERCHANT_ID, uuid7(), uuid7(), item, price)


def history(info: Document) -> tuple[list[Document], list[Document]]:
    return info["coinHistory"]["received"], info["coinHistory"]["sent"]


# -- Users -------------------------------------------------------------------------------------


def test_a_user_is_found_by_name_alone(store: Subject) -> None:
    wallet_id = account(store, "alice")
    user = store.shop.user("alice")
    assert user is not None
    assert user == User("alice", wallet_id, "hash", user.created_at)
    assert store.shop.user("Alice") is None
    assert store.shop.user("") is None
    wallet = store.wallet(wallet_id)
    assert (wallet["owner"], wallet["balance"], wallet["currency"]) == ("alice", "1000", "COIN")


def test_two_first_log_ins_at_the_same_moment_make_one_user(fresh_postgres_url: str) -> None:
    with (
        postgres_store(fresh_postgres_url) as one,
        postgres_store(fresh_postgres_url) as other,
        ThreadPoolExecutor(16) as pool,
    ):
        futures = [
            pool.submit(store.execute, opening("alice", f"hash {number}"), key_of("alice"))
            for number in range(8)
            for store in (one, other)
        ]
        outcomes = done([future.result() for future in futures])
        assert {outcome.status for outcome in outcomes} == {201}
        assert len({outcome.body for outcome in outcomes}) == 1
        assert [outcome.replayed for outcome in outcomes].count(False) == 1
        assert all(b"hash" not in outcome.body for outcome in outcomes)
    with psycopg.connect(connection_info(fresh_postgres_url)) as connection:
        assert connection.execute("SELECT count(*) FROM coffer.wallets").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM coffer.shop_users").fetchone() == (1,)
    assert audit(fresh_postgres_url) == []


def test_without_the_key_a_second_user_of_a_name_is_not_made(store: Subject) -> None:
    account(store, "alice")
    with pytest.raises(NotStorable):
        store.execute(opening("alice"))
    assert store.trial_balance()["currencies"][0]["balances"] == "1000"


def test_a_hash_is_replaced_only_where_it_is_the_one_that_was_verified(store: Subject) -> None:
    account(store, "alice")
    user = store.shop.user("alice")
    assert user is not None
    store.shop.keep_hash(user, "newer")
    assert store.shop.user("alice") == replace(user, password_hash="newer")
    store.shop.keep_hash(user, "of another process")
    assert store.shop.user("alice") == replace(user, password_hash="newer")
    store.shop.keep_hash(replace(user, username="nobody"), "newest")
    assert store.shop.user("nobody") is None


# -- Prices ------------------------------------------------------------------------------------


def test_the_shop_opens_with_these_prices(store: Subject) -> None:
    items = store.shop.items()
    assert {item.name: item.price for item in items} == START_PRICES
    assert [item.name for item in items] == sorted(START_PRICES)
    assert {item.changed_by for item in items} == {"coffer"}


def test_a_price_is_changed_and_an_item_is_made(store: Subject) -> None:
    changed, made = store.shop.set_price("cup", 25, "key:one")
    assert (changed.name, changed.price, changed.changed_by, made) == ("cup", 25, "key:one", False)
    assert changed.updated_at > changed.created_at
    sticker, made = store.shop.set_price("sticker", 1, "open")
    assert (sticker.price, made) == (1, True)
    prices = {item.name: item.price for item in store.shop.items()}
    assert prices == START_PRICES | {"cup": 25, "sticker": 1}


def test_there_are_no_more_items_than_are_read(
    store: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = len(START_PRICES) + 1
    for module in ("WalletCore.memory_shop", "WalletCore.postgres.shop"):
        monkeypatch.setattr(f"{module}.MAX_ITEMS", few)
    assert store.shop.set_price("last", 1, "open")[1]
    with pytest.raises(LimitExceeded):
        store.shop.set_price("one too many", 1, "open")
    assert store.shop.set_price("last", 2, "open")[0].price == 2
    assert len(store.shop.items()) == few <= MAX_ITEMS


# -- What somebody has -------------------------------------------------------------------------


def test_a_new_user_has_coins_and_nothing_else(store: Subject) -> None:
    info = store.shop.info(account(store, "alice"))
    assert info == {
        "coins": 1000,
        "inventory": [],
        "coinHistory": {"received": [], "sent": []},
    }
    with pytest.raises(WalletNotFound):
        store.shop.info(uuid7())


def test_purchases_and_gifts_are_grouped(store: Subject) -> None:
    alice, bob, carol = (account(store, name) for name in ("alice", "bob", "carol"))
    open_shop(store)
    for item in ("cup", "pen", "cup"):
        assert store.execute(buying(alice, item)).status == 200
    for target, amount in ((bob, 5), (bob, 7), (carol, 1)):
        assert store.execute(transfer(alice, target, amount)).status == 201
    assert store.execute(transfer(bob, alice, 100)).status == 201
    info = store.shop.info(alice)
    assert info["coins"] == 1000 - 50 - 13 + 100
    assert info["inventory"] == [{"type": "cup", "quantity": 2}, {"type": "pen", "quantity": 1}]
    assert history(info) == (
        [{"fromUser": "bob", "amount": 100}],
        [{"toUser": "bob", "amount": 12}, {"toUser": "carol", "amount": 1}],
    )
    assert history(store.shop.info(bob)) == (
        [{"fromUser": "alice", "amount": 12}],
        [{"toUser": "alice", "amount": 100}],
    )
    assert store.shop.info(MERCHANT_ID)["inventory"] == []
    assert store.shop.info(MERCHANT_ID)["coins"] == 50


def test_the_price_that_was_paid_stays(store: Subject) -> None:
    alice = account(store, "alice")
    open_shop(store)
    bought = buying(alice)
    store.execute(bought)
    store.shop.set_price("cup", 500, "open")
    assert store.operation(bought.operation_id)["amount"] == "20"
    assert store.shop.info(alice)["coins"] == 980


def test_what_was_reversed_counts_as_far_as_it_was_not(store: Subject) -> None:
    alice, bob = account(store, "alice"), account(store, "bob")
    open_shop(store)
    kept, back = buying(alice), buying(alice)
    gift, half = transfer(alice, bob, 30), transfer(alice, bob, 8)
    for command in (kept, back, gift, half):
        assert store.execute(command).status < 300
    for operation_id, amount in (
        (kept.operation_id, 5),
        (back.operation_id, None),
        (gift.legs[0].operation_id, None),
        (half.legs[0].operation_id, 3),
    ):
        assert store.execute(reverse(store, operation_id, amount)).status == 201
    info = store.shop.info(alice)
    assert info["coins"] == 1000 - 20 + 5 - 5
    assert info["inventory"] == [{"type": "cup", "quantity": 1}]
    assert history(info) == ([], [{"toUser": "bob", "amount": 5}])
    assert history(store.shop.info(bob)) == ([{"fromUser": "alice", "amount": 5}], [])


def test_wallets_that_are_not_the_shops(store: Subject) -> None:
    """What comes from outside of the shop is coins, and has the name that there is."""
    alice = account(store, "alice")
    nameless = new_wallet(store, "COIN", balance=50)
    twin = uuid7()
    assert store.execute(CreateWallet(twin, "COIN", owner="carol")).status == 201
    carol = account(store, "carol")
    assert store.execute(transfer(nameless, alice, 2)).status == 201
    assert store.execute(transfer(nameless, twin, 9)).status == 201
    for source, amount in ((twin, 4), (carol, 5)):
        assert store.execute(transfer(source, alice, amount)).status == 201
    assert store.execute(deposit(alice, 3)).status == 200
    assert store.execute(withdraw(alice, 1)).status == 200
    info = store.shop.info(alice)
    assert info["coins"] == 1000 + 2 + 9 + 3 - 1
    received, sent = history(info)
    assert {row["fromUser"]: row["amount"] for row in received} == {str(nameless): 2, "carol": 9}
    assert sent == []


# -- Many at once ------------------------------------------------------------------------------


def test_parallel_purchases_and_gifts_leave_exactly_what_they_should(
    fresh_postgres_url: str,
) -> None:
    """Through two stores at once, with money for a part of them only."""
    with (
        postgres_store(fresh_postgres_url) as one,
        postgres_store(fresh_postgres_url) as other,
        ThreadPoolExecutor(64) as pool,
    ):
        alice, bob = account(one, "alice"), account(one, "bob")
        open_shop(one)
        commands = [
            buying(alice, "pen") if number % 2 else transfer(alice, bob, 7)
            for number in range(AT_ONCE)
        ]
        futures = [
            pool.submit((one if number % 4 < 2 else other).execute, command)
            for number, command in enumerate(commands)
        ]
        outcomes = done([future.result() for future in futures])
        bought = sum(outcome.status == 200 for outcome in outcomes)
        given = sum(outcome.status == 201 for outcome in outcomes)
        refused = [outcome for outcome in outcomes if outcome.status >= 400]
        assert {code_of(outcome) for outcome in refused} == {"insufficient_funds"}
        left = 1000 - 10 * bought - 7 * given
        assert 0 <= left < 10
        info = one.shop.info(alice)
        assert info["coins"] == left
        assert info["inventory"] == [{"type": "pen", "quantity": bought}]
        assert history(info) == ([], [{"toUser": "bob", "amount": 7 * given}])
        assert other.shop.info(bob)["coins"] == 1000 + 7 * given
        assert other.shop.info(MERCHANT_ID)["coins"] == 10 * bought
    assert audit(fresh_postgres_url) == []
    assert list(verify(fresh_postgres_url))[-1].difference is None


# -- verify ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE coffer.shop_users SET wallet_id = gen_random_uuid() WHERE username = 'bob'",
        "UPDATE coffer.wallets SET owner = 'somebody' WHERE owner = 'bob'",
        "UPDATE coffer.wallets SET owner = NULL WHERE owner = 'bob'",
    ],
)
def test_verify_finds_a_user_without_a_wallet(
    fresh_postgres_url: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("WalletCore.postgres.verify.ROWS_PER_SLICE", 2)
    with postgres_store(fresh_postgres_url) as store:
        for name in ("alice", "bob", "carol"):
            account(store, name)
    assert list(verify(fresh_postgres_url))[-1].difference is None
    with psycopg.connect(connection_info(fresh_postgres_url)) as connection:
        connection.execute(damage.encode())
    assert "user 'bob' of the shop" in str(list(verify(fresh_postgres_url))[-1].difference)


def test_the_merchant_is_the_same_everywhere() -> None:
    assert UUID("c11a7fc7-ccb7-5def-a9b3-06dbeaf82168") == MERCHANT_ID


def test_a_lost_connection_is_replaced(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        alice = account(store, "alice")
        assert store.shop.info(alice)["coins"] == 1000
        with psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as connection:
            ended = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = 'coffer-read' AND datname = current_database()"
            ).fetchone()
        assert ended is not None
        assert ended[0] >= 1
        assert store.shop.info(alice)["coins"] == 1000


def test_what_takes_too_long_is_told_so(fresh_postgres_url: str) -> None:
    with (
        postgres_store(fresh_postgres_url) as store,
        psycopg.connect(connection_info(fresh_postgres_url)) as connection,
    ):
        alice = account(store, "alice")
        connection.execute("LOCK TABLE coffer.entries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            store.shop.info(alice)
        connection.rollback()
        assert store.shop.info(alice)["coins"] == 1000
