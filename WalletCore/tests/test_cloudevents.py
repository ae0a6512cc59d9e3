"""The events as others read them: parsed by the CloudEvents project's own package."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given, strategies
from uuid_utils.compat import uuid7

from testkit.ledgers import memory_store, postgres_store
from testkit.services import TestDatabases
from WalletCore.domain.commands import (
    CaptureHold,
    Command,
    CreateWallet,
    Deposit,
    ExpireHold,
    Leg,
    OpenAccount,
    PlaceHold,
    Purchase,
    Reverse,
    SendMessage,
    SetMessageStatus,
    Transfer,
    UpdateWallet,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.events import SOURCE, EventType
from WalletCore.domain.model import Document, MessageStatus, WalletStatus, id_text, rfc3339
from WalletCore.domain.origin import Origin
from WalletCore.paging import PageRequest
from WalletCore.postgres.connect import connection_info
from WalletCore.store import Store
from WalletCore.topology import CONTENT_TYPE

TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODIES: Final = "SELECT body FROM coffer.events ORDER BY position"


def produce(store: Store) -> None:
    """At least one event of every type, some of them traced, some of nobody."""
    owned, other, friend, message = uuid7(), uuid7(), uuid7(), uuid7()
    captured, voided, expired, operation = uuid7(), uuid7(), uuid7(), uuid7()
    carol, merchant = uuid7(), uuid7()
    hour, one = timedelta(hours=1), Decimal(1)
    metadata = {"tags": ["gift", 2, None], "é": {"nested": True}}
    commands: list[Command] = [
        CreateWallet(owned, "USD", owner="alice", name="Sävings", metadata=metadata),
        Deposit(owned, uuid7(), Decimal("10.50"), "order-1", "first", metadata),
        Withdraw(owned, uuid7(), Decimal("0.05")),
        UpdateWallet(owned, name=None),
        UpdateWallet(owned, status=WalletStatus.FROZEN),
        UpdateWallet(owned, status=WalletStatus.ACTIVE),
        CreateWallet(other, "JPY"),
        UpdateWallet(other, status=WalletStatus.CLOSED),
        CreateWallet(friend, "USD", max_balance=Decimal(100)),
        Transfer(uuid7(), (Leg(operation, owned, friend, one),), "rent", "May", metadata),
        PlaceHold(owned, captured, one, hour, "order-2", "second", metadata),
        CaptureHold(owned, captured, uuid7(), Decimal("0.25"), final=False, target_id=friend),
        CaptureHold(owned, captured, uuid7()),
        PlaceHold(owned, voided, one, hour),
        VoidHold(owned, voided),
        PlaceHold(owned, expired, one, timedelta(0)),
        ExpireHold(owned, expired),
        Reverse(operation, (owned, friend), uuid7(), Decimal("0.75"), reference="rent"),
        OpenAccount("carol", "$argon2id$", carol, uuid7(), Decimal(1000)),
        CreateWallet(merchant, "COIN", owner="shop:merchant"),
        Purchase(carol, merchant, uuid7(), uuid7(), "cup", Decimal(20)),
        SendMessage(message, "bob", "Your parcel\nhas arrived."),
        SetMessageStatus(message, MessageStatus.PROCESSED),
    ]
    for number, command in enumerate(commands):
        traceparent = TRACEPARENT if number % 2 else None
        address = "2001:db8::7" if number % 3 else None
        origin = Origin(f"key:{number:016x}", address, None, traceparent)
        assert store.execute(command, origin=origin).status < 300


@pytest.fixture(scope="module", params=["memory", "postgres"])
def bodies(request: pytest.FixtureRequest) -> Iterator[list[bytes]]:
    """The events of ``produce`` as bytes: on PostgreSQL those of the log, which are published."""
    if request.param == "memory":
        with memory_store() as store:
            produce(store)
            items = store.events(PageRequest(limit=100, cursor=None)).items
        # Over HTTP each has a status beside, which is announced nowhere.
        for item in items:
            del item["status"]
        yield [orjson.dumps(item) for item in items]
        return
    databases: TestDatabases = request.getfixturevalue("test_databases")
    with databases.migrated() as url:
        with postgres_store(url) as store:
            produce(store)
        with psycopg.connect(connection_info(url)) as connection:
            yield [row[0].encode() for row in connection.execute(BODIES)]


def attributes_of(event: BaseCloudEvent) -> Document:
    """All that the package knows of an event but its data; the time as it was written."""
    attributes: dict[str, Any] = dict(event.get_attributes())
    time = attributes["time"]
    assert isinstance(time, datetime)
    return {**attributes, "time": rfc3339(time)}


def test_every_type_is_produced(bodies: list[bytes]) -> None:
    assert {orjson.loads(body)["type"] for body in bodies} == {kind.value for kind in EventType}


def test_the_package_reads_what_we_write(bodies: list[bytes]) -> None:
    for body in bodies:
        expected = orjson.loads(body)
        message = HTTPMessage({"content-type": CONTENT_TYPE}, body)
        event = from_http(message, JSONFormat())
        assert isinstance(event, CloudEvent)
        data = expected.pop("data")
        assert event.get_data() == data
        assert attributes_of(event) == expected
        assert (event.get_specversion(), event.get_source()) == ("1.0", SOURCE)
        assert event.get_datacontenttype() == "application/json"
        assert event.get_dataschema() is None
        assert event.get_extension("walletseq") == expected.get("walletseq")


def test_nothing_is_lost_on_the_way_through_the_package(bodies: list[bytes]) -> None:
    """Structured and binary mode, there and back."""
    form = JSONFormat()
    assert form.get_content_type() == CONTENT_TYPE
    for body in bodies:
        event = form.read(None, body)
        written = to_structured(event, form)
        assert orjson.loads(written.body)["data"] == orjson.loads(body)["data"]
        again = from_http(written, form)
        assert attributes_of(again) == attributes_of(event)
        assert again.get_data() == event.get_data()
        binary = from_http(to_binary(event, form), form)
        assert binary.get_data() == event.get_data()
        # In headers everything is text.
        texts = {name: str(value) for name, value in attributes_of(event).items()}
        assert {name: str(value) for name, value in attributes_of(binary).items()} == texts


@given(strategies.uuids())
@example(UUID(int=0))
@example(UUID(int=1))
@example(UUID(int=2**128 - 1))
def test_an_id_is_written_as_uuids_are(id_: UUID) -> None:
    assert id_text(id_) == str(id_)
