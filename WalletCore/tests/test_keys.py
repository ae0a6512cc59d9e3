"""API keys on both stores, and what one is made of."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from testkit.ledgers import memory_store, postgres_store
from WalletCore import keys as keys_module
from WalletCore.domain.errors import KeyNotFound, LimitExceeded
from WalletCore.keys import (
    LISTED_DAYS,
    MAX_TOKEN_CHARACTERS,
    ApiKey,
    Keys,
    Scope,
    bootstrap_key,
    is_secret_of,
    key_document,
    new_key,
    parse_token,
)

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
def keys(request: pytest.FixtureRequest) -> Iterator[Keys]:
    if request.param == "memory":
        with memory_store() as store:
            yield store.keys
        return
    with postgres_store(request.getfixturevalue("fresh_postgres_url")) as store:
        yield store.keys


def made(**given: Any) -> ApiKey:
    return new_key("till", [Scope.READ, Scope.WRITE], created_by="shell", **given)[0]


def test_a_secret_has_256_bits_and_is_kept_as_its_hash() -> None:
    key, text = new_key("till", [Scope.READ], created_by="shell")
    prefix, key_id, secret = text.split("_", 2)
    assert (prefix, key_id) == ("ck", key.id)
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert key.secret_hash == hashlib.sha256(secret.encode()).digest()
    assert secret not in str(key_document(key))
    assert parse_token(text) == (key.id, secret)
    assert is_secret_of(key, secret)
    assert not is_secret_of(key, secret[:-1])
    assert len(text) <= MAX_TOKEN_CHARACTERS


def test_no_two_keys_are_the_same() -> None:
    made_keys = [new_key("x", [Scope.READ], created_by="shell") for _ in range(100)]
    assert len({text for _, text in made_keys}) == len({key.id for key, _ in made_keys}) == 100


@pytest.mark.parametrize(("scopes", "owner"), [([], None), ([Scope.ADMIN, Scope.READ], "alice")])
def test_keys_that_cannot_be(scopes: list[Scope], owner: str | None) -> None:
    with pytest.raises(ValueError, match="scope"):
        new_key("x", scopes, owner=owner, created_by="shell")


@pytest.mark.parametrize("text", ["", "ck_0_x", "sk_0123456789abcdef_" + "A" * 43])
def test_a_bootstrap_key_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="COFFER_BOOTSTRAP_KEY"):
        bootstrap_key(text)


def test_a_key_works_until_its_time_is_over() -> None:
    key = made(expires_at=NOW)
    assert key.works(NOW - timedelta(microseconds=1))
    assert not key.works(NOW)
    assert not replace(key, expires_at=None, revoked_at=NOW).works(NOW - timedelta(days=1))


def test_what_is_kept_is_found_again(keys: Keys) -> None:
    assert (keys.all(), keys.find("0" * 16)) == ([], None)
    plain, rich = made(), made(owner="alice", expires_at=NOW)
    keys.add(plain)
    keys.add(rich)
    assert keys.find(plain.id) == plain
    assert keys.find(rich.id) == rich
    assert keys.all() == [rich, plain]


def test_revoking_is_once_and_for_ever(keys: Keys) -> None:
    key = made()
    keys.add(key)
    revoked = keys.revoke(key.id, "shell", NOW)
    assert revoked == replace(key, revoked_at=NOW, revoked_by="shell")
    assert keys.revoke(key.id, "open", NOW + timedelta(days=1)) == revoked
    assert keys.find(key.id) == revoked
    with pytest.raises(KeyNotFound):
        keys.revoke("f" * 16, "shell", NOW)


def test_the_last_use_is_kept(keys: Keys) -> None:
    key = made()
    keys.add(key)
    keys.note_use(key.id, NOW)
    assert keys.find(key.id) == replace(key, last_used_at=NOW)


def test_there_are_not_more_than_so_many(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("WalletCore.memory_keys", "WalletCore.postgres.keys"):
        monkeypatch.setattr(f"{module}.MAX_KEYS", 3)
    for _ in range(3):
        keys.add(made())
    with pytest.raises(LimitExceeded, match=f"{keys_module.MAX_KEYS:,}"):
        keys.add(made())
    assert len(keys.all()) == 3
    # What has ended counts no more.
    keys.revoke(keys.all()[0].id, "shell", datetime.now(UTC))
    keys.add(made())


def test_a_key_that_ended_long_ago_is_not_listed(keys: Keys) -> None:
    now = datetime.now(UTC)
    just, long_ago = timedelta(days=LISTED_DAYS - 1), timedelta(days=LISTED_DAYS + 1)
    recent, old = made(expires_at=now - just), made(expires_at=now - long_ago)
    revoked, forgotten, works = made(), made(expires_at=now + just), made()
    for key in (recent, old, revoked, forgotten, works):
        keys.add(key)
    keys.revoke(revoked.id, "shell", now - just)
    keys.revoke(forgotten.id, "shell", now - long_ago)
    assert {key.id for key in keys.all()} == {recent.id, revoked.id, works.id}
    assert keys.find(old.id) == old


def test_the_database_keeps_no_key_that_cannot_be(fresh_postgres_url: str) -> None:
    insert = (
        "INSERT INTO coffer.api_keys (id, name, secret_hash, scopes, owner, created_at, created_by)"
        " VALUES ('a', 'a', %s, %s, %s, now(), 'x')"
    )
    good = (b"x" * 32, ["wallets:read"], None)
    with psycopg.connect(fresh_postgres_url, autocommit=True) as connection:
        for bad in (
            (b"x" * 31, *good[1:]),
            (good[0], [], None),
            (good[0], ["admin"], "alice"),
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(insert, bad)
        connection.execute(insert, good)
