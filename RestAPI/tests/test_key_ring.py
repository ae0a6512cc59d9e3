"""What a process knows of the keys, and for how long it believes it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from RestAPI.key_ring import KNOWN_SECONDS, MAX_KNOWN_KEYS, NOTED_SECONDS, KeyRing
from WalletCore.domain.errors import Unavailable
from WalletCore.keys import ApiKey, Scope, bootstrap_key, new_key
from WalletCore.memory_keys import MemoryKeys


class CountedKeys(MemoryKeys):
    """Keys that count what they are asked, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.away = False

    def find(self, key_id: str) -> ApiKey | None:
        """The same, counted."""
        self.asked["find"] += 1
        if self.away:
            raise Unavailable("away")
        return super().find(key_id)

    def note_use(self, key_id: str, at: datetime) -> None:
        """The same, counted."""
        self.asked["note"] += 1
        if self.away:
            raise Unavailable("away")
        super().note_use(key_id, at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the ring believes to have passed, in its one place."""
    now = [1000.0]
    monkeypatch.setattr("RestAPI.key_ring.monotonic", lambda: now[0])
    return now


def made(keys: MemoryKeys) -> tuple[str, str]:
    """The id and the text of a new key."""
    key, text = new_key("test", [Scope.READ], created_by="shell")
    keys.add(key)
    return key.id, text


def test_a_key_is_looked_up_once_in_a_while(clock: list[float]) -> None:
    keys = CountedKeys()
    key_id, text = made(keys)
    ring = KeyRing(keys)
    for _ in range(10):
        assert ring.open_with(text) is not None
    assert keys.asked["find"] == 1
    keys.revoke(key_id, "shell", datetime.now(UTC))
    clock[0] += KNOWN_SECONDS - 0.01
    assert ring.open_with(text) is not None
    clock[0] += 0.01
    assert ring.open_with(text) is None
    assert keys.asked["find"] == 2


def test_what_no_key_has_is_remembered_just_as_long(clock: list[float]) -> None:
    keys = CountedKeys()
    ring = KeyRing(keys)
    key, text = new_key("late", [Scope.READ], created_by="shell")
    assert [ring.open_with(text) for _ in range(5)] == [None] * 5
    assert keys.asked["find"] == 1
    keys.add(key)
    clock[0] += KNOWN_SECONDS
    assert ring.open_with(text) == key


def test_a_revoked_key_is_forgotten_at_once() -> None:
    keys = CountedKeys()
    key_id, text = made(keys)
    ring = KeyRing(keys)
    assert ring.open_with(text) is not None
    keys.revoke(key_id, "shell", datetime.now(UTC))
    ring.forget(key_id)
    assert ring.open_with(text) is None


def test_the_last_use_is_written_once_a_minute(clock: list[float]) -> None:
    keys = CountedKeys()
    key_id, text = made(keys)
    ring = KeyRing(keys)
    for _ in range(10):
        ring.open_with(text)
    assert keys.asked["note"] == 1
    found = keys.find(key_id)
    assert found is not None
    assert found.last_used_at is not None
    clock[0] += NOTED_SECONDS - 0.01
    ring.open_with(text)
    assert keys.asked["note"] == 1
    clock[0] += 0.01
    ring.open_with(text)
    assert keys.asked["note"] == 2


def test_a_use_that_cannot_be_written_stops_nobody(clock: list[float]) -> None:
    keys = CountedKeys()
    _, text = made(keys)
    ring = KeyRing(keys)
    assert ring.open_with(text) is not None
    keys.away = True
    clock[0] += KNOWN_SECONDS - 0.01
    assert ring.open_with(text) is not None
    clock[0] += KNOWN_SECONDS
    with pytest.raises(Unavailable):
        ring.open_with(text)
    keys.away = False
    assert ring.open_with(text) is not None


def test_the_number_of_ids_in_mind_is_bounded() -> None:
    keys = CountedKeys()
    ring = KeyRing(keys)
    for number in range(MAX_KNOWN_KEYS):
        ring.open_with(f"ck_{number:016x}_{'A' * 43}")
    assert len(ring._known) == MAX_KNOWN_KEYS
    ring.open_with(f"ck_{'f' * 16}_{'A' * 43}")
    assert len(ring._known) == 1


def test_the_key_of_the_settings_is_in_no_store() -> None:
    keys = CountedKeys()
    _, text = new_key("bootstrap", [Scope.ADMIN], created_by="shell")
    ring = KeyRing(keys, bootstrap_key(text))
    opened = ring.open_with(text)
    assert opened is not None
    assert opened.scopes == {Scope.ADMIN}
    assert ring.open_with(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert not keys.asked


@pytest.mark.parametrize("text", ["", "ck_", "ck_x_y", "ck_0123456789abcdef_", "x" * 81, "ck_é_"])
def test_what_is_no_key_is_not_looked_up(text: str) -> None:
    keys = CountedKeys()
    assert KeyRing(keys).open_with(text) is None
    assert not keys.asked


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_kept() -> None:
    class RevokedMeanwhile(CountedKeys):
        """The first look reads the key just before it is revoked."""

        def find(self, key_id: str) -> ApiKey | None:
            found = super().find(key_id)
            if self.asked["find"] == 1:
                self.revoke(key_id, "shell", datetime.now(UTC))
                ring.forget(key_id)
            return found

    keys = RevokedMeanwhile()
    _, text = made(keys)
    ring = KeyRing(keys)
    assert ring.open_with(text) is not None
    assert ring.open_with(text) is None
