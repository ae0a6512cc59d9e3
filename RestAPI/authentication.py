"""Whom a request is from: the caller that its endpoint is given, or a refusal."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from RestAPI.access import bootstrap_of, is_near, is_open
from RestAPI.caller import Caller
from RestAPI.entrance import ADDRESS, REQUEST_ID, Throttle
from RestAPI.key_ring import KeyRing
from RestAPI.owned import OwnedStore, Owners
from RestAPI.problems import KeyMissing, KeyRefused, ScopeMissing, TokenMissing
from RestAPI.reading import OPEN_SCOPE, parse_traceparent
from RestAPI.tokens import Tokens
from WalletCore.domain.errors import Unavailable
from WalletCore.domain.origin import OPEN_ACTOR, Origin
from WalletCore.keys import ALL_SCOPES, ApiKey, Scope
from WalletCore.settings import MIN_JWT_SECRET_BYTES, Settings
from WalletCore.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY_ID: Final = "coffer.key_id"
"""The id of the key that a request came with, in its environment, for the log."""

_NOBODY: Final[frozenset[Scope]] = frozenset()

_SCHEME: Final = "bearer"


@dataclass(frozen=True, slots=True)
class Customer(Caller):
    """A user of the shop, who has logged in."""

    wallet_id: UUID


class Authentication:
    """Asks for keys unless access is open."""

    def __init__(self, settings: Settings, store: Store, throttle: Throttle) -> None:
        self._tokens = tokens_of(settings)
        self._store = store
        self._throttle = throttle
        self._owners = Owners(store)
        self.ring = None if is_open(settings) else KeyRing(store.keys, bootstrap_of(settings))

    def caller(self, environ: WSGIEnvironment, scope: Scope | None) -> Caller:
        """Who asks. ``scope``: what their key must have; None: any key that works will do.

        Raises KeyMissing, KeyRefused, ScopeMissing, TooManyRequests, Unavailable.
        """
        if self.ring is None:
            if not is_near(environ.get("REMOTE_ADDR", "")):
                # The settings say loopback, and a server was told to listen elsewhere, too.
                raise KeyMissing(
                    "Without a key only this machine may ask; COFFER_ACCESS=keys lets others in."
                )
            origin = self.origin(environ, OPEN_ACTOR)
            return Caller(self._store, origin, ALL_SCOPES, OPEN_SCOPE)
        key = self._opened(self.ring, environ)
        environ[KEY_ID] = key.id
        self._throttle.by_key(environ, key.id)
        if scope is not None and not key.scopes & {scope, Scope.ADMIN}:
            raise ScopeMissing(f"This needs a key with the scope {scope}.")
        origin = self.origin(environ, f"key:{key.id}", key.owner)
        store = self._store
        if key.owner is not None:
            store = OwnedStore(store, key.owner, self._owners)
        check = partial(_check, self.ring, key)
        return Caller(store, origin, key.scopes, key.id, check=check, api_key=key)

    def _opened(self, ring: KeyRing, environ: WSGIEnvironment) -> ApiKey:
        """The key that the request came with. Who sends wrong ones all the time is told to wait;
        a right one always opens. Raises KeyMissing, KeyRefused, TooManyRequests, Unavailable.
        """
        token = _bearer(environ)
        if token is None:
            raise KeyMissing("Send an API key: Authorization: Bearer ck_...")
        key = ring.open_with(token)
        if key is None:
            self._throttle.failed(environ)
            raise _refused()
        return key

    @property
    def tokens(self) -> Tokens:
        """Those of the shop. Raises Unavailable."""
        if self._tokens is None:
            raise Unavailable("The shop is closed: it needs a COFFER_JWT_SECRET.")
        return self._tokens

    def customer(self, environ: WSGIEnvironment) -> Customer:
        """Which user of the shop asks. Raises TokenMissing, TokenInvalid, Unavailable."""
        token = _bearer(environ)
        if token is None:
            raise TokenMissing("Log in with POST /api/auth, and send Authorization: Bearer token.")
        claims = self.tokens.verify(token)
        # Not limited to an owner: what is paid goes to the merchant's wallet.
        actor = f"user:{claims.username}"
        return Customer(self._store, self.origin(environ, actor), _NOBODY, actor, claims.wallet_id)

    def origin(self, environ: WSGIEnvironment, actor: str, owner: str | None = None) -> Origin:
        """Of a request by ``actor``, who may touch the wallets of ``owner`` alone, if named."""
        traceparent = parse_traceparent(environ)
        return Origin(actor, environ[ADDRESS], owner, traceparent, environ.get(REQUEST_ID))

    def before_password(self, environ: WSGIEnvironment) -> None:
        """Raises TooManyRequests where there were many wrong ones of this address."""
        self._throttle.may_try(environ)

    def wrong_password(self, environ: WSGIEnvironment) -> None:
        """Count it. Raises TooManyRequests if there were many of this address."""
        self._throttle.failed(environ)


def tokens_of(settings: Settings) -> Tokens | None:
    """What issues the shop's tokens. A store in the memory of one process needs no secret that
    outlives it; where there is none elsewhere, there is no shop.
    """
    secret = settings.jwt_secret.get_secret_value().strip() if settings.jwt_secret else None
    if secret is None and settings.in_memory:
        secret = secrets.token_urlsafe(MIN_JWT_SECRET_BYTES)
    if secret is None:
        return None
    return Tokens(secret, settings.previous_jwt_secrets, ttl_seconds=settings.jwt_ttl_seconds)


def _bearer(environ: WSGIEnvironment) -> str | None:
    """The text of ``Authorization: Bearer``; empty for another scheme."""
    given: str | None = environ.get("HTTP_AUTHORIZATION")
    if given is None:
        return None
    scheme, _, token = given.partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else ""


def _check(ring: KeyRing, key: ApiKey) -> None:
    """See Caller.check."""
    if not ring.still_opens(key):
        raise _refused()


def _refused() -> KeyRefused:
    return KeyRefused("This is no key that works: it is misspelt, revoked or its time is over.")
