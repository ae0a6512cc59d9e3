"""The tokens that users of the shop log in for: JWT, HS256, signed by the service for itself.

https://www.rfc-editor.org/rfc/rfc7519 and https://www.rfc-editor.org/rfc/rfc8725. ``kid`` in the
header says which secret has signed, so that a secret can be replaced: tokens of the previous ones
stay good until their time is over. A token is believed only with a header that this service writes
itself, byte for byte, so that nobody else chooses the algorithm.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import jwt

from RestAPI.problems import TokenInvalid

ALGORITHM: Final = "HS256"
ISSUER: Final = "coffer"
AUDIENCE: Final = "coffer-shop"
WALLET_CLAIM: Final = "wallet"
"""The claim of our own: the id of the user's wallet, which never changes."""

REQUIRED_CLAIMS: Final = ("sub", "exp", "iat", "jti", WALLET_CLAIM)
"""In every token, beside issuer and audience."""

MAX_TOKEN_CHARACTERS: Final = 2048
"""The longest that is looked at; those of users whose names have 64 characters of 4 bytes, each
escaped, have less."""

KEY_ID_CHARACTERS: Final = 16
MAX_VERIFIED_TOKENS: Final = 10_000
"""Tokens that are known to be good, 1 kB each: to verify one takes 84 us, to find it 1."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. ``expires_at``: seconds since 1970."""

    username: str
    wallet_id: UUID
    expires_at: int


class Tokens:
    """Issues and verifies. ``secret`` signs; ``previous`` ones are still believed. Any thread may
    call.
    """

    def __init__(self, secret: str, previous: Sequence[str] = (), *, ttl_seconds: int) -> None:
        self._secret = secret
        self._ttl_seconds = ttl_seconds
        self._key_id = key_id(secret)
        # The current one last, where a secret is named twice.
        self._secrets = {_header(one): one.encode() for one in (*previous, secret)}
        self._verified: dict[str, Claims] = {}
        self._lock = threading.Lock()

    def issue(self, username: str, wallet_id: UUID) -> str:
        """A token of this user from now on."""
        now = int(time.time())
        claims = {
            "sub": username,
            WALLET_CLAIM: str(wallet_id),
            "iat": now,
            "exp": now + self._ttl_seconds,
            "jti": uuid4().hex,
            "iss": ISSUER,
            "aud": AUDIENCE,
        }
        return jwt.encode(claims, self._secret, ALGORITHM, headers={"kid": self._key_id})

    def verify(self, token: str) -> Claims:
        """What ``token`` says. Raises TokenInvalid."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            self._keep(token, claims)
        elif claims.expires_at <= time.time():
            raise _expired()
        return claims

    def _decode(self, token: str) -> Claims:
        secret = self._secrets.get(token.partition(".")[0])
        if secret is None or len(token) > MAX_TOKEN_CHARACTERS:
            raise _not_ours()
        try:
            found: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Clocks of machines differ; when it was issued decides nothing.
                options={"require": list(REQUIRED_CLAIMS), "verify_iat": False},
            )
            return Claims(found["sub"], UUID(found[WALLET_CLAIM]), int(found["exp"]))
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise _not_ours() from None

    def _keep(self, token: str, claims: Claims) -> None:
        """Remember a good token in the place of the oldest one."""
        with self._lock:
            if len(self._verified) >= MAX_VERIFIED_TOKENS:
                del self._verified[next(iter(self._verified))]
            self._verified[token] = claims


def key_id(secret: str) -> str:
    """What names a secret and tells nothing of it."""
    digest = hashlib.sha256(b"coffer key id\0" + secret.encode()).hexdigest()
    return digest[:KEY_ID_CHARACTERS]


def _header(secret: str) -> str:
    """The first part of every token that ``secret`` signs."""
    return jwt.encode({}, secret, ALGORITHM, headers={"kid": key_id(secret)}).partition(".")[0]


def _expired() -> TokenInvalid:
    return TokenInvalid("The token has expired: log in again with POST /api/auth.")


def _not_ours() -> TokenInvalid:
    return TokenInvalid("The token is not valid: log in with POST /api/auth.")
