"""The API keys of a store in memory."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

from WalletCore.keys import MAX_KEYS, ApiKey, key_not_found, too_many_keys


class MemoryKeys:
    """The port of ``WalletCore.keys.Keys``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, ApiKey] = {}

    def find(self, key_id: str) -> ApiKey | None:
        """See Keys."""
        return self._keys.get(key_id)

    def all(self) -> list[ApiKey]:
        """See Keys."""
        now = datetime.now(UTC)
        with self._lock:
            listed = [key for key in self._keys.values() if key.is_listed(now)]
        return sorted(listed, key=lambda key: (key.created_at, key.id), reverse=True)

    def add(self, key: ApiKey) -> None:
        """See Keys."""
        now = datetime.now(UTC)
        with self._lock:
            if sum(one.works(now) for one in self._keys.values()) >= MAX_KEYS:
                raise too_many_keys()
            self._keys[key.id] = key

    def revoke(self, key_id: str, by: str, at: datetime) -> ApiKey:
        """See Keys."""
        with self._lock:
            key = self._found(key_id)
            if key.revoked_at is None:
                key = self._keys[key_id] = replace(key, revoked_at=at, revoked_by=by)
            return key

    def note_use(self, key_id: str, at: datetime) -> None:
        """See Keys."""
        with self._lock:
            self._keys[key_id] = replace(self._found(key_id), last_used_at=at)

    def _found(self, key_id: str) -> ApiKey:
        key = self._keys.get(key_id)
        if key is None:
            raise key_not_found(key_id)
        return key
