"""Who may do what: every route with every kind of key, and what belongs to others."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from RestAPI.app import Application, create_app
from RestAPI.openapi import API_PREFIX
from RestAPI.scopes import NEEDED, Guard
from testkit.ledgers import memory_store, postgres_store
from WalletCore.domain.origin import SHELL_ACTOR
from WalletCore.keys import PREFIX, Scope, new_key
from WalletCore.settings import MEMORY_URL, Settings
from WalletCore.store import Store

API: Final = "/api/v1"
BOOTSTRAP: Final = f"{PREFIX}_{'0' * 16}_{'A' * 43}"
SETTINGS: Final = Settings(
    database_url=SecretStr(MEMORY_URL),
    redis_url=None,
    amqp_url=None,
    access="keys",
    bootstrap_key=SecretStr(BOOTSTRAP),
)
ORDER: Final = {"operation_type": "DEPOSIT", "amount": "10"}
UNKNOWN: Final = "01890a5d-ac96-774b-bcce-b302099a8057"


@dataclass(frozen=True)
class World:
    """An application that asks for keys, on ``store``."""

    app: Application
    store: Store

    def key(self, *scopes: Scope, owner: str | None = None, **given: Any) -> str:
        """The text of a new key."""
        key, text = new_key("test", scopes, owner=owner, created_by=SHELL_ACTOR, **given)
        self.store.keys.add(key)
        return text

    def call(
        self, method: str, path: str, token: str | None, json: Any = None, **headers: str
    ) -> TestResponse:
        """The answer to a request with ``token``."""
        client: FlaskClient = self.app.test_client()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return client.open(path, method=method, json=json, headers=headers)

    def wallet(self, owner: str | None, token: str = BOOTSTRAP) -> str:
        """The id of a new wallet with 10 in it."""
        made = self.call("POST", f"{API}/wallets", token, {"owner": owner}).get_json()
        path = f"{API}/wallets/{made['id']}/operation"
        assert self.call("POST", path, BOOTSTRAP, ORDER).status_code == 200
        return str(made["id"])


@pytest.fixture(params=["memory", "postgres"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        with memory_store() as store:
            yield World(create_app(SETTINGS, store), store)
        return
    with postgres_store(request.getfixturevalue("fresh_postgres_url")) as store:
        yield World(create_app(SETTINGS, store), store)


def path_of(rule: str) -> str:
    """A path of ``rule`` that leads to nothing."""
    for name in ("wallet_id", "operation_id", "transfer_id", "hold_id", "event_id"):
        rule = rule.replace(f"<{name}>", UNKNOWN)
    return rule.replace("<notification_id>", UNKNOWN).replace("<key_id>", "f" * 16)


def routes(app: Application) -> list[tuple[str, str, Any]]:
    """Every route that is served: method, rule, what it needs."""
    return [
        (method, rule.rule, app.needed[rule.endpoint])
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"})
    ]


def test_the_table_names_what_is_served_and_nothing_else(world: World) -> None:
    served = {(method, rule) for method, rule, _ in routes(world.app)}
    assert served - {("GET", "/static/<path:filename>")} == set(NEEDED)
    for (_, rule), needed in NEEDED.items():
        # Under the API nothing is for everybody.
        assert rule.startswith(f"{API}/") <= (needed is not Guard.NOTHING), rule


@pytest.mark.parametrize(("method", "rule"), NEEDED)
def test_every_route_asks_for_its_scope(method: str, rule: str) -> None:
    with memory_store() as store:
        world, needed = World(create_app(SETTINGS, store), store), NEEDED[method, rule]
        path = path_of(rule)
        if not isinstance(needed, Scope):
            assert world.call(method, path, None).status_code < 500
            return
        revoked = world.key(*Scope)
        world.store.keys.revoke(revoked.split("_")[1], SHELL_ACTOR, datetime.now(UTC))
        ended = world.key(*Scope, expires_at=datetime.now(UTC))
        wrong = world.key(*Scope)
        wrong = wrong[:-4] + ("AAAA" if wrong[-4:] != "AAAA" else "BBBB")
        unknown = new_key("unknown", [needed], created_by="nobody")[1]
        for token in (
            None,
            "",
            "x",
            wrong,
            revoked,
            ended,
            unknown,
            f"{BOOTSTRAP}x",
            BOOTSTRAP[:-1],
        ):
            answer = world.call(method, path, token)
            assert answer.status_code == 401, token
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="coffer"')
            code = "key_missing" if token is None else "key_invalid"
            assert answer.get_json()["code"] == code
            assert answer.mimetype == "application/problem+json"
        for scope in Scope:
            answer = world.call(method, path, world.key(scope))
            if scope in (needed, Scope.ADMIN):
                assert answer.status_code not in (401, 403), scope
                answer.close()
            else:
                assert answer.status_code == 403, scope
                assert answer.get_json()["code"] == "scope_missing"
                assert needed in answer.get_json()["detail"]
                assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("scheme", ["Basic", "Token", "bearer:", ""])
def test_another_scheme_is_no_key(world: World, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {BOOTSTRAP}"}
    assert world.call("GET", f"{API}/wallets", None, **headers).status_code == 401
    headers = {"Authorization": f"bEaReR   {BOOTSTRAP} "}
    assert world.call("GET", f"{API}/wallets", None, **headers).status_code == 200


# -- An owner's key ------------------------------------------------------------------------------


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
                ("PATCH", "", {"status": "frozen"}),
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
        ("POST", f"{API}/operations/{operation}/reversal", {}),
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
    assert world.call("POST", f"{API}/operations/{leg}/reversal", key, {}).status_code == 201
    message = {"user_id": "alice", "description": "hi"}
    sent = world.call("POST", f"{API}/events", key, message)
    assert sent.status_code == 201
    path = f"{API}/events/{sent.get_json()['event_id']}"
    assert world.call("PUT", path, key, {"status": "Processed"}).status_code == 200


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
    assert world.call("POST", f"{path}/reversal", key, {}).status_code == 404


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
    ],
)
def test_what_names_others_is_refused(world: World, method: str, path: str, body: Any) -> None:
    key = world.key(Scope.READ, Scope.WRITE, owner="alice")
    answer = world.call(method, API + path, key, body)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed")
    assert "bob" not in answer.get_json()["detail"]


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


# -- Keys themselves -----------------------------------------------------------------------------


def test_a_key_is_made_used_and_revoked(world: World) -> None:
    given = {"name": "till 7", "scopes": ["wallets:read"], "expires_in_days": 1}
    made = world.call("POST", f"{API}/keys", BOOTSTRAP, given)
    assert made.status_code == 201
    shown = made.get_json()
    token = shown.pop("key")
    assert token.startswith(f"ck_{shown['id']}_")
    assert (shown["created_by"], shown["last_used_at"]) == ("key:" + "0" * 16, None)
    ends = datetime.fromisoformat(shown["expires_at"])
    assert timedelta(hours=23) < ends - datetime.now(UTC) <= timedelta(days=1)
    assert world.call("GET", f"{API}/wallets", token).status_code == 200
    (listed,) = world.call("GET", f"{API}/keys", BOOTSTRAP).get_json()["items"]
    assert listed["last_used_at"] is not None
    assert {**listed, "last_used_at": None} == shown
    assert token.split("_", 2)[2] not in world.call("GET", f"{API}/keys", BOOTSTRAP).text
    path = f"{API}/keys/{shown['id']}"
    revoked = world.call("DELETE", path, BOOTSTRAP).get_json()
    assert (revoked["revoked_by"], revoked["revoked_at"] is None) == ("key:" + "0" * 16, False)
    # In this process at once.
    assert world.call("GET", f"{API}/wallets", token).status_code == 401
    assert world.call("DELETE", path, BOOTSTRAP).get_json() == revoked
    assert world.call("DELETE", f"{API}/keys/{'e' * 16}", BOOTSTRAP).status_code == 404
    assert world.call("DELETE", f"{path}?dry_run=true", BOOTSTRAP).status_code == 422


def test_two_keys_work_side_by_side(world: World) -> None:
    old, new = world.key(Scope.READ), world.key(Scope.READ)
    for token in (old, new):
        assert world.call("GET", f"{API}/wallets", token).status_code == 200
    world.call("DELETE", f"{API}/keys/{old.split('_')[1]}", BOOTSTRAP)
    assert world.call("GET", f"{API}/wallets", old).status_code == 401
    assert world.call("GET", f"{API}/wallets", new).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "scopes": []},
        {"name": "", "scopes": ["admin"]},
        {"name": "x" * 256, "scopes": ["admin"]},
        {"name": "x", "scopes": ["wallets"]},
        {"name": "x", "scopes": ["admin"], "owner": "alice"},
        {"name": "x", "scopes": ["admin"], "expires_in_days": 0},
        {"name": "x", "scopes": ["admin"], "expires_in_days": 3651},
        {"name": "x", "scopes": ["admin"], "more": 1},
        {"name": "a\x00b", "scopes": ["admin"]},
    ],
)
def test_keys_that_cannot_be(world: World, body: dict[str, Any]) -> None:
    answer = world.call("POST", f"{API}/keys", BOOTSTRAP, body)
    assert (answer.status_code, world.store.keys.all()) == (422, [])


def test_the_key_of_an_idempotency_key(world: World) -> None:
    """Two callers who choose the same one do not meet."""
    one, two = world.key(Scope.WRITE), world.key(Scope.WRITE)
    wallet, key = world.wallet(None), {"Idempotency-Key": str(uuid.uuid4())}
    path = f"{API}/wallets/{wallet}/operation"
    first, again, other = (
        world.call("POST", path, token, ORDER, **key) for token in (one, one, two)
    )
    assert first.get_json() == again.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert other.get_json()["id"] != first.get_json()["id"]
    assert "Idempotency-Replayed" not in other.headers


def test_events_tell_who_did_it_and_from_where(world: World) -> None:
    token = world.key(Scope.READ, Scope.WRITE)
    world.call("POST", f"{API}/wallets", token)
    (event,) = world.call("GET", f"{API}/events", token).get_json()["items"]
    assert event["actor"] == f"key:{token.split('_')[1]}"
    assert event["actoraddress"] == "127.0.0.1"


def test_no_secret_is_in_an_answer_to_a_wrong_key(world: World) -> None:
    token = f"ck_{'a' * 16}_{secrets.token_urlsafe(32)}"
    answer = world.call("GET", f"{API}/wallets", token)
    assert answer.status_code == 401
    assert token.split("_")[2] not in answer.text


def test_open_access_asks_for_nothing() -> None:
    settings = SETTINGS.model_copy(update={"access": None, "bootstrap_key": None})
    with memory_store() as store:
        client = create_app(settings, store).test_client()
        for method, rule in NEEDED:
            if rule.startswith(API_PREFIX):
                answer = client.open(path_of(rule), method=method)
                assert answer.status_code not in (401, 403), (method, rule)
                answer.close()
