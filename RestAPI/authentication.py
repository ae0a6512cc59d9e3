"""Whom a request is from: the caller that its endpoint is given, or a refusal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from RestAPI.access import bootstrap_of, is_near, is_open
from RestAPI.caller import Caller
from RestAPI.entrance import ADDRESS, Throttle
from RestAPI.key_ring import KeyRing
from RestAPI.owned import OwnedStore, Owners
from RestAPI.problems import KeyMissing, KeyRefused, ScopeMissing
from RestAPI.reading import OPEN_SCOPE, parse_traceparent
from WalletCore.domain.origin import OPEN_ACTOR, Origin
from WalletCore.keys import ALL_SCOPES, ApiKey, Scope
from WalletCore.settings import Settings
from WalletCore.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

KEY_ID: Final = "coffer.key_id"
"""The id of the key that a request came with, in its environment, for the log."""

_SCHEME: Final = "bearer"


class Authentication:
    """Asks for keys unless access is open."""

    def __init__(self, settings: Settings, store: Store, throttle: Throttle) -> None:
        self._store = store
        self._throttle = throttle
        self._owners = Owners(store)
        self.ring = None if is_open(settings) else KeyRing(store.keys, bootstrap_of(settings))

    def caller(self, environ: WSGIEnvironment, scope: Scope) -> Caller:
        """Who asks. Raises KeyMissing, KeyRefused, ScopeMissing, TooManyRequests, Unavailable."""
        address, traceparent = environ[ADDRESS], parse_traceparent(environ)
        if self.ring is None:
            if not is_near(environ.get("REMOTE_ADDR", "")):
                # The settings say loopback, and a server was told to listen elsewhere, too.
                raise KeyMissing(
                    "Without a key only this machine may ask; COFFER_ACCESS=keys lets others in."
                )
            origin = Origin(OPEN_ACTOR, address, None, traceparent)
            return Caller(self._store, origin, ALL_SCOPES, OPEN_SCOPE)
        key = self._opened(self.ring, environ)
        environ[KEY_ID] = key.id
        self._throttle.by_key(environ, key.id)
        if scope not in key.scopes and Scope.ADMIN not in key.scopes:
            raise ScopeMissing(f"This needs a key with the scope {scope}.")
        origin = Origin(f"key:{key.id}", address, key.owner, traceparent)
        store = self._store
        if key.owner is not None:
            store = OwnedStore(store, key.owner, self._owners)
        return Caller(store, origin, key.scopes, key.id, partial(_check, self.ring, key))

    def _opened(self, ring: KeyRing, environ: WSGIEnvironment) -> ApiKey:
        """The key that the request came with. Who sends wrong ones all the time is told to wait;
        a right one always opens. Raises KeyMissing, KeyRefused, TooManyRequests, Unavailable.
        """
        given: str | None = environ.get("HTTP_AUTHORIZATION")
        if given is None:
            raise KeyMissing("Send an API key: Authorization: Bearer ck_...")
        scheme, _, token = given.partition(" ")
        key = ring.open_with(token.strip()) if scheme.lower() == _SCHEME else None
        if key is None:
            self._throttle.failed(environ)
            raise _refused()
        return key


def _check(ring: KeyRing, key: ApiKey) -> None:
    """See Caller.check."""
    if not ring.still_opens(key):
        raise _refused()


def _refused() -> KeyRefused:
    return KeyRefused("This is no key that works: it is misspelt, revoked or its time is over.")
