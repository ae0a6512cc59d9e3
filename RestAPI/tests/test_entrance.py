"""Limits, addresses and origins at the door of a whole service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from RestAPI.app import create_app
from RestAPI.entrance import ADDRESS, Throttle
from RestAPI.problems import TooManyRequests
from RestAPI.rate_limits import FAILED_LOGINS_BURST
from RestAPI.redis_rate_limits import RedisRateLimits
from RestAPI.tests.keyed import API, BOOTSTRAP, SETTINGS, World
from testkit.ledgers import memory_store
from WalletCore.keys import Scope

WALLETS = f"{API}/wallets"


@contextmanager
def service(**given: Any) -> Iterator[World]:
    with memory_store() as store:
        app = create_app(SETTINGS.model_copy(update=given), store)
        yield World(app, store)
        app.close()


def asked(world: World, times: int, token: str | None = BOOTSTRAP, **headers: str) -> list[int]:
    return [world.call("GET", WALLETS, token, **headers).status_code for _ in range(times)]


def test_a_key_may_ask_so_often() -> None:
    with service(rate_limit_per_key=0.1, rate_limit_burst_seconds=30) as world:
        one, two = world.key(Scope.READ), world.key(Scope.READ)
        assert asked(world, 4, one) == [200, 200, 200, 429]
        # Another key has a bucket of its own, and the limit is told before it is reached.
        answer = world.call("GET", WALLETS, two)
        assert answer.headers["RateLimit-Remaining"] == "2"
        assert answer.headers["RateLimit-Limit"] == "3"
        refused = world.call("GET", WALLETS, one)
        assert refused.get_json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 10
        assert len(refused.headers.getlist("RateLimit-Limit")) == 1
        # What stands outside of the API is not limited.
        assert world.call("GET", "/health/live", None).status_code == 200


def test_an_address_may_ask_so_often() -> None:
    given = {"rate_limit_per_address": 0.1, "rate_limit_burst_seconds": 30}
    with service(trusted_proxies="127.0.0.1", **given) as world:
        near = {"X-Forwarded-For": "192.0.2.1"}
        assert asked(world, 4, None, **near) == [401, 401, 401, 429]
        assert asked(world, 1, BOOTSTRAP, **near) == [429]
        assert asked(world, 1, BOOTSTRAP, **{"X-Forwarded-For": "192.0.2.2"}) == [200]
        assert world.call("GET", "/", None).status_code == 200
    # Whoever is no trusted proxy cannot choose an address.
    with service(**given) as world:
        found = [
            asked(world, 1, BOOTSTRAP, **{"X-Forwarded-For": f"192.0.2.{number}"})[0]
            for number in range(4)
        ]
        assert found == [200, 200, 200, 429]


def test_whoever_guesses_keys_is_told_to_wait() -> None:
    with service() as world:
        wrong = f"{BOOTSTRAP[:-1]}B"
        assert asked(world, FAILED_LOGINS_BURST, wrong) == [401] * FAILED_LOGINS_BURST
        assert asked(world, 2, wrong) == [429, 429]
        # A right one opens, whoever else is behind the same address; none at all is no guess.
        assert asked(world, 2) == [200, 200]
        assert asked(world, 1, None) == [401]


def test_guesses_are_counted_with_redis_away() -> None:
    """Other limits are open then; this one falls back to what this process has seen."""
    away = RedisRateLimits("redis://127.0.0.1:1/0")
    throttle = Throttle(SETTINGS, away)
    environ: Any = {ADDRESS: "192.0.2.1"}
    for _ in range(FAILED_LOGINS_BURST):
        throttle.may_try(environ)
        throttle.failed(environ)
    with pytest.raises(TooManyRequests):
        throttle.may_try(environ)
    with pytest.raises(TooManyRequests):
        throttle.failed(environ)
    throttle.may_try({ADDRESS: "192.0.2.2"})
    away.close()


def test_nothing_is_limited_unless_that_is_wanted() -> None:
    with service() as world:
        answer = world.call("GET", WALLETS, BOOTSTRAP)
        assert not [name for name, _ in answer.headers if name.startswith("RateLimit")]


def test_events_and_the_log_tell_the_address_behind_a_proxy(lines: list[Any]) -> None:
    with service(trusted_proxies="127.0.0.1") as world:
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        world.call("POST", WALLETS, BOOTSTRAP, {}, **forwarded)
        (event,) = world.call("GET", f"{API}/events", BOOTSTRAP).get_json()["items"]
    assert event["actoraddress"] == "203.0.113.9"
    assert [line["address"] for line in lines if line["event"] == "request"] == [
        "203.0.113.9",
        "127.0.0.1",
    ]


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:3000"])
def test_a_page_of_a_named_origin_may_use_the_api(origin: str) -> None:
    with service(cors_origins="https://app.example,http://localhost:3000") as world:
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = world.call("OPTIONS", WALLETS, None, **asks)
        assert (preflight.status_code, preflight.data) == (204, b"")
        assert preflight.headers["Access-Control-Allow-Origin"] == origin
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        made = world.call("POST", WALLETS, BOOTSTRAP, {}, Origin=origin)
        assert made.status_code == 201
        assert made.headers["Access-Control-Allow-Origin"] == origin
        # A refusal can be read, too.
        refused = world.call("POST", WALLETS, None, {}, Origin=origin)
        assert refused.status_code == 401
        assert refused.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in made.headers
        assert "Access-Control-Allow-Origin" not in world.call("GET", "/docs", None).headers


def test_a_page_of_another_origin_may_not() -> None:
    with service(cors_origins="https://app.example") as world:
        asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        preflight = world.call("OPTIONS", WALLETS, None, **asks)
        assert preflight.status_code == 405
        assert "Access-Control-Allow-Origin" not in preflight.headers
        refused = world.call("POST", WALLETS, BOOTSTRAP, {}, Origin="https://evil.example")
        assert refused.get_json()["code"] == "cross_site_refused"
    with service() as world:
        answer = world.call("GET", WALLETS, BOOTSTRAP, Origin="https://app.example")
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["//api/v1/wallets", "///api/v1/wallets", "api/v1/wallets"])
def test_a_path_has_one_slash_in_front_or_is_none(path: str) -> None:
    # Werkzeug takes all of these for the same; so a page of another site, and whoever asks too
    # often, would get past everything that goes by the path.
    with service(access="open") as world:
        client = world.app.test_client()
        before = len(client.get(WALLETS).get_json()["items"])
        for headers in ({}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.post(WALLETS, headers=headers, environ_overrides={"PATH_INFO": path})
            assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
        assert len(client.get(WALLETS).get_json()["items"]) == before
