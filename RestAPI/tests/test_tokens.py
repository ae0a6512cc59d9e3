"""Tokens: what is in them, and that nothing but one of ours is ever believed."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any, Final
from uuid import UUID

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from RestAPI import tokens
from RestAPI.problems import TokenInvalid
from RestAPI.tokens import MAX_TOKEN_CHARACTERS, MAX_VERIFIED_TOKENS, Tokens, key_id

SECRET: Final = "the secret that signs, long enough for an HS512 that nobody believes"
OTHER: Final = "another secret, of 32 bytes or so"
WALLET: Final = UUID(int=7)
TTL_SECONDS: Final = 60


def made(secret: str = SECRET, *previous: str) -> Tokens:
    return Tokens(secret, previous, ttl_seconds=TTL_SECONDS)


def forged(
    secret: str = SECRET, algorithm: str = "HS256", header: Any = None, **claims: Any
) -> str:
    """A token as ours, but for what is given; None leaves a claim out."""
    now = int(time.time())
    good = {
        "sub": "alice",
        "wallet": str(WALLET),
        "iat": now,
        "exp": now + TTL_SECONDS,
        "jti": "1",
        "iss": "coffer",
        "aud": "coffer-shop",
        **claims,
    }
    body = {name: value for name, value in good.items() if value is not None}
    headers = {"kid": key_id(SECRET)} if header is None else header
    return jwt.encode(body, secret, algorithm, headers=headers)


def test_what_is_in_a_token() -> None:
    before = int(time.time())
    token = made().issue("alice", WALLET)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "HS256", "typ": "JWT", "kid": key_id(SECRET)}
    assert SECRET not in token
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="coffer-shop")
    assert claims["sub"] == "alice"
    assert claims["wallet"] == str(WALLET)
    assert before <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == TTL_SECONDS
    assert len(claims["jti"]) == 32
    assert claims["iss"] == "coffer"
    assert made().verify(token).username == "alice"
    assert made().verify(token).wallet_id == WALLET
    assert made().issue("alice", WALLET) != token


def test_a_token_of_the_same_claims_made_elsewhere_is_good() -> None:
    """So that the refusals below are for what each of them changes."""
    assert made().verify(forged()).wallet_id == WALLET


@pytest.mark.parametrize(
    "change",
    [
        {"secret": OTHER},
        {"algorithm": "HS512"},
        {"header": {}},
        {"header": {"kid": key_id(OTHER)}},
        {"header": {"kid": key_id(SECRET), "typ": "at+jwt"}},
        {"header": {"kid": key_id(SECRET), "crit": ["exp"]}},
        {"sub": None},
        {"sub": 1},
        {"wallet": None},
        {"wallet": "no id"},
        {"wallet": 5},
        {"exp": None},
        {"exp": "never"},
        {"iat": None},
        {"jti": None},
        {"iss": None},
        {"iss": "somebody"},
        {"aud": None},
        {"aud": "another service"},
        {"nbf": 4_000_000_000},
    ],
    ids=str,
)
def test_what_is_not_ours(change: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid, match="not valid"):
        made().verify(forged(**change))


def test_no_algorithm_is_no_signature() -> None:
    claims = forged().split(".")[1]
    for header in ({"alg": "none"}, {"alg": "none", "typ": "JWT", "kid": key_id(SECRET)}):
        head = base64.urlsafe_b64encode(orjson.dumps(header)).rstrip(b"=").decode()
        with pytest.raises(TokenInvalid):
            made().verify(f"{head}.{claims}.")


def test_every_changed_character_is_noticed() -> None:
    token = made().issue("alice", WALLET)
    reader = made()
    for place in range(0, len(token) - 1, 7):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(TokenInvalid):
            reader.verify(token[:place] + other + token[place + 1 :])


@given(st.text(max_size=200))
def test_whatever_text_comes(text: str) -> None:
    with pytest.raises(TokenInvalid):
        made().verify(text)


def test_the_longest_token_of_a_user_is_read_and_no_longer_one() -> None:
    longest = made().issue("\U0001f600" * 64, WALLET)
    assert len(longest) <= MAX_TOKEN_CHARACTERS
    assert made().verify(longest).username == "\U0001f600" * 64
    padding = MAX_TOKEN_CHARACTERS - len(forged(more=""))
    assert len(forged(more="x" * (padding + 100))) > MAX_TOKEN_CHARACTERS
    with pytest.raises(TokenInvalid):
        made().verify(forged(more="x" * (padding + 100)))


# -- Time --------------------------------------------------------------------------------------


def test_a_token_expires_also_where_it_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = made()
    token = reader.issue("alice", WALLET)
    assert reader.verify(token).username == "alice"
    later = time.time() + TTL_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(TokenInvalid, match="expired"):
        reader.verify(token)


def test_an_expired_token_is_not_good_when_it_is_seen_first() -> None:
    with pytest.raises(TokenInvalid, match="expired"):
        made().verify(forged(exp=int(time.time()) - 1))


def test_when_it_was_issued_decides_nothing() -> None:
    assert made().verify(forged(iat=int(time.time()) + 30)).username == "alice"


# -- Rotation ----------------------------------------------------------------------------------


def test_a_new_secret_signs_and_the_old_one_is_still_believed() -> None:
    old = made(OTHER).issue("alice", WALLET)
    rotated = made(SECRET, OTHER)
    assert rotated.verify(old).username == "alice"
    new = rotated.issue("alice", WALLET)
    assert jwt.get_unverified_header(new)["kid"] == key_id(SECRET)
    assert made(SECRET).verify(new).username == "alice"
    with pytest.raises(TokenInvalid):
        made(SECRET).verify(old)
    with pytest.raises(TokenInvalid):
        made(OTHER).verify(new)


# -- What is remembered ------------------------------------------------------------------------


def test_verified_tokens_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_VERIFIED_TOKENS == 10_000
    monkeypatch.setattr(tokens, "MAX_VERIFIED_TOKENS", 3)
    reader = made()
    issued = [reader.issue(f"user{number}", WALLET) for number in range(5)]
    for token in issued:
        reader.verify(token)
    assert list(reader._verified) == issued[2:]
    assert [reader.verify(token).username for token in issued] == [f"user{n}" for n in range(5)]


def test_what_is_not_good_is_not_remembered() -> None:
    reader = made()
    for bad in ("", "x", forged(secret=OTHER), forged(exp=1)):
        with pytest.raises(TokenInvalid):
            reader.verify(bad)
    assert not reader._verified


def test_many_threads_share_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_VERIFIED_TOKENS", 4)
    reader = made()
    issued = [reader.issue(f"user{number}", WALLET) for number in range(16)]
    failures: list[Exception] = []

    def verify() -> None:
        try:
            for _ in range(20):
                for number, token in enumerate(issued):
                    assert reader.verify(token).username == f"user{number}"
        except Exception as error:  # noqa: BLE001 - told below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=verify) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(reader._verified) <= 4
