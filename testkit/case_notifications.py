"""What people were told in a case, read back through the GET endpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from testkit.case_matching import CaseError, mismatches, shown, substitute, substitute_path
from testkit.case_outcomes import (
    PAGE_ITEMS,
    POLL_SECONDS,
    RECORD_TIMEOUT_SECONDS,
    Get,
    pages,
    recorded_event,
)

MAX_PAGES = 1000
"""A listing that is longer than this does not come to its end."""

MESSAGE = "coffer.message"
"""The type of event whose status may be set by hand."""


def notification_problems(
    wanted: Mapping[str, Any], variables: Mapping[str, Any], get: Get
) -> list[str]:
    """Where the notifications of a wallet or user are not as ``expected_notifications`` says.

    They are waited for. Also where they contradict themselves, whatever the case expects: both
    orders have the same, each is found by its id and says what its event says, and each event of a
    wallet has one.
    """
    wanted = substitute(wanted, variables)
    if "wallet" in wanted:
        name, value = "wallet_id", wanted["wallet"]
    else:
        name, value = "user_id", wanted["user"]
    path = f"/api/v1/notifications?limit={PAGE_ITEMS}&{name}=" + substitute_path(
        "${value}", {"value": value}
    )
    expected = wanted["notifications"]
    version = None
    if "wallet" in wanted:
        version = get(substitute_path("/api/v1/wallets/${id}", {"id": value}))["version"]
    count = max(len(expected), version or 0)
    deadline = time.monotonic() + RECORD_TIMEOUT_SECONDS
    while len(found := _oldest_first(path, get)) < count and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    problems = mismatches(expected, found, variables, exact=False, at="/notifications")
    if version not in (None, len(found)):
        problems.append(f"the version is {version} and there are {len(found)} notifications")
    problems += _contradictions(path, name, value, found, get)
    return [f"expected_notifications, {name} {value}: {problem}" for problem in problems]


def _oldest_first(path: str, get: Get) -> list[Mapping[str, Any]]:
    """All there is now, as it was recorded. Raises CaseError if that has no end."""
    found: list[Mapping[str, Any]] = []
    following = f"{path}&order=oldest"
    for _ in range(MAX_PAGES):
        page = get(following)
        if not isinstance(page["next_cursor"], str):
            raise CaseError(f"{path}: a page with order=oldest must have a next_cursor")
        if not page["items"]:
            return found
        found += page["items"]
        cursor = substitute_path("&cursor=${cursor}", {"cursor": page["next_cursor"]})
        following = f"{path}&order=oldest{cursor}"
    raise CaseError(f"{path} does not end after {MAX_PAGES} pages")


def _contradictions(
    path: str, name: str, value: str, found: list[Mapping[str, Any]], get: Get
) -> list[str]:
    problems = []
    newest = [item for page in pages(path, get) for item in page]
    if newest[::-1] != found:
        problems.append(f"newest first it is not the same: {shown(newest)}")
    if len({item.get("id") for item in found}) != len(found):
        problems.append("an id is there twice")
    if len({item.get("event_id") for item in found}) != len(found):
        problems.append("an event is there twice")
    for number, item in enumerate(found, start=1):
        at = f"notification {number}"
        problems += mismatches({**_SHAPE, name: value}, item, {}, exact=True, at=at)
        if problems:
            continue
        again = get(substitute_path("/api/v1/notifications/${id}", {"id": item["id"]}))
        if again != item:
            problems.append(f"{at}: by its id it is another one: {shown(again)}")
        problems += [f"{at}: {problem}" for problem in _against_event(item, get)]
    return problems


def _against_event(notification: Mapping[str, Any], get: Get) -> list[str]:
    """Where a notification does not say what its event says."""
    event = recorded_event(notification["event_id"], get)
    told = {
        "type": event["type"],
        "data": event["data"],
        "wallet_id": event.get("wallet"),
        "user_id": event.get("userid"),
    }
    said = {name: notification[name] for name in told}
    problems = mismatches(told, said, {}, exact=True)
    if event["status"] != "Processed" and event["type"] != MESSAGE:
        problems.append(f"its event is {event['status']}")
    return problems


_SHAPE: Mapping[str, Any] = {
    "id": {"$type": "uuid"},
    "event_id": {"$type": "uuid"},
    "wallet_id": {"$any": True},
    "user_id": {"$any": True},
    "type": {"$regex": r"coffer(\.[a-z]+)+"},
    "title": {"$regex": ".{3,}"},
    "text": {"$regex": ".+"},
    "data": {"$type": "object"},
    "created_at": {"$type": "time"},
    "read_at": {"$any": True},
}
"""The members that every notification has, and no others."""
