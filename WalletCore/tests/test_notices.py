"""What people are told of events, and that nothing but an event of ours is ever taken for one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.notices import example_events, noticed
from WalletCore.domain import notices
from WalletCore.domain.events import EventType
from WalletCore.domain.model import Document
from WalletCore.domain.notices import BadEvent, Notice, notice
from WalletCore.recorder import read_event

EVENTS: Final = example_events()
DEPOSIT: Final = EVENTS["coffer.operation.completed"]
VOIDED: Final = EVENTS["coffer.hold.voided"]
MESSAGE: Final = EVENTS["coffer.message"]
MARKED_ID: Final = "01890a69-5a6b-7c7d-8e8f-9a0b1c2d3e4f"
DEEP: Final = 1000
"""Just within what the parser reads."""
MAX_REASON_CHARACTERS: Final = 200
NO_TEXTS: Final[list[Any]] = [None, 1, 1.5, True, [], {}]

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
MEMBERS: Final = sorted({member for event in EVENTS.values() for member in event} | {"more"})
DATA_MEMBERS: Final = sorted({member for event in EVENTS.values() for member in event["data"]})


def told_or_bad(event: object) -> Notice | None:
    """What is told of ``event``, or None where it is a bad one, for a reason that is short."""
    try:
        return notice(event)
    except BadEvent as bad:
        reason = str(bad)
    assert 0 < len(reason) < MAX_REASON_CHARACTERS
    return None


@pytest.mark.parametrize(
    ("type_", "data", "title", "text"),
    [
        (
            "coffer.operation.completed",
            {"amount": "10.50", "new_balance": "30.00"},
            "Deposit",
            "Deposit of 10.50 USD, balance 30.00 USD",
        ),
        (
            "coffer.operation.completed",
            {"operation_type": "WITHDRAW", "amount": "0.05", "new_balance": "-3.00"},
            "Withdrawal",
            "Withdrawal of 0.05 USD, balance -3.00 USD",
        ),
        (
            "coffer.purchase.completed",
            {},
            "Purchase",
            "Purchase of cup for 20 COIN, balance 980 COIN",
        ),
        (
            "coffer.purchase.completed",
            {"operation_type": "PURCHASE_IN", "new_balance": "20", "reference": "pink-hoody"},
            "Sale",
            "Sale of pink-hoody for 20 COIN, balance 20 COIN",
        ),
        ("coffer.hold.placed", {"amount": "4.00"}, "Hold", "Hold: 4.00 USD"),
        (
            "coffer.hold.voided",
            {"amount": "4.00", "captured": "1.00"},
            "Hold released",
            "Hold released: 3.00 USD",
        ),
        (
            "coffer.hold.expired",
            {"amount": "1000000000000000000", "captured": "1", "currency": "COIN"},
            "Hold expired",
            "Hold expired: 999999999999999999 COIN",
        ),
        ("coffer.wallet.created", {}, "Wallet opened", "A wallet in USD was opened (Savings)"),
        ("coffer.wallet.created", {"name": None}, "Wallet opened", "A wallet in USD was opened"),
        ("coffer.wallet.created", {"name": ""}, "Wallet opened", "A wallet in USD was opened"),
        (
            "coffer.wallet.updated",
            {},
            "Wallet changed",
            "The details of the USD wallet (Rainy days) changed",
        ),
        (
            "coffer.wallet.frozen",
            {},
            "Wallet frozen",
            "The JPY wallet is frozen: no money moves for now",
        ),
        (
            "coffer.wallet.unfrozen",
            {"name": "Mine"},
            "Wallet active again",
            "The JPY wallet (Mine) is active again: money moves",
        ),
        ("coffer.wallet.closed", {}, "Wallet closed", "The JPY wallet is closed for good"),
        ("coffer.message", {}, "Message", "Your parcel has arrived."),
        ("coffer.message", {"description": "two\nlines"}, "Message", "two\nlines"),
        (
            "coffer.message.updated",
            {},
            "Message marked",
            f"The message {MARKED_ID} was marked as Processed",
        ),
    ],
)
def test_plain_words(type_: str, data: Document, title: str, text: str) -> None:
    told = noticed(type_, **data)
    assert (told.title, told.text) == (title, text)
    assert told.type == type_


def test_no_type_is_left_out() -> None:
    assert notices._TELL.keys() == {kind.value for kind in EventType} == EVENTS.keys()


def test_what_is_taken_over_from_the_event() -> None:
    told = notice(DEPOSIT)
    assert told.event_id == UUID(DEPOSIT["id"])
    assert told.wallet_id == UUID(DEPOSIT["wallet"])
    assert told.user_id == "alice"
    assert told.time == datetime(2030, 1, 31, 12, 5, tzinfo=UTC)
    assert told.data == DEPOSIT["data"]
    ownerless = notice(EVENTS["coffer.wallet.frozen"])
    assert (ownerless.user_id, ownerless.wallet_id is None) == (None, False)
    assert notice(MESSAGE).wallet_id is None


def test_attributes_that_we_do_not_know_are_no_fault() -> None:
    assert notice({**DEPOSIT, "dataschema": "/schema", "colour": 3}) == notice(DEPOSIT)
    assert noticed("coffer.message", more=1).text == "Your parcel has arrived."


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (None, "not a CloudEvent"),
        ([], "not a CloudEvent"),
        ("coffer.message", "not a CloudEvent"),
        ({}, "not a CloudEvent"),
        ({**MESSAGE, "specversion": "0.3"}, "not a CloudEvent"),
        ({**MESSAGE, "specversion": 1.0}, "not a CloudEvent"),
        ({**MESSAGE, "type": "coffer.unknown"}, "unknown type 'coffer.unknown'"),
        ({**MESSAGE, "type": "x" * 5000}, "unknown type 'xx"),
        ({**MESSAGE, "type": None}, "type is not a text"),
        ({**MESSAGE, "type": ["coffer.message"]}, "type is not a text"),
        ({**MESSAGE, "data": None}, "data is not an object"),
        ({**MESSAGE, "data": "text"}, "data is not an object"),
        ({**MESSAGE, "data": {}}, "description is not a text"),
        ({**MESSAGE, "data": {"description": 1}}, "description is not a text"),
        ({**VOIDED, "data": {**VOIDED["data"], "status": "x"}}, "status is none"),
        ({**VOIDED, "data": {**VOIDED["data"], "captured": "1e999999"}}, "are not amounts"),
        ({**MESSAGE, "id": None}, "id is not a UUID"),
        ({**MESSAGE, "id": "1"}, "id is not a UUID"),
        ({**MESSAGE, "id": MESSAGE["id"].upper()}, "id is not a UUID"),
        ({**MESSAGE, "id": "{" + MESSAGE["id"] + "}"}, "id is not a UUID"),
        ({**MESSAGE, "id": "1_" * 15 + "11"}, "id is not a UUID"),
        ({**DEPOSIT, "wallet": "1"}, "wallet is not a UUID"),
        ({**DEPOSIT, "wallet": 1}, "wallet is not a UUID"),
        ({**MESSAGE, "userid": 1}, "userid is not a text"),
        ({**MESSAGE, "userid": ""}, "userid is not a text"),
        ({**MESSAGE, "time": None}, "time is not a text"),
        ({**MESSAGE, "time": "yesterday"}, "time is not RFC 3339"),
        ({**MESSAGE, "time": "2030-02-31T12:00:00Z"}, "time is not RFC 3339"),
        ({**MESSAGE, "time": "2030-01-31T12:00:00"}, "time has no offset"),
    ],
)
def test_bad_events(event: object, why: str) -> None:
    with pytest.raises(BadEvent) as caught:
        notice(event)
    assert why in str(caught.value)
    assert len(str(caught.value)) < MAX_REASON_CHARACTERS


@pytest.mark.parametrize(
    ("type_", "member"),
    [
        (type_, member)
        for type_, members in {
            "coffer.operation.completed": ("operation_type", "amount", "currency", "new_balance"),
            "coffer.purchase.completed": (
                *("operation_type", "amount", "currency", "new_balance", "reference"),
            ),
            "coffer.hold.placed": ("status", "amount", "currency"),
            "coffer.hold.voided": ("status", "amount", "captured", "currency"),
            "coffer.hold.expired": ("status", "amount", "captured", "currency"),
            "coffer.wallet.created": ("currency",),
            "coffer.wallet.updated": ("currency",),
            "coffer.wallet.frozen": ("currency",),
            "coffer.wallet.unfrozen": ("currency",),
            "coffer.wallet.closed": ("currency",),
            "coffer.message": ("description",),
            "coffer.message.updated": ("event_id", "status"),
        }.items()
        for member in members
    ],
)
def test_data_that_lacks_what_is_told(type_: str, member: str) -> None:
    event = EVENTS[type_]
    for data in (
        {name: value for name, value in event["data"].items() if name != member},
        *({**event["data"], member: value} for value in NO_TEXTS),
    ):
        with pytest.raises(BadEvent, match=f"{member} is not a text"):
            notice({**event, "data": data})


@pytest.mark.parametrize("name", [1, True, ["Savings"], {}])
def test_a_name_that_is_no_text(name: object) -> None:
    with pytest.raises(BadEvent, match="name is not a text"):
        noticed("coffer.wallet.created", name=name)


def test_an_operation_that_nobody_knows() -> None:
    with pytest.raises(BadEvent, match="operation_type"):
        noticed("coffer.operation.completed", operation_type="BURN")
    with pytest.raises(BadEvent, match="operation_type"):
        noticed("coffer.purchase.completed", operation_type="DEPOSIT")


@pytest.mark.parametrize("member", [*DATA_MEMBERS, "more"])
def test_nesting_without_end_is_no_way_to_stop_a_worker(member: str) -> None:
    """Python cannot even print what the parser reads, and must not try."""
    deep = b"[" * DEEP + b"]" * DEEP
    for event in EVENTS.values():
        body = orjson.dumps({**event, "data": {**event["data"], member: "@"}})
        told_or_bad(orjson.loads(body.replace(b'"@"', deep)))


@given(JSON)
def test_whatever_comes_is_an_event_or_a_bad_one(event: Any) -> None:
    with pytest.raises(BadEvent):
        notice(event)


@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.sampled_from(MEMBERS), JSON))
def test_whatever_attributes_say(type_: str, change: Document) -> None:
    told = told_or_bad({**EVENTS[type_], **change})
    assert told is None or (told.title and told.time.tzinfo is not None)


@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.sampled_from(DATA_MEMBERS), JSON))
def test_whatever_data_says(type_: str, change: Document) -> None:
    event = EVENTS[type_]
    told = told_or_bad({**event, "data": {**event["data"], **change}})
    assert told is None or isinstance(told.text, str)


@given(st.binary())
def test_whatever_bytes_come(body: bytes) -> None:
    with pytest.raises(BadEvent):
        read_event(body)
