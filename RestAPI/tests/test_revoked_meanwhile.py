"""What goes on for long ends with the key that it was begun with."""

from __future__ import annotations

import json

import pytest

from RestAPI.app import create_app
from RestAPI.routes.bulk import SLICE_LINES
from RestAPI.tests.event_stream import STREAM
from RestAPI.tests.keyed import API, BOOTSTRAP, SETTINGS, World
from testkit.ledgers import memory_store
from testkit.waiting import eventually
from WalletCore.keys import Scope

NDJSON = "application/x-ndjson"


def revoke(world: World, token: str) -> None:
    path = f"{API}/keys/{token.split('_')[1]}"
    assert world.call("DELETE", path, BOOTSTRAP).status_code == 200


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_no_line_is_done_once_the_key_is_revoked(world: World, query: str) -> None:
    token, wallet = world.key(Scope.WRITE), world.wallet(None)
    item = {"wallet_id": wallet, "operation_type": "DEPOSIT", "amount": "1"}
    body = (json.dumps(item).encode() + b"\n") * (SLICE_LINES + 3)
    answer = world.app.test_client().post(
        f"{API}/operations/bulk{query}",
        data=body,
        content_type=NDJSON,
        headers={"Authorization": f"Bearer {token}"},
    )
    # The first slice is done before the answer begins, the second when it is read on.
    revoke(world, token)
    *results, sums = map(json.loads, answer.data.splitlines())
    assert [result["status"] for result in results] == [200] * SLICE_LINES + [401] * 3
    assert results[-1]["body"]["code"] == "key_invalid"
    assert (sums["done"], sums["refused"], sums["complete"]) == (SLICE_LINES, 3, False)
    assert sums["problem"]["code"] == "key_invalid"
    balance = world.call("GET", f"{API}/wallets/{wallet}/balance", BOOTSTRAP).get_json()["balance"]
    assert balance == ("10.00" if query else f"{10 + SLICE_LINES}.00")


def test_a_stream_tells_nothing_once_the_key_is_revoked() -> None:
    with memory_store() as store:
        world = World(create_app(SETTINGS, store), store)
        token = world.key(Scope.READ)
        answer = world.call("GET", STREAM, token)
        parts = iter(answer.iter_encoded())
        next(parts)
        revoke(world, token)
        message = {"user_id": "alice", "description": "secret"}
        assert world.call("POST", f"{API}/events", BOOTSTRAP, message).status_code == 201
        eventually(store.notifications.top, "the notification")
        assert list(parts) == []
        answer.close()
        world.app.close()
