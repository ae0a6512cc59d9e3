"""What a case left behind, read back through the GET endpoints: its ledger and its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from testkit.case_matching import CaseError, mismatches, shown, substitute, substitute_path

PAGE_ITEMS = 200
"""The largest page that the service gives."""

MAX_PAGES = 10_000
"""A listing that is longer than this goes in circles."""

EVENTS_TIMEOUT_SECONDS = 10.0
"""How long an event may take to be listed: PostgreSQL lists it only when no transaction that is
older can add a row before it, and such a transaction may belong to another database."""

RECORD_TIMEOUT_SECONDS = 10.0
"""How long the worker may take to record an event."""

POLL_SECONDS = 0.05

_REQUEST_ID = "[A-Za-z0-9._:/+=@-]{1,128}"
_TRACEPARENT = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"

Get = Callable[[str], Any]
"""Asks for a path that must answer 200; gives the JSON body. Raises CaseError."""


def ledger_problems(wanted: Mapping[str, Any], variables: Mapping[str, Any], get: Get) -> list[str]:
    """Where a wallet and its history are not as one item of ``expected_ledger`` says.

    Also where they contradict themselves, whatever the case expects: the entries add up from zero
    to the balance, and ``seq`` counts from 1 without a gap.
    """
    wanted = substitute(wanted, variables)
    where = f"expected_ledger, wallet {wanted['wallet']}"
    path = substitute_path("/api/v1/wallets/${id}", {"id": wanted["wallet"]})
    wallet = get(path)
    entries = [
        item for page in pages(f"{path}/operations?limit={PAGE_ITEMS}", get) for item in page
    ]
    entries.reverse()
    expected = {name: wanted[name] for name in wanted if name not in ("wallet", "entries")}
    found = mismatches(expected, wallet, variables, exact=False)
    found += mismatches(wanted["entries"], entries, variables, exact=False, at="/entries")
    found += _contradictions(wallet, entries)
    return [f"{where}: {problem}" for problem in found]


def _contradictions(wallet: Mapping[str, Any], entries: list[Mapping[str, Any]]) -> list[str]:
    """Every place where a history does not add up, in exact decimals."""
    found = []
    balance = Decimal(0)
    previous_time = ""
    for number, entry in enumerate(entries, start=1):
        at = f"entry {number}"
        if entry["seq"] != number:
            found.append(f"{at} has seq {entry['seq']}")
        if entry["created_at"] < previous_time:
            found.append(f"{at} is older than the one before it")
        previous_time = entry["created_at"]
        if Decimal(entry["previous_balance"]) != balance:
            found.append(f"{at} starts from {entry['previous_balance']}, not from {balance}")
        kind = entry["operation_type"]
        sign = 1 if kind == "DEPOSIT" or kind.endswith("_IN") else -1
        balance += sign * Decimal(entry["amount"])
        if Decimal(entry["new_balance"]) != balance:
            found.append(f"{at} ends with {entry['new_balance']}, not with {balance}")
    if Decimal(wallet["balance"]) != balance:
        found.append(f"the wallet holds {wallet['balance']}, its entries add up to {balance}")
    if wallet["entry_seq"] != len(entries):
        found.append(f"entry_seq is {wallet['entry_seq']} and there are {len(entries)} entries")
    available = (
        Decimal(wallet["balance"]) - Decimal(wallet["held"]) - Decimal(wallet["min_balance"])
    )
    if Decimal(wallet["available"]) != available:
        found.append(f"available is {wallet['available']}, not {available}")
    return found


def pages(path: str, get: Get) -> list[list[Any]]:
    """The pages of a listing that ends, each as its items. Raises CaseError if it does not end."""
    found = []
    page_path = path
    for _ in range(MAX_PAGES):
        page = get(page_path)
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        page_path = path + substitute_path("&cursor=${cursor}", {"cursor": page["next_cursor"]})
    raise CaseError(f"{path} does not end after {MAX_PAGES} pages")


class EventTail:
    """Follows the event log from where the last case left it.

    The log has no filter and may be long: each case reads only what was written since the one
    before it began.
    """

    def __init__(self, get: Get) -> None:
        self._get = get
        self._cursor: str | None = None

    def skip(self) -> None:
        """Go to the end of the log as it is now."""
        while self._next():
            pass

    def problems(self, wanted: list[Mapping[str, Any]], variables: Mapping[str, Any]) -> list[str]:
        """Where the log since the last skip() is not as ``expected_events`` says.

        Also where it is not as every log must be: ``walletseq`` counts from 1 to the wallet's
        version without a gap, and each event is a CloudEvent that is found by its id and becomes
        Processed.
        """
        items = substitute(wanted, variables)
        logs: dict[str, list[Mapping[str, Any]]] = {item["wallet"]: [] for item in items}
        wallets = {
            wallet: self._get(substitute_path("/api/v1/wallets/${id}", {"id": wallet}))
            for wallet in logs
        }
        deadline = time.monotonic() + EVENTS_TIMEOUT_SECONDS
        complete = False
        while not complete:
            # One more page after the last one that was needed: there must be nothing too many.
            complete = all(len(logs[id_]) >= wallets[id_]["version"] for id_ in logs)
            events = self._next()
            for event in events:
                logs.get(str(event.get("wallet")), []).append(event)
            if not events and not complete:
                if time.monotonic() > deadline:
                    break
                time.sleep(POLL_SECONDS)
        return [
            f"expected_events, wallet {item['wallet']}: {problem}"
            for item in items
            for problem in self._compare(
                item, logs[item["wallet"]], wallets[item["wallet"]], variables
            )
        ]

    def _compare(
        self,
        item: Mapping[str, Any],
        events: list[Mapping[str, Any]],
        wallet: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> list[str]:
        version = wallet["version"]
        types = [event.get("type") for event in events]
        found = []
        if types != item["types"]:
            found.append(f"expected {shown(item['types'])}, got {shown(types)}")
        if len(events) != version:
            found.append(f"version is {version} and there are {len(events)} events")
        for number, event in enumerate(events, start=1):
            shape = _cloud_event(item["wallet"], number, wallet.get("owner"), event)
            found += mismatches(shape, event, variables, exact=True, at=f"event {number}")
            again = recorded_event(event["id"], self._get)
            if {**again, "status": event.get("status")} != event:
                found.append(f"event {number}: by its id it is another one: {shown(again)}")
            elif again.get("status") != "Processed":
                found.append(f"event {number} does not become Processed")
        if "data" in item:
            data = [event.get("data") for event in events]
            found += mismatches(item["data"], data, variables, exact=False, at="data")
        if "traceparents" in item:
            parents = [event.get("traceparent") for event in events]
            found += mismatches(item["traceparents"], parents, variables, exact=True)
        return found

    def _next(self) -> list[Mapping[str, Any]]:
        path = f"/api/v1/events?limit={PAGE_ITEMS}"
        if self._cursor is not None:
            path += substitute_path("&cursor=${cursor}", {"cursor": self._cursor})
        page = self._get(path)
        if not isinstance(page["next_cursor"], str):
            raise CaseError(f"{path}: a page of events must have a next_cursor")
        self._cursor = page["next_cursor"]
        items: list[Mapping[str, Any]] = page["items"]
        return items


def recorded_event(event_id: str, get: Get) -> Mapping[str, Any]:
    """The event, as soon as it is Processed; after RECORD_TIMEOUT_SECONDS as it is."""
    path = substitute_path("/api/v1/events/${id}", {"id": event_id})
    deadline = time.monotonic() + RECORD_TIMEOUT_SECONDS
    while True:
        event: Mapping[str, Any] = get(path)
        if event.get("status") == "Processed" or time.monotonic() > deadline:
            return event
        time.sleep(POLL_SECONDS)


def _cloud_event(
    wallet: str, number: int, owner: str | None, event: Mapping[str, Any]
) -> dict[str, Any]:
    """The members that every event of a wallet has, and no others: those of CloudEvents 1.0, its
    status, who owns the wallet if anybody does, who did it from where, and the id of the request
    and a traceparent if ``event`` has them.
    """
    return {
        "actor": {"$regex": "open|coffer|key:[0-9a-f]{16}|user:.+"},
        **({"actoraddress": {"$type": "string"}} if "actoraddress" in event else {}),
        **({"userid": owner} if owner else {}),
        **({"requestid": {"$regex": _REQUEST_ID}} if "requestid" in event else {}),
        **({"traceparent": {"$regex": _TRACEPARENT}} if "traceparent" in event else {}),
        "status": {"$regex": "NotProcessed|Processed"},
        "specversion": "1.0",
        "id": {"$type": "uuid"},
        "source": "/coffer",
        "type": {"$regex": r"coffer\.[a-z]+\.[a-z]+"},
        "subject": f"wallets/{wallet}",
        "time": {"$type": "time"},
        "datacontenttype": "application/json",
        "wallet": wallet,
        "walletseq": number,
        "data": {"$type": "object"},
    }
