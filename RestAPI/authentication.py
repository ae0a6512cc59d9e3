"""Whom a request is from: the caller that its endpoint is given, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from RestAPI.access import bootstrap_of, is_open
from RestAPI.caller import Caller
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

AddressOf: TypeAlias = "Callable[[WSGIEnvironment], str | None]"

_SCHEME: Final = "bearer"


class Authentication:
    """``address_of``: where a request comes from."""

    def __init__(self, settings: Settings, store: Store, address_of: AddressOf) -> None:
        self._store = store
        self._address_of = address_of
        self._owners = Owners(store)
        self.ring = None if is_open(settings) else KeyRing(store.keys, bootstrap_of(settings))

    def caller(self, environ: WSGIEnvironment, scope: Scope) -> Caller:
        """Who asks. Raises KeyMissing, KeyRefused, ScopeMissing, Unavailable."""
        address, traceparent = self._address_of(environ), parse_traceparent(environ)
        if self.ring is None:
            origin = Origin(OPEN_ACTOR, address, None, traceparent)
            return Caller(self._store, origin, ALL_SCOPES, OPEN_SCOPE)
        key = _opened(self.ring, environ)
        environ[KEY_ID] = key.id
        if scope not in key.scopes and Scope.ADMIN not in key.scopes:
            raise ScopeMissing(f"This needs a key with the scope {scope}.")
        origin = Origin(f"key:{key.id}", address, key.owner, traceparent)
        store = self._store
        if key.owner is not None:
            store = OwnedStore(store, key.owner, self._owners)
        return Caller(store, origin, key.scopes, key.id)


def _opened(ring: KeyRing, environ: WSGIEnvironment) -> ApiKey:
    """The key that the request came with. Raises KeyMissing, KeyRefused, Unavailable."""
    given: str | None = environ.get("HTTP_AUTHORIZATION")
    if given is None:
        raise KeyMissing("Send an API key: Authorization: Bearer ck_...")
    scheme, _, token = given.partition(" ")
    key = ring.open_with(token.strip()) if scheme.lower() == _SCHEME else None
    if key is None:
        raise KeyRefused("This is no key that works: it is misspelt, revoked or its time is over.")
    return key
