"""The shop over HTTP: what no single case can show. The rest is in tests_data/shop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr, ValidationError

from RestAPI.app import create_app
from RestAPI.rate_limits import FAILED_LOGINS_BURST
from RestAPI.shop import PRICES_SECONDS
from RestAPI.tests.shop_client import Shopper, shop_on, shop_settings, text_of
from testkit.case_clients import WsgiClient
from testkit.ledgers import audit
from testkit.waiting import eventually
from WalletCore.domain.errors import Overloaded, Unavailable
from WalletCore.open_store import open_store
from WalletCore.paging import PageRequest
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.verify import verify
from WalletCore.settings import MIN_JWT_SECRET_BYTES, Settings
from WalletCore.shop import MERCHANT_ID
from WalletCore.store import Store

AT_ONCE: Final = 200
THREADS: Final = 32
ELSEWHERE: Final = "postgresql://nobody@192.0.2.1/nothing"
SHOP: Final = (
    ("POST", "/api/auth", {"username": "alice", "password": "secret"}),
    ("GET", "/api/info", None),
    ("POST", "/api/sendCoin", {"toUser": "bob", "amount": 1}),
    ("GET", "/api/buy/cup", None),
)


@pytest.fixture
def shop() -> Iterator[tuple[Shopper, Store]]:
    with shop_on() as found:
        yield found


# -- Many at once ------------------------------------------------------------------------------


def test_parallel_purchases_and_gifts_leave_exactly_what_they_should(
    fresh_postgres_url: str,
) -> None:
    """Through two processes' worth of the service, with coins for a part of them only."""
    with (
        shop_on(fresh_postgres_url) as (one, store),
        shop_on(fresh_postgres_url) as (other, _),
        ThreadPoolExecutor(THREADS) as pool,
    ):
        alice = one.user("alice")
        bob = one.user("bob")
        twin = Shopper(other._client, alice.token)

        def spend(number: int) -> tuple[str, int]:
            shopper = alice if number % 4 < 2 else twin
            if number % 2:
                return "pen", shopper.buy("pen").status
            return "gift", shopper.give("bob", 7).status

        results = Counter(pool.map(spend, range(AT_ONCE)))
        assert {status for _, status in results} == {200, 400}
        bought, given = results["pen", 200], results["gift", 200]
        left = 1000 - 10 * bought - 7 * given
        assert 0 <= left < 10
        assert (
            alice.info()
            == twin.info()
            == {
                "coins": left,
                "inventory": [{"type": "pen", "quantity": bought}],
                "coinHistory": {"received": [], "sent": [{"toUser": "bob", "amount": 7 * given}]},
            }
        )
        assert bob.info()["coins"] == 1000 + 7 * given
        assert store.wallet(MERCHANT_ID)["balance"] == str(10 * bought)
    assert audit(fresh_postgres_url) == []
    assert list(verify(fresh_postgres_url))[-1].difference is None


def test_first_log_ins_at_the_same_moment_make_one_user(fresh_postgres_url: str) -> None:
    with (
        shop_on(fresh_postgres_url) as (one, _),
        shop_on(fresh_postgres_url) as (other, _),
        ThreadPoolExecutor(THREADS) as pool,
    ):
        futures = [
            (number % 2, pool.submit((one if number < 8 else other).log_in, "alice", password))
            for number in range(16)
            for password in (f"password {number % 2}",)
        ]
        statuses = Counter((which, future.result().status) for which, future in futures)
        # Whichever password came first is that of the user, and was right for all who gave it.
        assert statuses in (
            Counter({(0, 200): 8, (1, 401): 8}),
            Counter({(1, 200): 8, (0, 401): 8}),
        )
    with psycopg.connect(connection_info(fresh_postgres_url)) as connection:
        assert connection.execute("SELECT count(*) FROM coffer.shop_users").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM coffer.wallets").fetchone() == (1,)
    assert audit(fresh_postgres_url) == []


def test_first_purchases_at_the_same_moment_make_one_merchant(fresh_postgres_url: str) -> None:
    with (
        shop_on(fresh_postgres_url) as (one, store),
        shop_on(fresh_postgres_url) as (other, _),
        ThreadPoolExecutor(THREADS) as pool,
    ):
        alice = one.user("alice")
        twin = Shopper(other._client, alice.token)
        futures = [pool.submit((alice, twin)[n % 2].buy, "cup") for n in range(16)]
        assert {future.result().status for future in futures} == {200}
        merchant = store.wallet(MERCHANT_ID)
        assert (merchant["balance"], merchant["entry_seq"]) == ("320", 16)
    assert audit(fresh_postgres_url) == []


# -- Prices ------------------------------------------------------------------------------------


def test_a_new_price_holds_here_at_once_and_elsewhere_soon() -> None:
    with shop_on() as (here, store):
        there = Shopper(WsgiClient(create_app(shop_settings(), store)))
        alice = here.user("alice")
        twin = Shopper(there._client, there.user("alice").token)
        assert alice.buy("cup").status == twin.buy("cup").status == 200
        assert alice.info()["coins"] == 960
        assert here.ask("PUT", "/api/v1/shop/items/cup", {"price": 30}).status == 200
        alice.buy("cup")
        assert alice.info()["coins"] == 930

        def costs_more() -> bool:
            before = twin.info()["coins"]
            twin.buy("cup")
            return bool(before - twin.info()["coins"] == 30)

        time.sleep(PRICES_SECONDS)
        assert costs_more()
        # And who is to blame.
        items = {item.name: item for item in store.shop.items()}
        assert (items["cup"].changed_by, items["pen"].changed_by) == ("open", "coffer")


# -- Log-ins -----------------------------------------------------------------------------------


def test_a_hash_with_old_parameters_is_renewed(shop: tuple[Shopper, Store]) -> None:
    anybody, store = shop
    anybody.user("alice")
    user = store.shop.user("alice")
    assert user is not None
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    store.shop.keep_hash(user, old)
    assert anybody.log_in("alice", "wrong").status == 401
    kept = store.shop.user("alice")
    assert kept is not None
    assert kept.password_hash == old
    anybody.user("alice")
    kept = store.shop.user("alice")
    assert kept is not None
    assert kept.password_hash not in (old, user.password_hash)
    anybody.user("alice")


def test_who_tries_many_passwords_has_to_wait(shop: tuple[Shopper, Store]) -> None:
    anybody, _ = shop
    anybody.user("alice")
    for number in range(FAILED_LOGINS_BURST):
        assert anybody.log_in("alice", f"wrong {number}").status == 401
    answer = anybody.log_in("alice", "wrong once more")
    assert answer.status == 429
    assert text_of(answer)
    assert int(answer.headers["retry-after"]) >= 1
    # Nor is a right one told apart from a guess then.
    assert anybody.log_in("alice").status == 429


def test_who_commands_is_told_in_the_events(shop: tuple[Shopper, Store]) -> None:
    anybody, store = shop
    alice, _ = anybody.user("alice"), anybody.user("bob")
    alice.buy("cup")
    alice.give("bob", 1)
    events = store.events(PageRequest(None, 100)).items
    actors = Counter((event["type"], event["actor"]) for event in events)
    assert actors == {
        ("coffer.wallet.created", "user:alice"): 1,
        ("coffer.operation.completed", "user:alice"): 1,
        ("coffer.wallet.created", "user:bob"): 1,
        ("coffer.operation.completed", "user:bob"): 1,
        ("coffer.wallet.created", "coffer"): 1,
        ("coffer.purchase.completed", "user:alice"): 2,
        ("coffer.transfer.completed", "user:alice"): 2,
    }
    mine = [event for event in events if event["actor"] == "user:alice"]
    assert {event["actoraddress"] for event in mine} == {"127.0.0.1"}


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    with shop_on(jwt_ttl_seconds=60) as (anybody, _):
        alice = anybody.user("alice")
        assert alice.info()["coins"] == 1000
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 61)
        for method, path, body in SHOP[1:]:
            answer = alice.ask(method, path, body)
            assert answer.status == 401
            assert "expired" in text_of(answer)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_token_of_another_database_is_none(shop: tuple[Shopper, Store]) -> None:
    anybody, _ = shop
    anybody.user("bob")
    anybody.user("carol").buy("cup")
    with shop_on() as (elsewhere, _):
        alice = Shopper(anybody._client, elsewhere.user("alice").token)
    for method, path, body in SHOP[1:]:
        answer = alice.ask(method, path, body)
        assert answer.status == 401
        assert "no such user" in text_of(answer)


# -- When something is away --------------------------------------------------------------------


def test_without_a_secret_the_shop_is_closed(shop: tuple[Shopper, Store]) -> None:
    _, store = shop
    settings = shop_settings(ELSEWHERE, jwt_secret=None)
    closed = Shopper(WsgiClient(create_app(settings, store)), "a.b.c")
    for method, path, body in SHOP:
        answer = closed.ask(method, path, body)
        assert answer.status == 503
        assert "COFFER_JWT_SECRET" in text_of(answer)
    assert store.shop.user("alice") is None
    assert closed.ask("GET", "/api/v1/shop/items").status == 200


@pytest.mark.parametrize("currencies", ["", "COIN:2"])
def test_without_its_currency_the_shop_is_closed(currencies: str) -> None:
    with shop_on(currencies=currencies) as (anybody, store):
        answer = anybody.log_in("alice")
        assert answer.status == 503
        assert "COFFER_CURRENCIES=COIN:0" in text_of(answer)
        assert store.shop.user("alice") is None


def failing(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [(Unavailable("It is away."), 503), (Overloaded("It is full."), 503), (KeyError("x"), 500)],
)
def test_a_store_that_fails_is_told_in_the_shops_way(
    shop: tuple[Shopper, Store], monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    anybody, store = shop
    alice, _ = anybody.user("alice"), anybody.user("bob")
    for name in ("user", "info", "items"):
        monkeypatch.setattr(store.shop, name, failing(error))
    monkeypatch.setattr(store, "execute", failing(error))
    for method, path, body in SHOP:
        answer = alice.ask(method, path, body)
        assert answer.status == status
        assert "KeyError" not in text_of(answer)
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_too_many_log_ins_are_told_so(
    shop: tuple[Shopper, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    anybody, _ = shop
    monkeypatch.setattr("RestAPI.passwords.Passwords.hash", failing(Overloaded("Too many.")))
    answer = anybody.log_in("alice")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert text_of(answer) == "Too many."


# -- Settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jwt_secret", "jwt_previous_secrets"])
def test_secrets_have_a_least_length_and_are_never_shown(name: str) -> None:
    enough = "x" * MIN_JWT_SECRET_BYTES
    short = "hunter2" * 4
    assert len(short) == MIN_JWT_SECRET_BYTES - 4
    for secret in (short, f"{enough},{short}"):
        given: dict[str, Any] = {name: SecretStr(secret)}
        with pytest.raises(ValidationError, match="32 bytes or more") as caught:
            Settings(**given)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ValidationError, match="no comma"):
        Settings(jwt_secret=SecretStr(f"{enough},{enough}"))
    settings = Settings(jwt_secret=SecretStr("ж" * 16), jwt_previous_secrets=SecretStr(enough))
    assert settings.previous_jwt_secrets == [enough]
    assert enough not in repr(settings)


def test_a_secret_that_was_replaced_is_still_believed() -> None:
    old, new = "o" * MIN_JWT_SECRET_BYTES, "n" * MIN_JWT_SECRET_BYTES
    with shop_on(jwt_secret=old) as (anybody, store):
        token = anybody.user("alice").token
        for previous, status in ((f"{'p' * 32}, {old}", 200), (None, 401)):
            settings = shop_settings(jwt_secret=f"{new} ", jwt_previous_secrets=previous)
            client = WsgiClient(create_app(settings, store))
            assert Shopper(client, token).ask("GET", "/api/info").status == status


def test_in_memory_a_secret_is_made_for_the_process() -> None:
    with shop_on(jwt_secret=None) as (anybody, _), shop_on(jwt_secret=None) as (other, _):
        assert anybody.user("alice").info()["coins"] == 1000
        assert (
            Shopper(other._client, anybody.user("alice").token).ask("GET", "/api/info").status
            == 401
        )


def test_each_process_opens_its_own_store() -> None:
    """So that the two in the tests above are two."""
    settings = shop_settings()
    one, other = open_store(settings), open_store(settings)
    try:
        assert one.shop is not other.shop
        eventually(lambda: one.missing() == other.missing() == [], "both stores")
    finally:
        one.close()
        other.close()
