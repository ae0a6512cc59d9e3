"""What a case left behind: a ledger or an event log that is wrong must be noticed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from testkit.case_clients import Answer
from testkit.case_matching import CaseError
from testkit.case_outcomes import ledger_problems, pages
from testkit.cases import Runner
from testkit.tests.samples import make_answer, make_case

UUID = "0198c5d0-0000-7000-8000-000000000001"


def _operation(seq: int, kind: str, amount: str, before: str, after: str) -> dict[str, Any]:
    return {
        "seq": seq,
        "operation_type": kind,
        "amount": amount,
        "previous_balance": before,
        "new_balance": after,
        "created_at": f"2026-01-01T00:00:00.00000{seq}Z",
    }


WALLET = {
    "balance": "3.00",
    "held": "0.00",
    "min_balance": "-1.00",
    "available": "4.00",
    "version": 3,
    "entry_seq": 2,
}
HISTORY = [
    _operation(1, "DEPOSIT", "5.00", "0.00", "5.00"),
    _operation(2, "WITHDRAW", "2.00", "5.00", "3.00"),
]
WANTED = {
    "wallet": UUID,
    "balance": "3.00",
    "version": 3,
    "entry_seq": 2,
    "entries": [
        {"operation_type": "DEPOSIT", "amount": "5.00", "new_balance": "5.00", "seq": 1},
        {"operation_type": "WITHDRAW", "amount": "2.00", "new_balance": "3.00", "seq": 2},
    ],
}


def _ledger(
    wallet: Mapping[str, Any], history: list[dict[str, Any]], wanted: Mapping[str, Any]
) -> list[str]:
    def get(path: str) -> Any:
        if not path.startswith(f"/api/v1/wallets/{UUID}/operations"):
            return wallet
        # In pages of one, newest first.
        at = int(path.partition("&cursor=")[2] or 0)
        page = list(reversed(history))[at : at + 1]
        return {"items": page, "next_cursor": str(at + 1) if at + 1 < len(history) else None}

    return ledger_problems(wanted, {}, get)


def test_a_ledger_that_is_right() -> None:
    assert _ledger(WALLET, HISTORY, WANTED) == []


@pytest.mark.parametrize("member", ["balance", "version", "entry_seq"])
def test_a_wallet_that_is_not_as_expected(member: str) -> None:
    wrong = {**WANTED, member: "9.00" if member == "balance" else 9}
    assert any(f"/{member}: expected" in problem for problem in _ledger(WALLET, HISTORY, wrong))


@pytest.mark.parametrize("member", ["operation_type", "amount", "new_balance", "seq"])
def test_an_entry_that_is_not_as_expected(member: str) -> None:
    wrong = {**WANTED, "entries": [{**WANTED["entries"][0], member: "x"}, WANTED["entries"][1]]}  # type: ignore[index]
    assert any(f"/entries/0/{member}" in problem for problem in _ledger(WALLET, HISTORY, wrong))


@pytest.mark.parametrize(
    ("wallet", "history"),
    [
        ({**WALLET, "balance": "3.01"}, HISTORY),
        ({**WALLET, "available": "3.00"}, HISTORY),
        ({**WALLET, "entry_seq": 3}, HISTORY),
        (WALLET, [HISTORY[0]]),
        (WALLET, [HISTORY[0], {**HISTORY[1], "seq": 3}]),
        (WALLET, [HISTORY[0], {**HISTORY[1], "previous_balance": "5.01"}]),
        (WALLET, [HISTORY[0], {**HISTORY[1], "new_balance": "2.99"}]),
        (WALLET, [HISTORY[0], {**HISTORY[1], "created_at": "2025-01-01T00:00:00.000000Z"}]),
    ],
)
def test_a_ledger_that_contradicts_itself(
    wallet: dict[str, Any], history: list[dict[str, Any]]
) -> None:
    loose = {"wallet": UUID, "entries": [{"seq": {"$any": True}} for _ in history]}
    assert _ledger(wallet, history, loose)


def test_a_listing_without_an_end_is_noticed() -> None:
    with pytest.raises(CaseError, match="does not end"):
        pages("/x?limit=1", lambda path: {"items": [], "next_cursor": "again"})


def _event(seq: int, type_: str, **members: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": UUID[:-1] + str(seq),
        "source": "/coffer",
        "type": type_,
        "subject": f"wallets/{UUID}",
        "time": "2026-01-01T00:00:00.000000Z",
        "datacontenttype": "application/json",
        "wallet": UUID,
        "walletseq": seq,
        "actor": "open",
        "data": {"seq": seq},
        "status": "Processed",
        **members,
    }


CREATED = _event(1, "coffer.wallet.created")
DONE = _event(2, "coffer.operation.completed")


def _events_case(log: list[dict[str, Any]], wanted: dict[str, Any], *, version: int = 2) -> None:
    """Run a case whose one step makes ``log`` out of an event of somebody else."""
    other = _event(1, "coffer.wallet.created", wallet="other", id="other")
    written = [other]

    def client(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if method == "POST":
            written.extend(log)
            return make_answer({})
        if path.startswith("/api/v1/events/"):
            return make_answer(next(event for event in written if event["id"] == path[15:]))
        if path.startswith("/api/v1/events"):
            at = int(path.partition("&cursor=")[2] or 0)
            return make_answer(
                {"items": written[at : at + 1], "next_cursor": str(min(at + 1, len(written)))}
            )
        return make_answer({"version": version})

    post = {"request": {"method": "POST", "path": "/api/v1/wallets"}, "expect": {"status": 200}}
    Runner(client).run(make_case(post, expected_events=[{"wallet": UUID, **wanted}]))


TYPES = ["coffer.wallet.created", "coffer.operation.completed"]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NONE = [None, None]


def test_events_that_are_right() -> None:
    _events_case([CREATED, DONE], {"types": TYPES, "data": [{}, {"seq": 2}]})


@pytest.mark.parametrize(
    ("log", "wanted", "told"),
    [
        ([CREATED, DONE], {"types": TYPES[:1]}, "expected"),
        ([CREATED, DONE], {"types": TYPES[::-1]}, "expected"),
        ([CREATED, DONE], {"types": TYPES, "data": [{}]}, "items"),
        ([CREATED, DONE], {"types": TYPES, "data": [{}, {"seq": 3}]}, "data/1/seq"),
        ([DONE, CREATED], {"types": TYPES[::-1]}, "walletseq"),
        ([CREATED, {**DONE, "walletseq": 3}], {"types": TYPES}, "walletseq"),
        ([CREATED, {**DONE, "specversion": "0.3"}], {"types": TYPES}, "specversion"),
        ([CREATED, {**DONE, "time": "now"}], {"types": TYPES}, "time"),
        ([CREATED, {**DONE, "more": 1}], {"types": TYPES}, "more"),
        ([CREATED, {**DONE, "userid": "bob"}], {"types": TYPES}, "userid"),
        ([CREATED, {**DONE, "status": None}], {"types": TYPES}, "status"),
        ([CREATED, {**DONE, "actor": "nobody"}], {"types": TYPES}, "actor"),
        ([CREATED, {**DONE, "actoraddress": 7}], {"types": TYPES}, "actoraddress"),
        ([CREATED, {**DONE, "traceparent": "x"}], {"types": TYPES}, "traceparent"),
        ([CREATED, DONE], {"types": TYPES, "traceparents": [None, TRACE]}, "/1: expected"),
        ([CREATED, {**DONE, "traceparent": TRACE}], {"types": TYPES, "traceparents": NONE}, "/1: "),
        ([CREATED, {**DONE, "id": CREATED["id"]}], {"types": TYPES}, "another one"),
        ([CREATED, DONE, {**DONE, "id": "x"}], {"types": [*TYPES, TYPES[1]]}, "walletseq"),
    ],
)
def test_events_that_are_wrong(
    log: list[dict[str, Any]], wanted: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testkit.case_outcomes.RECORD_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(CaseError, match=told):
        _events_case(log, wanted, version=len(log))


def test_a_traceparent_that_is_right() -> None:
    log = [CREATED, {**DONE, "traceparent": TRACE}]
    _events_case(log, {"types": TYPES, "traceparents": [None, TRACE]})


def test_an_event_that_is_never_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testkit.case_outcomes.RECORD_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(CaseError, match="event 2 does not become Processed"):
        _events_case([CREATED, {**DONE, "status": "NotProcessed"}], {"types": TYPES})


def test_an_event_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testkit.case_outcomes.EVENTS_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(CaseError, match="version is 3 and there are 2 events"):
        _events_case([CREATED, DONE], {"types": TYPES}, version=3)
