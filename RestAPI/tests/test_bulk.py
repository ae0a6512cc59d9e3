"""Many operations in one request: each on its own, all or nothing, and safe to send again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from RestAPI import bulk_items
from RestAPI.app import create_app
from RestAPI.reading_lines import MAX_LINE_BYTES
from RestAPI.routes import bulk
from RestAPI.schemas.bulk import MAX_BULK_BYTES, MAX_BULK_ITEMS
from testkit.ledgers import audit, memory_store, postgres_store
from testkit.services import TestDatabases
from WalletCore.committer import MAX_BATCH_COMMANDS
from WalletCore.settings import MEMORY_URL, Settings

MEMORY = Settings(database_url=SecretStr(MEMORY_URL), redis_url=None, amqp_url=None)
BULK: Final = "/api/v1/operations/bulk"
UNKNOWN: Final = str(uuid7())


@pytest.fixture(params=["memory", "postgres"])
def client(request: pytest.FixtureRequest, test_databases: TestDatabases) -> Iterator[FlaskClient]:
    with ExitStack() as stack:
        if request.param == "memory":
            store: Any = stack.enter_context(memory_store())
            yield create_app(MEMORY, store).test_client()
        else:
            url = stack.enter_context(test_databases.migrated())
            store = stack.enter_context(postgres_store(url))
            yield create_app(MEMORY, store).test_client()
            assert audit(url) == []


def wallet(client: FlaskClient, **fields: object) -> str:
    answer = client.post("/api/v1/wallets", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.get_json()["id"])


def balance(client: FlaskClient, wallet_id: str) -> str:
    return str(client.get(f"/api/v1/wallets/{wallet_id}").get_json()["balance"])


def deposit(wallet_id: str, amount: object = 1, **fields: object) -> dict[str, object]:
    return {"wallet_id": wallet_id, "operation_type": "DEPOSIT", "amount": amount, **fields}


def withdraw(wallet_id: str, amount: object) -> dict[str, object]:
    return {"wallet_id": wallet_id, "operation_type": "withdraw", "amount": amount}


def transfer(source: str, target: str, amount: object) -> dict[str, object]:
    return {"source_wallet_id": source, "target_wallet_id": target, "amount": amount}


def send(client: FlaskClient, operations: object, key: str | None = None, **more: object) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(BULK, json={"operations": operations, **more}, headers=headers)


def test_each_has_a_result_of_its_own_in_order(client: FlaskClient) -> None:
    one, two = wallet(client), wallet(client, currency="JPY")
    answer = send(
        client,
        [
            deposit(one, "5.00", reference="first"),
            withdraw(one, 7),
            deposit(one, "0.001"),
            transfer(one, two, 1),
            deposit(UNKNOWN),
            {"wallet_id": one, "operation_type": "STEAL", "amount": 1},
            "nothing at all",
            deposit(two, 3),
            withdraw(one, 2),
        ],
    )
    assert answer.status_code == 200
    document = answer.get_json()
    codes = [result["body"].get("code", "") for result in document["results"]]
    assert codes == [
        "",
        "insufficient_funds",
        "amount_too_precise",
        "currency_mismatch",
        "wallet_not_found",
        "validation_failed",
        "validation_failed",
        "",
        "",
    ]
    assert [result["status"] for result in document["results"]] == [
        *(200, 400, 422, 400, 404, 422, 422, 200, 200)
    ]
    assert (document["done"], document["refused"]) == (3, 6)
    assert (
        document["results"][5]["body"]["errors"][0]["where"] == "body.operations.5.operation_type"
    )
    assert document["results"][0]["body"]["reference"] == "first"
    assert (balance(client, one), balance(client, two)) == ("3.00", "3")


def test_a_wrong_amount_is_told_with_its_place(client: FlaskClient) -> None:
    (result,) = send(client, [deposit(wallet(client), "-1")]).get_json()["results"]
    assert (result["status"], result["body"]["code"]) == (422, "amount_invalid")
    assert result["body"]["errors"][0]["where"] == "body.operations.0.amount"


def test_all_or_nothing_is_all(client: FlaskClient) -> None:
    one, two = wallet(client), wallet(client)
    answer = send(client, [deposit(one, 5), transfer(one, two, 4), withdraw(two, 1)], atomic=True)
    assert answer.status_code == 200
    document = answer.get_json()
    assert [result["status"] for result in document["results"]] == [200, 201, 200]
    assert (document["done"], document["refused"]) == (3, 0)
    assert (balance(client, one), balance(client, two)) == ("1.00", "3.00")


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (lambda one: withdraw(one, 100), 400, "insufficient_funds"),
        (lambda _: deposit(UNKNOWN), 404, "wallet_not_found"),
        (lambda one: deposit(one, "0.001"), 422, "amount_too_precise"),
        (lambda one: deposit(one, 0), 422, "amount_invalid"),
        (lambda _: {}, 422, "validation_failed"),
        (lambda one: deposit(one, 1, idempotency_key="mine"), 422, "validation_failed"),
    ],
)
def test_all_or_nothing_is_nothing(client: FlaskClient, bad: Any, status: int, code: str) -> None:
    one = wallet(client)
    before = client.get(f"/api/v1/wallets/{one}").get_json()
    answer = send(client, [deposit(one, 5), bad(one), deposit(one, 1)], atomic=True)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert answer.get_json()["index"] == 1
    assert client.get(f"/api/v1/wallets/{one}").get_json() == before


def test_the_whole_request_can_be_sent_again(client: FlaskClient) -> None:
    one = wallet(client)
    orders = [deposit(one, 5), withdraw(one, 9), deposit(UNKNOWN)]
    first = send(client, orders, "k" * 255).get_json()
    again = send(client, orders, "k" * 255).get_json()
    assert [result.get("replayed") for result in first["results"]] == [None, None, None]
    # What was not there is not remembered: it may be there by now.
    assert [result.get("replayed") for result in again["results"]] == [True, True, None]
    assert [r["body"] for r in again["results"]] == [r["body"] for r in first["results"]]
    assert balance(client, one) == "5.00"
    # What an earlier try did not come to is done now.
    longer = send(client, [*orders[:2], deposit(one, 1)], "k" * 255).get_json()
    assert longer["results"][2]["body"]["new_balance"] == "6.00"
    other = send(client, [deposit(one, 6)], "k" * 255).get_json()
    assert other["results"][0]["body"]["code"] == "idempotency_key_reused"


def test_an_item_has_a_key_of_its_own(client: FlaskClient) -> None:
    one = wallet(client)
    order = deposit(one, 5, idempotency_key="salary-1")
    document = send(client, [order, order, deposit(one, 6, idempotency_key="salary-1")]).get_json()
    first, again, other = document["results"]
    assert again == {**first, "replayed": True}
    assert other["body"]["code"] == "idempotency_key_reused"
    assert balance(client, one) == "5.00"


def test_all_or_nothing_is_remembered_as_a_whole(client: FlaskClient) -> None:
    one = wallet(client)
    for orders in ([deposit(one, 5)], [deposit(one, 5), withdraw(one, 99)]):
        key = str(uuid7())
        first = send(client, orders, key, atomic=True)
        again = send(client, orders, key, atomic=True)
        assert again.data == first.data
        assert again.headers["Idempotency-Replayed"] == "true"
    assert balance(client, one) == "5.00"


def test_more_than_a_batch_in_one_transaction(client: FlaskClient) -> None:
    one, two = wallet(client), wallet(client)
    count = 2 * MAX_BATCH_COMMANDS + 1
    orders = [
        deposit(one),
        *[transfer(one, two, "0.01"), transfer(two, one, "0.01")] * (count // 2),
    ]
    answer = send(client, orders, atomic=True)
    assert answer.status_code == 200
    assert answer.get_json()["done"] == count
    refused = send(client, [*orders, withdraw(two, 1)], atomic=True)
    assert (refused.status_code, refused.get_json()["index"]) == (400, count)
    assert (balance(client, one), balance(client, two)) == ("1.00", "0.00")


def test_the_most_and_one_more(client: FlaskClient) -> None:
    one = wallet(client)
    document = send(client, [deposit(one)] * MAX_BULK_ITEMS).get_json()
    assert document["done"] == MAX_BULK_ITEMS
    assert balance(client, one) == f"{MAX_BULK_ITEMS}.00"
    answer = send(client, [deposit(one)] * (MAX_BULK_ITEMS + 1))
    assert (answer.status_code, answer.get_json()["code"]) == (422, "validation_failed")
    assert send(client, []).status_code == 422
    assert balance(client, one) == f"{MAX_BULK_ITEMS}.00"


def test_the_longest_body_and_one_byte_more() -> None:
    with memory_store() as store:
        client = create_app(MEMORY, store).test_client()
        for size, status in ((MAX_BULK_BYTES, 422), (MAX_BULK_BYTES + 1, 413)):
            body = b'{"operations":[]}'.ljust(size)
            answer = client.post(BULK, data=body, content_type="application/json")
            assert answer.status_code == status


def test_a_dry_run_of_many_changes_nothing(client: FlaskClient) -> None:
    one = wallet(client)
    before = client.get(f"/api/v1/wallets/{one}").get_json()
    for atomic in (False, True):
        answer = client.post(
            f"{BULK}?dry_run=true",
            json={"operations": [deposit(one, 5)], "atomic": atomic},
            headers={"Idempotency-Key": f"dry-{atomic}"},
        )
        assert answer.headers["Coffer-Dry-Run"] == "true"
        assert answer.get_json()["results"][0]["body"]["new_balance"] == "5.00"
        assert client.get(f"/api/v1/wallets/{one}").get_json() == before
        # Nor is the key used up.
        done = send(client, [deposit(one, 5), withdraw(one, 5)], f"dry-{atomic}", atomic=atomic)
        assert done.get_json()["done"] == 2
        before = client.get(f"/api/v1/wallets/{one}").get_json()


def test_numbers_of_any_size_are_told_apart_under_a_key(client: FlaskClient) -> None:
    one = wallet(client)
    for atomic in (False, True):
        answer = send(client, [deposit(one, 10**20)], f"large-{atomic}", atomic=atomic)
        assert answer.status_code == (422 if atomic else 200)
    assert balance(client, one) == "0.00"


def test_a_key_that_stands_for_another_request_is_not_taken(client: FlaskClient) -> None:
    one = wallet(client)
    path = f"/api/v1/wallets/{one}/operation"
    order = {"operation_type": "DEPOSIT", "amount": 1}

    def single(key: str) -> Any:
        return client.post(path, json=order, headers={"Idempotency-Key": key})

    def each(key: str) -> Any:
        return send(client, [deposit(one)], key)

    def whole(key: str) -> Any:
        return send(client, [deposit(one)], key, atomic=True)

    pairs = [(single, each), (each, single), (each, whole), (whole, each), (whole, single)]
    for done, (first, then) in enumerate(pairs, 1):
        key = f"key-{done}"
        assert first(key).status_code == 200
        refused = then(key)
        assert (refused.status_code, refused.get_json()["code"]) == (409, "idempotency_key_reused")
        assert balance(client, one) == f"{done}.00"


def test_a_slice_of_a_stream_ends_with_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    do_each = bulk_items.do_each

    def watched(store: Any, given: Any, *rest: Any, **options: Any) -> Any:
        part = list(given)
        sizes.append(len(part))
        return do_each(store, part, *rest, **options)

    monkeypatch.setattr(bulk, "do_each", watched)
    with memory_store() as store:
        client = create_app(MEMORY, store).test_client()
        line = b'{"description": "' + b"x" * (MAX_LINE_BYTES - 100) + b'"}\n'
        answer = client.post(BULK, data=line * 40, content_type="application/x-ndjson")
        *results, sums = answer.data.splitlines()
        assert (len(results), sums) == (40, b'{"done":0,"refused":40,"complete":true}')
    assert max(sizes) * len(line) <= bulk.SLICE_BYTES + len(line)


def test_streams_have_places_like_other_long_answers() -> None:
    with memory_store() as store:
        client = create_app(MEMORY.model_copy(update={"threads": 4}), store).test_client()
        first = client.post(BULK, data=b"{}\n" * 501, content_type="application/x-ndjson")
        second = client.post(BULK, data=b"{}\n", content_type="application/x-ndjson")
        assert (second.status_code, second.get_json()["code"]) == (503, "overloaded")
        first.close()
        third = client.post(BULK, data=b"{}\n", content_type="application/x-ndjson")
        assert third.status_code == 200
        third.close()


def test_marking_as_read_is_not_tried_out(client: FlaskClient) -> None:
    answer = client.post("/api/v1/notifications/read-all?dry_run=true", json={})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "validation_failed")
