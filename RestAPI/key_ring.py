"""The API keys that this process knows: looked up once in a while, not with every request."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from WalletCore.domain.errors import CofferError
from WalletCore.keys import ApiKey, Keys, is_secret_of, parse_token

KNOWN_SECONDS: Final = 2.0
"""How long a key is believed without another look; so long one that is revoked elsewhere works."""

MAX_KNOWN_KEYS: Final = 10_000
"""How many ids are kept in mind, those that no key has included."""

NOTED_SECONDS: Final = 60.0
"""How old the moment that is kept as a key's last use may become before it is written again."""


class KeyRing:
    """``bootstrap``: a key that the settings give, and no store keeps."""

    def __init__(self, keys: Keys, bootstrap: ApiKey | None = None) -> None:
        self._keys = keys
        self._bootstrap = bootstrap
        self._known: dict[str, tuple[ApiKey | None, float]] = {}
        self._noted: dict[str, float] = {}
        self._forgotten = 0

    def open_with(self, token: str) -> ApiKey | None:
        """The key whose text is ``token``; None if it is none that works. Raises Unavailable."""
        parts = parse_token(token)
        if parts is None:
            return None
        key_id, secret = parts
        key = self._look_up(key_id)
        if key is None or not is_secret_of(key, secret) or not key.works(datetime.now(UTC)):
            return None
        if key is not self._bootstrap:
            self._note(key.id)
        return key

    def still_opens(self, key: ApiKey) -> bool:
        """Whether ``key``, which has opened once, works now. Raises Unavailable."""
        found = self._look_up(key.id)
        return found is not None and found.works(datetime.now(UTC))

    def forget(self, key_id: str) -> None:
        """Look the key up again the next time."""
        self._forgotten += 1
        self._known.pop(key_id, None)

    def _look_up(self, key_id: str) -> ApiKey | None:
        if self._bootstrap is not None and key_id == self._bootstrap.id:
            return self._bootstrap
        now, forgotten = monotonic(), self._forgotten
        known = self._known.get(key_id)
        if known is not None:
            if now - known[1] < KNOWN_SECONDS:
                return known[0]
            # One looks; who comes meanwhile goes by what was known.
            self._known[key_id] = (known[0], now)
        elif len(self._known) >= MAX_KNOWN_KEYS:
            self._known.clear()
        try:
            found = self._keys.find(key_id)
        except BaseException:
            self._known.pop(key_id, None)
            raise
        if forgotten == self._forgotten:
            self._known[key_id] = (found, now)
        else:
            # What was read may be older than the revocation that let a key be forgotten meanwhile.
            self._known.pop(key_id, None)
        return found

    def _note(self, key_id: str) -> None:
        now = monotonic()
        noted = self._noted.get(key_id)
        if noted is not None and now - noted < NOTED_SECONDS:
            return
        if len(self._noted) >= MAX_KNOWN_KEYS:
            self._noted.clear()
        self._noted[key_id] = now
        with suppress(CofferError):
            self._keys.note_use(key_id, datetime.now(UTC))
