"""Keys that are limited to an owner: what belongs to others is not there."""

from __future__ import annotations

from typing import Any

import pytest

from RestAPI.tests.keyed import API, BOOTSTRAP, ORDER, UNKNOWN, World
from WalletCore.keys import Scope


def test_what_belongs_to_others_is_not_there(world: World) -> None:
    key = world.key(Scope.READ, Scope.WRITE, owner="alice")
    theirs, nobodys, mine = world.wallet("bob"), world.wallet(None), world.wallet("alice")
    hold = world.call(
        "POST", f"{API}/wallets/{theirs}/holds", BOOTSTRAP, {"amount": "1"}
    ).get_json()
    operations = world.call("GET", f"{API}/wallets/{theirs}/operations", BOOTSTRAP).get_json()
    operation = operations["items"][0]["id"]
    given = {"source_wallet_id": theirs, "target_wallet_id": nobodys, "amount": "1"}
    transfer = world.call("POST", f"{API}/transfers", BOOTSTRAP, given).get_json()["id"]
    message = {"user_id": "bob", "description": "hi"}
    event = world.call("POST", f"{API}/events", BOOTSTRAP, message).get_json()["event_id"]
    before = world.call("GET", f"{API}/wallets/{theirs}", BOOTSTRAP).get_json()
    mixed = {"source_wallet_id": mine, "target_wallet_id": theirs, "amount": "1"}
    back = {"source_wallet_id": theirs, "target_wallet_id": mine, "amount": "1"}
    own = world.call("POST", f"{API}/wallets/{mine}/holds", key, {"amount": "1"}).get_json()["id"]
    foreign = [
        *(
            (method, f"{API}/wallets/{wallet}{path}", body)
            for wallet in (theirs, nobodys)
            for method, path, body in (
                ("GET", "", None),
                ("PATCH", "", {"name": "mine"}),
                ("GET", "/balance", None),
                ("GET", "/balance?at=2030-01-01T00:00:00Z", None),
                ("POST", "/operation", ORDER),
                ("POST", "/operation?dry_run=true", ORDER),
                ("GET", "/operations", None),
                ("GET", "/statement", None),
                ("POST", "/holds", {"amount": "1"}),
                ("GET", "/holds", None),
            )
        ),
        ("GET", f"{API}/operations/{operation}", None),
        ("GET", f"{API}/transfers/{transfer}", None),
        ("POST", f"{API}/transfers", mixed),
        ("POST", f"{API}/transfers", back),
        ("GET", f"{API}/holds/{hold['id']}", None),
        ("POST", f"{API}/holds/{hold['id']}/capture", {}),
        ("POST", f"{API}/holds/{hold['id']}/void", {}),
        ("POST", f"{API}/holds/{own}/capture", {"target_wallet_id": theirs}),
        ("GET", f"{API}/events/{event}", None),
        ("PUT", f"{API}/events/{event}", {"status": "Processed"}),
    ]
    for method, path, body in foreign:
        answer = world.call(method, path, key, body)
        assert answer.status_code == 404, (method, path, answer.get_json())
        # The same words as for what nobody has.
        for id_ in (theirs, nobodys, hold["id"], operation, transfer, event):
            other = path.replace(id_, UNKNOWN)
            if other != path:
                same = world.call(method, other, key, body)
                assert same.get_json()["detail"] == answer.get_json()["detail"].replace(
                    id_, UNKNOWN
                )
    many = {"operations": [{"wallet_id": theirs, **ORDER}, {"wallet_id": mine, **ORDER}, mixed]}
    done = world.call("POST", f"{API}/operations/bulk", key, many).get_json()
    assert [result["status"] for result in done["results"]] == [404, 200, 404]
    whole = world.call("POST", f"{API}/operations/bulk", key, {**many, "atomic": True})
    assert (whole.status_code, whole.get_json()["index"]) == (404, 0)
    assert world.call("GET", f"{API}/wallets/{theirs}", BOOTSTRAP).get_json() == before


def test_an_owners_key_does_everything_with_what_is_its_own(world: World) -> None:
    key = world.key(Scope.READ, Scope.WRITE, owner="alice")
    world.wallet("bob")
    made = world.call("POST", f"{API}/wallets", key, {"name": "new"}).get_json()
    assert made["owner"] == "alice"
    one, two = made["id"], world.wallet("alice", key)
    given = {"source_wallet_id": two, "target_wallet_id": one, "amount": "4"}
    moved = world.call("POST", f"{API}/transfers", key, given)
    assert moved.status_code == 201
    leg = moved.get_json()["legs"][0]["operation_id"]
    for path in (
        f"/wallets/{one}",
        f"/wallets/{one}/balance",
        f"/wallets/{one}/operations",
        f"/wallets/{one}/statement",
        f"/wallets/{one}/holds",
        f"/operations/{leg}",
        f"/transfers/{moved.get_json()['id']}",
        "/notifications",
    ):
        assert world.call("GET", API + path, key).status_code == 200, path
    listed = world.call("GET", f"{API}/wallets", key).get_json()["items"]
    assert {wallet["id"] for wallet in listed} == {one, two}
    found = world.call("GET", f"{API}/operations", key).get_json()["items"]
    assert {item["wallet_id"] for item in found} == {one, two}
    message = {"user_id": "alice", "description": "hi"}
    sent = world.call("POST", f"{API}/events", key, message)
    assert sent.status_code == 201
    path = f"{API}/events/{sent.get_json()['event_id']}"
    assert world.call("PUT", path, key, {"status": "Processed"}).status_code == 200
    told = world.call("GET", path, key).get_json()
    assert {"actor", "actoraddress", "requestid"}.isdisjoint(told)
    assert world.call("GET", path, BOOTSTRAP).get_json()["actor"].startswith("key:")
    path = f"{API}/events?order=newest&wallet_id={one}"
    events = world.call("GET", path, key).get_json()["items"]
    assert len(events) > 1
    assert all({"actor", "actoraddress", "requestid"}.isdisjoint(event) for event in events)
    assert world.call("GET", path, BOOTSTRAP).get_json()["items"][0]["actor"].startswith("key:")


def test_the_side_of_a_movement_that_is_ones_own(world: World) -> None:
    mine, theirs = world.wallet("alice"), world.wallet("bob")
    given = {"source_wallet_id": theirs, "target_wallet_id": mine, "amount": "3"}
    moved = world.call("POST", f"{API}/transfers", BOOTSTRAP, given).get_json()
    path = f"{API}/operations/{moved['legs'][0]['operation_id']}"
    key = world.key(Scope.READ, Scope.WRITE, owner="alice")
    seen = world.call("GET", path, key).get_json()
    assert (seen["wallet_id"], seen["operation_type"], seen["amount"]) == (
        mine,
        "TRANSFER_IN",
        "3.00",
    )
    assert world.call("POST", f"{path}/reversal", key, {}).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/wallets?owner=bob", None),
        ("POST", "/wallets", {"owner": "bob"}),
        ("POST", "/events", {"user_id": "bob", "description": "x"}),
        ("GET", "/notifications?user_id=bob", None),
        ("GET", "/notifications?user_id=bob&order=oldest", None),
        ("GET", "/notifications/stream?user_id=bob", None),
        ("POST", "/notifications/read-all", {"user_id": "bob"}),
        ("GET", "/events", None),
        ("GET", "/ledger/trial-balance", None),
        ("GET", "/status", None),
        ("GET", "/wallets?owner=bob&search=b", None),
    ],
)
def test_what_names_others_is_refused(world: World, method: str, path: str, body: Any) -> None:
    key = world.key(Scope.READ, Scope.WRITE, Scope.METRICS, owner="alice")
    answer = world.call(method, API + path, key, body)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")
    assert "bob" not in answer.get_json()["detail"]


def test_what_others_have_decided_an_owner_does_not_undo(world: World) -> None:
    key, wallet = world.key(Scope.READ, Scope.WRITE, owner="alice"), world.wallet("alice")
    path = f"{API}/wallets/{wallet}"
    assert world.call("PATCH", path, BOOTSTRAP, {"status": "frozen"}).status_code == 200
    operations = world.call("GET", f"{path}/operations", key).get_json()
    reversal = f"{API}/operations/{operations['items'][0]['id']}/reversal"
    # The same for what there is not, so that nothing is told.
    for method, asked, body in (
        ("PATCH", path, {"status": "active"}),
        ("PATCH", f"{API}/wallets/{UNKNOWN}", {"status": "active"}),
        ("POST", reversal, {}),
        ("POST", f"{API}/operations/{UNKNOWN}/reversal", {}),
    ):
        answer = world.call(method, asked, key, body)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")
    assert world.call("GET", path, key).get_json()["status"] == "frozen"
    assert world.call("PATCH", path, key, {"name": "mine"}).status_code == 200


def test_limits_and_shortfalls_are_for_admins(world: World) -> None:
    key = world.key(Scope.READ, Scope.WRITE)
    wallet = world.wallet(None)
    operations = world.call("GET", f"{API}/wallets/{wallet}/operations", key).get_json()
    reversal = f"{API}/operations/{operations['items'][0]['id']}/reversal"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"{API}/wallets", {"min_balance": "-5"}),
        ("POST", f"{API}/wallets", {"max_balance": "5"}),
        ("PATCH", f"{API}/wallets/{wallet}", {"min_balance": "-5"}),
        ("PATCH", f"{API}/wallets/{wallet}", {"max_balance": None}),
        ("POST", reversal, {"allow_negative": True}),
    ]
    for method, path, body in asked:
        answer = world.call(method, path, key, body)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed"), path
        assert world.call(method, path, BOOTSTRAP, body).status_code < 300, path
