"""The service in process, on a memory store of each test module's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from RestAPI.app import create_app
from RestAPI.tests.keyed import SETTINGS, World
from testkit.ledgers import memory_store, postgres_store
from WalletCore.open_store import open_store
from WalletCore.settings import MEMORY_URL, Settings


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    settings = Settings(database_url=SecretStr(MEMORY_URL), redis_url=None, amqp_url=None)
    store = open_store(settings)
    yield create_app(settings, store)
    store.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def wallet_id(client: FlaskClient) -> str:
    """A new wallet in USD."""
    made: str = client.post("/api/v1/wallets", json={"currency": "USD"}).get_json()["id"]
    return made


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        with memory_store() as store:
            yield World(create_app(SETTINGS, store), store)
        return
    with postgres_store(request.getfixturevalue("fresh_postgres_url")) as store:
        yield World(create_app(SETTINGS, store), store)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The log lines of the applications that the test makes, of every level."""
    config = structlog.get_config()
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as captured:
        yield captured
    structlog.configure(**config)
