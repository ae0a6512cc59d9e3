"""Passwords: parameters, bounds, and that hashing leaves the machine to others."""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from RestAPI import passwords as module
from RestAPI.passwords import (
    HASHING_NICENESS,
    HASHINGS_AT_ONCE,
    LANES,
    MAX_WAITING_HASHINGS,
    MEMORY_KIB,
    PASSES,
    Passwords,
)
from WalletCore.domain.errors import Overloaded

OWASP_TABLE = {(47104, 1, 1), (19456, 2, 1), (12288, 3, 1), (9216, 4, 1), (7168, 5, 1)}
"""Memory in KiB, passes, lanes."""


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


def test_the_parameters_are_a_row_of_the_table(passwords: Passwords) -> None:
    assert (MEMORY_KIB, PASSES, LANES) in OWASP_TABLE
    kept = passwords.hash("secret")
    assert kept.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")
    assert extract_parameters(kept).type is Type.ID
    assert not passwords.outdated(kept)


def test_only_the_same_password_matches(passwords: Passwords) -> None:
    kept = passwords.hash("secret")
    assert passwords.matches("secret", kept)
    for other in ("Secret", "secret ", "secre", ""):
        assert not passwords.matches(other, kept)
    assert passwords.hash("secret") != kept


def test_it_does_not_matter_how_a_letter_was_typed(passwords: Passwords) -> None:
    assert passwords.matches("\u00e9", passwords.hash("e\u0301"))
    assert not passwords.matches("e", passwords.hash("e\u0301"))


def test_a_long_password_counts_to_its_end(passwords: Passwords) -> None:
    kept = passwords.hash("\U0001f600" * 127 + "a")
    assert not passwords.matches("\U0001f600" * 127 + "b", kept)


def test_other_parameters_are_verified_and_outdated(passwords: Passwords) -> None:
    kept = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    assert passwords.matches("secret", kept)
    assert passwords.outdated(kept)


@pytest.mark.parametrize("broken", ["", "plain", "$argon2id$v=19$m=7168,t=5,p=1$x"])
def test_a_broken_hash_matches_nothing(passwords: Passwords, broken: str) -> None:
    assert not passwords.matches("secret", broken)


def test_verifying_costs_as_much_as_hashing(passwords: Passwords) -> None:
    """In processor time of the thread that does it, whatever else the machine does."""
    kept = passwords.hash("secret")

    def cost(work: object) -> float:
        def timed() -> float:
            started = time.thread_time()
            assert work() is not None  # type: ignore[operator]
            return time.thread_time() - started

        return statistics.median(timed() for _ in range(7))

    hasher = passwords._hasher
    hashing = cost(lambda: hasher.hash("secret"))
    assert hashing / 2 < cost(lambda: hasher.verify(kept, "secret")) < hashing * 2


def test_beyond_the_queue_it_is_refused_at_once(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, started = threading.Event(), threading.Event()

    def slow(*_: object) -> str:
        started.set()
        assert go.wait(30)
        return "hash"

    monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=slow))
    places = HASHINGS_AT_ONCE + MAX_WAITING_HASHINGS
    with ThreadPoolExecutor(places) as pool:
        futures = [pool.submit(passwords.hash, "x") for _ in range(places)]
        try:
            assert started.wait(30)
            deadline = time.monotonic() + 30
            while passwords._places._value and time.monotonic() < deadline:
                time.sleep(0.01)
            before = time.monotonic()
            with pytest.raises(Overloaded, match="log in at this moment"):
                passwords.hash("x")
            assert time.monotonic() - before < 1
        finally:
            go.set()
        assert [future.result() for future in futures] == ["hash"] * places
    assert passwords.hash("x") == "hash"


def test_no_more_are_hashed_at_once(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def counted(*_: object) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return "hash"

    monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=counted))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(passwords.hash, ["x"] * 16)) == ["hash"] * 16
    assert most == HASHINGS_AT_ONCE


def test_what_takes_too_long_is_given_up(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(module, "HASHING_WAIT_SECONDS", 0.05)
    slow = SimpleNamespace(hash=lambda *_: go.wait(30) and "hash")
    monkeypatch.setattr(passwords, "_hasher", slow)
    with pytest.raises(Overloaded, match="too long"):
        passwords.hash("x")
    go.set()


def test_after_closing_nothing_is_hashed(passwords: Passwords) -> None:
    passwords.close()
    with pytest.raises(Overloaded, match="stopping"):
        passwords.hash("x")


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_hashing_steps_back(passwords: Passwords) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert passwords._run(niceness) == max(niceness(), HASHING_NICENESS)
    assert niceness() < HASHING_NICENESS
