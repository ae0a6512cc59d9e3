"""What a web page of others tries with the browser of somebody who may use the service."""

from __future__ import annotations

import time

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from RestAPI.access import is_open
from RestAPI.app import create_app
from RestAPI.cors import Cors
from RestAPI.gate import MAX_REMEMBERED_HOSTS, Gate
from WalletCore.currencies import load_currencies
from WalletCore.memory import MemoryStore
from WalletCore.settings import MEMORY_URL, Settings

WALLETS = "/api/v1/wallets"
GATE_LIMIT_SECONDS = 20e-6
"""It takes some 0.3 us; the machine of a test run is shared."""


def settings(**given: str) -> Settings:
    return Settings(
        database_url=SecretStr(MEMORY_URL),
        redis_url=None,
        amqp_url=None,
        **given,  # type: ignore[arg-type]
    )


def gate(**given: str) -> Gate:
    found = settings(**given)
    return Gate(found, Cors(found.cors_origins, open_access=is_open(found)))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost.:8000",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.10:1",
        "[::1]",
        "[::1]:8000",
    ],
)
def test_names_of_loopback_are_known(client: FlaskClient, host: str) -> None:
    assert client.get(WALLETS, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1:8000@evil.example",
        "evil.example#127.0.0.1",
        "10.0.0.1",
        "[::2]:8000",
        "localhost:",
        "",
    ],
)
def test_a_rebound_name_is_refused_before_anything_is_done(client: FlaskClient, host: str) -> None:
    before = len(client.get(WALLETS).get_json()["items"])
    for method, path in (("GET", WALLETS), ("POST", WALLETS), ("GET", "/api/v1/nowhere")):
        answer = client.open(path, method=method, headers={"Host": host})
        assert (answer.status_code, answer.get_json()["code"]) == (403, "host_not_allowed")
        assert answer.mimetype == "application/problem+json"
        assert "COFFER_ALLOWED_HOSTS" in answer.get_json()["detail"]
        assert answer.headers["X-Request-Id"]
    assert len(client.get(WALLETS).get_json()["items"]) == before
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
def test_a_change_from_another_origin_is_refused(
    client: FlaskClient, wallet_id: str, headers: dict[str, str]
) -> None:
    base = {"Host": "localhost:8000", **headers}
    for answer in (
        client.post(WALLETS, headers=base),
        client.patch(f"{WALLETS}/{wallet_id}", json={"name": "x"}, headers=base),
        client.post(f"{WALLETS}/{wallet_id}/operation", data="{}", headers=base),
    ):
        assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_site_refused")
    assert client.get(f"{WALLETS}/{wallet_id}").get_json()["name"] is None
    assert client.get(WALLETS, headers=base).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8000", "Origin": "http://LOCALHOST:8000"},
        {
            "Host": "127.0.0.1:8000",
            "Origin": "http://127.0.0.1:8000",
            "Sec-Fetch-Site": "same-origin",
        },
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
def test_our_own_pages_and_programs_may_change(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert client.post(WALLETS, headers=headers).status_code == 201


def test_the_bind_address_and_the_listed_hosts_are_known() -> None:
    def known(named: str, **given: str) -> bool:
        environ = {"HTTP_HOST": named, "REQUEST_METHOD": "GET"}
        return gate(**given).refusal(environ) is None

    listed = {"host": "10.0.0.5", "access": "open", "allowed_hosts": "web, Wallets.example,[fd::1]"}
    assert known("10.0.0.5:8000", **listed)
    assert known("web:8000", **listed)
    assert known("wallets.EXAMPLE", **listed)
    assert known("[fd::1]:8000", **listed)
    assert known("127.0.0.1:8000", **listed)
    assert not known("10.0.0.6:8000", **listed)
    assert not known("", **listed)
    assert known("anything.example", allowed_hosts="*")
    # A list is not a wildcard, and an empty place in it not a name.
    assert not known("sub.wallets.example", allowed_hosts="wallets.example,,")


def test_with_keys_any_host_is_known() -> None:
    environ = {"HTTP_HOST": "anything.example", "REQUEST_METHOD": "GET"}
    assert gate(access="keys").refusal(environ) is None
    assert gate(host="10.0.0.5").refusal(environ) is None
    assert gate(access="open").refusal(environ) is not None


def test_a_named_origin_may_change() -> None:
    found = gate(cors_origins="https://app.example")
    environ = {"HTTP_HOST": "127.0.0.1", "REQUEST_METHOD": "POST"}
    cross = {**environ, "HTTP_SEC_FETCH_SITE": "cross-site"}
    assert found.refusal({**cross, "HTTP_ORIGIN": "https://app.example"}) is None
    assert found.refusal({**cross, "HTTP_ORIGIN": "https://app.example.evil"}) is not None
    assert found.refusal(cross) is not None


def test_any_host_still_does_not_let_other_pages_in() -> None:
    store = MemoryStore(load_currencies(""), waiting_limit=1)
    client = create_app(settings(allowed_hosts="*"), store).test_client()
    assert client.post(WALLETS, headers={"Host": "a.example"}).status_code == 201
    headers = {"Host": "a.example", "Origin": "https://b.example"}
    assert client.post(WALLETS, headers=headers).status_code == 403
    store.close()


def test_it_costs_next_to_nothing_and_remembers_little() -> None:
    found = gate()
    for number in range(1000):
        assert found.refusal({"HTTP_HOST": f"h{number}", "REQUEST_METHOD": "GET"}) is not None
    assert len(found._remembered) == MAX_REMEMBERED_HOSTS
    found = gate()
    environ = {"HTTP_HOST": "127.0.0.1:8000", "REQUEST_METHOD": "POST"}
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            found.refusal(environ)
        times.append((time.perf_counter() - started) / 100)
    assert min(times) < GATE_LIMIT_SECONDS
