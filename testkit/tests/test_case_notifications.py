"""What people were told in a case: a notification that is wrong or missing must be noticed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from testkit import case_notifications, case_outcomes
from testkit.case_matching import CaseError
from testkit.case_notifications import notification_problems

WALLET = "0198c5d0-0000-7000-8000-000000000001"
DATA = {"amount": "1.00"}


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (case_notifications, case_outcomes):
        monkeypatch.setattr(module, "RECORD_TIMEOUT_SECONDS", 0.05)
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)


def told(number: int, **members: Any) -> dict[str, Any]:
    return {
        "id": f"0198c5d0-0000-7000-8000-00000000000{number}",
        "event_id": f"0198c5d0-0000-7000-8000-0000000000e{number}",
        "wallet_id": WALLET,
        "user_id": "ann",
        "type": "coffer.operation.completed",
        "title": "Deposit",
        "text": "Deposit of 1.00 USD",
        "data": DATA,
        "created_at": f"2026-01-01T00:00:00.00000{number}Z",
        "read_at": None,
        **members,
    }


class Service:
    """Answers the GET endpoints out of lists, notifications in pages of one."""

    def __init__(self, listed: list[dict[str, Any]], version: int = 2) -> None:
        self.listed = listed
        self.newest = listed[::-1]
        self.version = version
        self.late = 0
        self.by_id = {item["id"]: item for item in listed}
        self.events = {
            item["event_id"]: {
                "type": item["type"],
                "data": DATA,
                "wallet": WALLET,
                "userid": "ann",
                "status": "Processed",
            }
            for item in listed
        }

    def __call__(self, path: str) -> Any:
        name = path.rpartition("/")[2]
        if path.startswith("/api/v1/wallets/"):
            return {"version": self.version}
        if path.startswith("/api/v1/events/"):
            return self.events[name]
        if not path.startswith("/api/v1/notifications?"):
            return self.by_id[name]
        assert f"wallet_id={WALLET}" in path or "user_id=ann" in path
        oldest = "order=oldest" in path
        listed = self.listed if oldest else self.newest
        if self.late:
            self.late -= 1
            listed = []
        found = re.search("cursor=([0-9]+)", path)
        at = int(found[1]) if found else 0
        more = str(at + 1) if at + 1 < len(listed) else None
        return {
            "items": listed[at : at + 1],
            "next_cursor": str(min(at + 1, len(listed))) if oldest else more,
        }


def problems(service: Service, **wanted: Any) -> list[str]:
    item: Mapping[str, Any] = {
        "wallet": "${wallet}",
        "notifications": [{"type": "coffer.operation.completed"}, {"data": {"amount": "1.00"}}],
        **wanted,
    }
    return notification_problems(item, {"wallet": WALLET}, service)


def test_notifications_that_are_right() -> None:
    assert problems(Service([told(1), told(2)])) == []


def test_they_are_waited_for() -> None:
    service = Service([told(1), told(2)])
    service.late = 2
    assert problems(service) == []


def test_those_of_a_user() -> None:
    item = {"user": "ann", "notifications": [{"title": "Deposit"}] * 2}
    assert notification_problems(item, {}, Service([told(1), told(2)], version=7)) == []


def test_a_message_keeps_the_status_that_was_set() -> None:
    service = Service([told(1, type="coffer.message")], version=1)
    service.events[told(1)["event_id"]]["status"] = "NotProcessed"
    assert problems(service, notifications=[{}]) == []


@pytest.mark.parametrize(
    ("listed", "wrong"),
    [
        ([told(1)], "expected 2 items, got 1"),
        ([told(1), told(2), told(3)], "expected 2 items, got 3"),
        ([told(1, type="coffer.wallet.created"), told(2)], "/notifications/0/type"),
        ([told(1), told(2, data={"amount": "2.00"})], "/notifications/1/data/amount"),
        ([told(1), told(2, more=1)], "more"),
        ([told(1), told(2, title="")], "title"),
        ([told(1), told(2, wallet_id=None)], "wallet_id"),
        ([told(1), told(2, user_id=None)], "user_id"),
        ([told(1), told(2, id=told(1)["id"])], "an id is there twice"),
        ([told(1), told(2, event_id=told(1)["event_id"])], "an event is there twice"),
    ],
)
def test_notifications_that_are_wrong(listed: list[dict[str, Any]], wrong: str) -> None:
    assert wrong in "\n".join(problems(Service(listed)))


def test_a_wallet_has_one_for_each_event() -> None:
    assert "the version is 3" in "\n".join(problems(Service([told(1), told(2)], version=3)))


def test_both_orders_and_the_id_must_agree() -> None:
    service = Service([told(1), told(2)])
    service.newest = service.newest[:1]
    assert "newest first it is not the same" in "\n".join(problems(service))
    service = Service([told(1), told(2)])
    service.by_id[told(2)["id"]] = told(2, read_at="2026-01-01T00:00:00.000000Z")
    assert "by its id it is another one" in "\n".join(problems(service))


@pytest.mark.parametrize(
    ("name", "value"),
    [("type", "coffer.message"), ("data", {}), ("wallet", None), ("userid", "bob")],
)
def test_it_says_what_its_event_says(name: str, value: Any) -> None:
    service = Service([told(1), told(2)])
    service.events[told(2)["event_id"]][name] = value
    assert "notification 2" in "\n".join(problems(service))


def test_its_event_becomes_processed() -> None:
    service = Service([told(1), told(2)])
    service.events[told(2)["event_id"]]["status"] = "NotProcessed"
    assert "its event is NotProcessed" in "\n".join(problems(service))


def test_a_listing_without_an_end_or_a_cursor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_notifications, "MAX_PAGES", 3)
    item = {"user": "ann", "notifications": [{}]}
    endless: Any = {"items": [told(1)], "next_cursor": "x"}
    with pytest.raises(CaseError, match="does not end"):
        notification_problems(item, {}, lambda _: endless)
    ended: Any = {"items": [], "next_cursor": None}
    with pytest.raises(CaseError, match="must have a next_cursor"):
        notification_problems(item, {}, lambda _: ended)
