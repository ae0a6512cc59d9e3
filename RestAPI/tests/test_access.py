"""Who may do what: every route with every kind of key, and what belongs to others."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from RestAPI.app import Application, create_app
from RestAPI.openapi_errors import API_PREFIX
from RestAPI.scopes import NEEDED, Guard
from RestAPI.tests.keyed import API, BOOTSTRAP, ORDER, SETTINGS, UNKNOWN, World
from testkit.ledgers import memory_store
from WalletCore.domain.origin import SHELL_ACTOR
from WalletCore.keys import Scope, new_key


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
        if needed in (Guard.NOTHING, Guard.TOKEN):
            assert world.call(method, path, None).status_code < 500
            return
        revoked = world.key(*Scope)
        world.store.keys.revoke(revoked.split("_")[1], SHELL_ACTOR, datetime.now(UTC))
        ended = world.key(*Scope, expires_at=datetime.now(UTC))
        wrong = world.key(*Scope)
        wrong = wrong[:-4] + ("AAAA" if wrong[-4:] != "AAAA" else "BBBB")
        unknown = new_key("unknown", [*Scope], created_by="nobody")[1]
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
            if needed is Guard.KEY or scope in (needed, Scope.ADMIN):
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
    assert token.split("_", 2)[2] not in answer.text


def test_open_access_asks_for_nothing() -> None:
    settings = SETTINGS.model_copy(update={"access": None, "bootstrap_key": None})
    with memory_store() as store:
        client = create_app(settings, store).test_client()
        for (method, rule), needed in NEEDED.items():
            if rule.startswith(API_PREFIX):
                answer = client.open(path_of(rule), method=method)
                asked = answer.status_code in (401, 403)
                assert asked is (needed is Guard.TOKEN), (method, rule)
                answer.close()


@pytest.mark.parametrize(
    ("remote", "status"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("", 200),
        ("/run/x.sock", 200),
        ("192.0.2.1", 401),
        ("2001:db8::1", 401),
        ("::ffff:192.0.2.1", 401),
    ],
)
def test_open_access_is_for_this_machine_whatever_the_server_listens_on(
    remote: str, status: int
) -> None:
    settings = SETTINGS.model_copy(update={"access": None, "bootstrap_key": None})
    with memory_store() as store:
        client = create_app(settings, store).test_client()
        for path in (f"{API}/wallets", "/metrics"):
            answer = client.get(path, environ_overrides={"REMOTE_ADDR": remote})
            assert answer.status_code == status, path
        assert client.get("/ping", environ_overrides={"REMOTE_ADDR": remote}).status_code == 200
