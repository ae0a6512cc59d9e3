"""API keys: what one is, and the port to where they are kept.

A key is shown once, when it is made, as ``ck_<id>_<secret>``. The id is public and names it in logs
and events; of the secret, 256 random bits, only the SHA-256 is kept. That needs no salt and no slow
function: nobody guesses 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from WalletCore.domain.errors import KeyNotFound, LimitExceeded
from WalletCore.domain.model import Document, rfc3339

PREFIX: Final = "ck"
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32

MAX_KEY_DAYS: Final = 3650
"""The longest that a key works, unless it works until it is revoked."""

MAX_NAME_CHARACTERS: Final = 255
"""Of a key's name, and of its owner's."""

MAX_TOKEN_CHARACTERS: Final = 80
"""A little more than a key has; what is longer is none."""

_TOKEN = re.compile(
    rf"{PREFIX}_([0-9a-f]{{{ID_BYTES * 2}}})_([A-Za-z0-9_-]{{43}})",  # 43: 32 bytes in base64url
    re.ASCII,
)


class Scope(StrEnum):
    """What a key may do. ADMIN may do everything."""

    READ = "wallets:read"
    WRITE = "wallets:write"
    WEBHOOKS = "webhooks"
    METRICS = "metrics"
    ADMIN = "admin"


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. ``owner``: whose wallets alone it reaches; None: everybody's.

    ``created_by``, ``revoked_by``: actors, as in an Origin. ``last_used_at`` is up to a minute old.
    """

    id: str
    name: str
    secret_hash: bytes
    scopes: frozenset[Scope]
    owner: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    last_used_at: datetime | None = None

    def is_listed(self, now: datetime) -> bool:
        """Whether it works, or ended not long ago."""
        ends = [moment for moment in (self.revoked_at, self.expires_at) if moment is not None]
        return not ends or min(ends) > now - timedelta(days=LISTED_DAYS)

    def works(self, now: datetime) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Keys(Protocol):
    """Where the keys are kept. Each method may raise ``Unavailable``."""

    def find(self, key_id: str) -> ApiKey | None:
        """The key of this id, whether it works or not."""

    def all(self) -> list[ApiKey]:
        """All that work, and those that ended within LISTED_DAYS, the newest first."""

    def add(self, key: ApiKey) -> None:
        """Keep a new one. Raises LimitExceeded."""

    def revoke(self, key_id: str, by: str, at: datetime) -> ApiKey:
        """Let it never work again, unless that is so already. Raises KeyNotFound."""

    def note_use(self, key_id: str, at: datetime) -> None:
        """Keep that it was used at ``at``."""


MAX_KEYS: Final = 10_000
"""How many that work there are at most."""

LISTED_DAYS: Final = 90
"""How long a key that has ended is listed. It is kept for good: events name it."""


def new_key(
    name: str,
    scopes: Collection[Scope],
    *,
    owner: str | None = None,
    expires_at: datetime | None = None,
    created_by: str,
) -> tuple[ApiKey, str]:
    """A new key, and the text that is shown once.

    Raises ValueError for a key that could do nothing, or that is limited to an owner and could free
    itself of that.
    """
    if not scopes:
        raise ValueError("A key needs at least one scope.")
    if owner is not None and Scope.ADMIN in scopes:
        raise ValueError("A key with the scope admin cannot be limited to an owner.")
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    key = ApiKey(
        id=key_id,
        name=name,
        secret_hash=hash_of_secret(secret),
        scopes=frozenset(scopes),
        owner=owner,
        created_at=datetime.now(UTC),
        created_by=created_by,
        expires_at=expires_at,
    )
    return key, f"{PREFIX}_{key_id}_{secret}"


def parse_token(token: str) -> tuple[str, str] | None:
    """The id and the secret in the text of a key; None if it is none."""
    found = _TOKEN.fullmatch(token) if len(token) <= MAX_TOKEN_CHARACTERS else None
    return (found[1], found[2]) if found else None


def hash_of_secret(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret_of(key: ApiKey, secret: str) -> bool:
    """Whether ``secret`` is the key's, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(key.secret_hash, hash_of_secret(secret))


def bootstrap_key(token: str) -> ApiKey:
    """The key in the setting COFFER_BOOTSTRAP_KEY, which may do everything. Raises ValueError."""
    parts = parse_token(token)
    if parts is None:
        raise ValueError(
            "COFFER_BOOTSTRAP_KEY is no key: ck_, 16 hexadecimal digits, _, and 43 characters of "
            "base64url. `python -m RestAPI keys new` prints one."
        )
    return ApiKey(
        id=parts[0],
        name="COFFER_BOOTSTRAP_KEY",
        secret_hash=hash_of_secret(parts[1]),
        scopes=frozenset({Scope.ADMIN}),
        owner=None,
        created_at=datetime.now(UTC),
        created_by="settings",
    )


def key_not_found(key_id: str) -> KeyNotFound:
    """The error for an id that no key has."""
    return KeyNotFound(f"There is no key {key_id}; GET /api/v1/keys lists those that there are.")


def too_many_keys() -> LimitExceeded:
    """The error for one key too many."""
    return LimitExceeded(
        f"There are {MAX_KEYS:,} keys that work, the most there can be: revoke some.", limit="keys"
    )


def key_document(key: ApiKey) -> Document:
    """A key as it is answered; nothing of the secret."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "owner": key.owner,
        "created_at": rfc3339(key.created_at),
        "created_by": key.created_by,
        "expires_at": _optional(key.expires_at),
        "revoked_at": _optional(key.revoked_at),
        "revoked_by": key.revoked_by,
        "last_used_at": _optional(key.last_used_at),
    }


def _optional(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None
