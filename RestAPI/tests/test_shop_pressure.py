"""The shop over HTTP where much is asked of it at once: prices that are being read, many guesses of
a password, more gifts than a number has bits for.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from uuid_utils.compat import uuid7

from RestAPI.passwords import Passwords
from RestAPI.rate_limits import FAILED_LOGINS_BURST
from RestAPI.shop import Prices
from RestAPI.tests.shop_client import Shopper, shop_on
from WalletCore.domain.commands import Deposit
from WalletCore.domain.errors import Unavailable
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.settings import MEMORY_URL
from WalletCore.shop import Item
from WalletCore.store import Store


@pytest.fixture
def shop() -> Iterator[tuple[Shopper, Store]]:
    with shop_on() as found:
        yield found


def test_a_read_that_is_under_way_does_not_bring_an_old_price_back(
    shop: tuple[Shopper, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = shop
    prices, items = Prices(store), store.shop.items
    seen, go = threading.Event(), threading.Event()

    def slow() -> list[Item]:
        found = items()
        seen.set()
        assert go.wait(30)
        return found

    monkeypatch.setattr(store.shop, "items", slow)
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(prices.of, "cup")
        assert seen.wait(30)
        store.shop.set_price("cup", 30, "open")
        forgetting = pool.submit(prices.forget)
        time.sleep(0.05)
        go.set()
        assert reading.result() == 20
        forgetting.result()
    assert prices.of("cup") == 30


def test_prices_that_hang_keep_one_request_only(
    shop: tuple[Shopper, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = shop
    monkeypatch.setattr("RestAPI.shop.PRICES_WAIT_SECONDS", 0.05)
    prices, items = Prices(store), store.shop.items
    seen, go = threading.Event(), threading.Event()

    def hanging() -> list[Item]:
        seen.set()
        assert go.wait(30)
        return items()

    monkeypatch.setattr(store.shop, "items", hanging)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(prices.of, "cup")
        try:
            assert seen.wait(30)
            with pytest.raises(Unavailable, match="prices"):
                prices.of("cup")
        finally:
            go.set()
        assert first.result() == prices.of("cup") == 20


def test_what_is_verified_among_too_many_guesses_is_one_of_them(
    shop: tuple[Shopper, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    anybody, _ = shop
    anybody.user("alice")
    matches = Passwords.matches

    def among_guesses(passwords: Passwords, password: str, kept: str) -> bool:
        if password == "secret":
            while (answer := anybody.log_in("alice", "wrong")).status != 429:
                assert answer.status == 401
        return matches(passwords, password, kept)

    monkeypatch.setattr(Passwords, "matches", among_guesses)
    assert anybody.log_in("alice").status == 429


def test_a_refusal_before_the_password_tells_of_one_limit() -> None:
    with shop_on(rate_limit_per_address=1000) as (anybody, _):
        anybody.user("alice")
        while (after := anybody.log_in("alice", "wrong")).status != 429:
            pass
        before = anybody.log_in("alice")
        assert before.status == 429
        for answer in (before, after):
            assert answer.headers["ratelimit-limit"] == str(FAILED_LOGINS_BURST)


def test_gifts_that_add_up_to_more_than_64_bits_are_told_exactly(fresh_postgres_url: str) -> None:
    for url in (MEMORY_URL, fresh_postgres_url):
        with shop_on(url) as (anybody, store):
            alice, bob = anybody.user("alice"), anybody.user("bob")
            user = store.shop.user("alice")
            assert user is not None
            most = MAX_AMOUNT_MINOR - 10_000
            assert store.execute(Deposit(user.wallet_id, uuid7(), Decimal(most))).status == 200
            for _ in range(20):
                assert alice.give("bob", most).status == 200
                assert bob.give("alice", most).status == 200
            # orjson would read such numbers as floats.
            info = json.loads(alice.ask("GET", "/api/info").body)
            assert info["coinHistory"] == {
                "received": [{"fromUser": "bob", "amount": 20 * most}],
                "sent": [{"toUser": "bob", "amount": 20 * most}],
            }
