"""API keys: make, list and revoke them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.key_ring import KeyRing
from RestAPI.problems import invalid
from RestAPI.schemas.keys import Key, KeyCreation, KeyList, KeyPath, MadeKey, NoQuery
from WalletCore.domain.errors import KeyNotFound, LimitExceeded
from WalletCore.domain.model import Document
from WalletCore.keys import key_document, new_key

KEYS_PATH: Final = "/api/v1/keys"
TAG: Final = "Keys"


class KeyRoutes:
    """The endpoints under ``/keys``. ``ring``: what this process knows of the keys."""

    def __init__(self, ring: KeyRing | None) -> None:
        self._ring = ring

    @endpoint(
        tag=TAG,
        query=NoQuery,
        body=KeyCreation,
        responses={201: MadeKey},
        errors=(LimitExceeded,),
    )
    def create_key(
        self,
        caller: Caller,
        query: NoQuery,  # noqa: ARG002 - it says nothing
        body: KeyCreation,
    ) -> Document:
        """Make an API key

        `key` in the answer is shown this once. It takes no Idempotency-Key, because an answer that
        can be had again would have to be kept with the secret in it: if the answer was lost, revoke
        the newest key of that name and make another one. Nor is there a dry run.
        """
        lasts = body.expires_in_days
        try:
            key, text = new_key(
                body.name,
                body.scopes,
                owner=body.owner,
                expires_at=datetime.now(UTC) + timedelta(days=lasts) if lasts else None,
                created_by=caller.origin.actor,
            )
        except ValueError as error:
            raise invalid([("body", str(error))]) from None
        caller.store.keys.add(key)
        return {**key_document(key), "key": text}

    @endpoint(tag=TAG, responses={200: KeyList})
    def list_keys(self, caller: Caller) -> Document:
        """List the API keys

        The newest first, also those that ended within 90 days; nothing of their secrets.
        """
        return {"items": [key_document(key) for key in caller.store.keys.all()]}

    @endpoint(
        tag=TAG,
        path=KeyPath,
        query=NoQuery,
        responses={200: Key},
        errors=(KeyNotFound,),
    )
    def revoke_key(
        self,
        caller: Caller,
        key_id: str,
        query: NoQuery,  # noqa: ARG002 - it says nothing
    ) -> Document:
        """Revoke an API key

        It never works again: in this process at once, in others within two seconds. A second time
        changes nothing.
        """
        actor = caller.origin.actor
        revoked = caller.store.keys.revoke(key_id, actor, datetime.now(UTC))
        if self._ring is not None:
            self._ring.forget(key_id)
        return key_document(revoked)
