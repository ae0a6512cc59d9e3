"""Who asks, and how the service is doing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from RestAPI.caller import Caller
from RestAPI.edge import STATUS_PATH
from RestAPI.endpoint import endpoint
from RestAPI.figures import read_figures
from RestAPI.routes.outside import TAG
from RestAPI.schemas.service import Access
from RestAPI.schemas.service import Status as StatusAnswer
from RestAPI.status import Status
from WalletCore.domain.model import Document, rfc3339
from WalletCore.keys import ALL_SCOPES, Scope

ACCESS_PATH: Final = "/api/v1/access"

__all__ = ["ACCESS_PATH", "STATUS_PATH", "ServiceRoutes"]


class ServiceRoutes:
    """The endpoints that tell of the service and of the caller. ``status``: asks all parts."""

    def __init__(self, status: Status, default_currency: str) -> None:
        self._status = status
        self._default_currency = default_currency

    @endpoint(tag=TAG, responses={200: Access})
    def get_access(self, caller: Caller) -> Document:
        """Ask who asks

        Which key this is, and what it may do. In open access everybody may do everything.
        """
        key = caller.api_key
        scopes = ALL_SCOPES if Scope.ADMIN in caller.scopes else caller.scopes
        ends = key.expires_at if key is not None else None
        return {
            "access": "open" if key is None else "keys",
            "key_id": key.id if key is not None else None,
            "name": key.name if key is not None else None,
            "scopes": sorted(scopes),
            "owner": caller.origin.owner,
            "expires_at": rfc3339(ends) if ends is not None else None,
            "default_currency": self._default_currency,
        }

    @endpoint(tag=TAG, responses={200: StatusAnswer})
    def get_status(self, caller: Caller) -> Document:
        """Read how the service is doing

        Whether database, cache, broker, relay and worker are there, how far behind the worker is,
        and figures of all processes of this server, of which two answers give rates. A part that
        is away is `down` here; the answer comes all the same, within two seconds. What is told of
        the broker and the cache is up to five seconds old, of the database one.

        Not for keys that are limited to an owner.
        """
        caller.require_no_owner("The state of the service")
        found = self._status.read()
        return {
            "at": rfc3339(datetime.now(UTC)),
            "parts": [part._asdict() for part in found.parts],
            "lag": None if found.lag is None else found.lag._asdict(),
            **read_figures(),
            "hot_wallets": [
                {"wallet_id": str(hot.wallet_id), "events": hot.events} for hot in found.hot_wallets
            ],
        }
