"""A request's id, from its caller through the event and the broker to the worker's line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from RestAPI.app import create_app
from RestAPI.tests.running import running
from testkit.ledgers import memory_store, new_wallet, place_hold
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.waiting import eventually
from WalletCore.domain.origin import Origin
from WalletCore.paging import PageRequest
from WalletCore.settings import Settings

REQUEST_ID = "till-4/2030-01-31:17"
MEMORY = Settings(database_url=SecretStr("memory://"))
LONGEST = "x" * 128


def test_from_the_caller_to_the_line_of_the_worker(
    fresh_postgres_url: str, amqp_url: str, amqp_prefix: str, tmp_path: Path
) -> None:
    settings = {"amqp_url": amqp_url, "amqp_prefix": amqp_prefix}
    programs = [RunningProgram(kind, fresh_postgres_url, **settings) for kind in (RELAY, WORKER)]
    named = {f"COFFER_{name.upper()}": value for name, value in settings.items()}
    try:
        for program in programs:
            program.start()
        with running(
            tmp_path,
            COFFER_DATABASE_URL=fresh_postgres_url,
            COFFER_LOG_FORMAT="json",
            COFFER_WORKERS="1",
            **named,
        ) as server:
            given = {"X-Request-Id": REQUEST_ID}
            status, wallet = server.ask("POST", "/api/v1/wallets", {"currency": "USD"}, given)
            assert status == 201
            worker = programs[1]
            eventually(lambda: "has been sent to" in worker.log(), "the notification")
            (line,) = [line for line in worker.events() if "has been sent to" in line["event"]]
            assert line["request_id"] == REQUEST_ID
            assert wallet["currency"] in line["description"]
            written = map(json.loads, server.log.read_text().splitlines())
            (own,) = [line for line in written if line.get("rule") == "/api/v1/wallets"]
            assert (own["request_id"], own["status"], own["method"]) == (REQUEST_ID, 201, "POST")
            assert own["duration_ms"] > 0
    finally:
        for program in programs:
            program.close()


def test_what_no_request_caused_names_none() -> None:
    with memory_store() as store:
        asked = Origin("open", "127.0.0.1", request_id=REQUEST_ID)
        wallet_id = new_wallet(store, balance=10)
        store.execute(place_hold(wallet_id, 1, timedelta(0)), origin=asked)

        def events() -> list[dict[str, Any]]:
            return store.events(PageRequest(limit=100, cursor=None)).items

        eventually(lambda: events()[-1]["type"] == "coffer.hold.expired", "the hold's end")
        *_, placed, expired = events()
    assert placed["requestid"] == REQUEST_ID
    assert "requestid" not in expired
    assert expired["actor"] == "coffer"


@pytest.fixture
def logging_client(lines: list[Any]) -> Iterator[FlaskClient]:
    """A client of a service whose lines are kept."""
    with memory_store() as store:
        yield create_app(MEMORY, store).test_client()


@pytest.fixture
def named(logging_client: FlaskClient) -> str:
    """The id of a wallet."""
    wallet_id: str = logging_client.post("/api/v1/wallets").get_json()["id"]
    return wallet_id


def logged(lines: list[Any], rule: str) -> Any:
    return [line for line in lines if line["event"] == "request" and line["rule"] == rule][-1]


def test_the_line_names_the_wallet_of_the_path(
    logging_client: FlaskClient, named: str, lines: list[Any]
) -> None:
    client, wallet_id = logging_client, named
    path = "/api/v1/wallets/<wallet_id>/operation"
    client.post(path.replace("<wallet_id>", wallet_id.upper()), json={"operation_type": "NO"})
    assert logged(lines, path)["wallet_id"] == wallet_id
    assert logged(lines, path)["status"] == 422
    client.get("/api/v1/wallets/<wallet_id>".replace("<wallet_id>", "no id: 1"))
    assert logged(lines, "/api/v1/wallets/<wallet_id>")["wallet_id"] is None


def test_the_line_names_the_wallet_of_the_body(
    logging_client: FlaskClient, named: str, lines: list[Any]
) -> None:
    client, wallet_id = logging_client, named
    other = str(UUID(int=7))
    transfer = {"source_wallet_id": wallet_id, "target_wallet_id": other, "amount": "1"}
    client.post("/api/v1/transfers", json=transfer)
    assert logged(lines, "/api/v1/transfers")["wallet_id"] == wallet_id
    client.post("/api/v1/transfers", json={"legs": [transfer, transfer]})
    assert logged(lines, "/api/v1/transfers")["wallet_id"] is None
    read_all = "/api/v1/notifications/read-all"
    client.post(read_all, json={"wallet_id": wallet_id})
    assert logged(lines, read_all)["wallet_id"] == wallet_id
    client.post(read_all, json={"user_id": "alice"})
    assert logged(lines, read_all)["wallet_id"] is None


@pytest.mark.parametrize(("given", "kept"), [(LONGEST, True), (LONGEST + "x", False)])
def test_the_longest_id_is_in_the_event_as_in_the_answer(
    client: FlaskClient, given: str, kept: bool
) -> None:
    answer = client.post(
        "/api/v1/events",
        json={"user_id": "ann", "description": "Hello"},
        headers={"X-Request-Id": given},
    )
    assert (answer.headers["X-Request-Id"] == given) is kept
    event = client.get(f"/api/v1/events/{answer.get_json()['event_id']}").get_json()
    assert event["requestid"] == answer.headers["X-Request-Id"]
