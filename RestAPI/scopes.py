"""What each endpoint asks of its callers: the one table. What is not in it is not served."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

from WalletCore.keys import Scope


class Guard(StrEnum):
    """What an endpoint asks for where that is no scope of a key."""

    NOTHING = "nothing"
    KEY = "key"
    """Any key that works, whatever its scopes."""
    TOKEN = "token"  # noqa: S105 - a kind of access, no secret
    """The token of a user of the shop."""


Needed: TypeAlias = Scope | Guard

_API: Final = "/api/v1"
_WALLET: Final = f"{_API}/wallets/<wallet_id>"

NEEDED: Final[Mapping[tuple[str, str], Needed]] = {
    ("GET", f"{_API}/access"): Guard.KEY,
    ("GET", f"{_API}/status"): Scope.METRICS,
    ("POST", f"{_API}/wallets"): Scope.WRITE,
    ("GET", f"{_API}/wallets"): Scope.READ,
    ("GET", _WALLET): Scope.READ,
    ("PATCH", _WALLET): Scope.WRITE,
    ("GET", f"{_WALLET}/balance"): Scope.READ,
    ("POST", f"{_WALLET}/operation"): Scope.WRITE,
    ("GET", f"{_WALLET}/operations"): Scope.READ,
    ("GET", f"{_WALLET}/statement"): Scope.READ,
    ("POST", f"{_WALLET}/holds"): Scope.WRITE,
    ("GET", f"{_WALLET}/holds"): Scope.READ,
    ("GET", f"{_API}/operations"): Scope.READ,
    ("POST", f"{_API}/operations/bulk"): Scope.WRITE,
    ("GET", f"{_API}/operations/<operation_id>"): Scope.READ,
    ("POST", f"{_API}/operations/<operation_id>/reversal"): Scope.WRITE,
    ("POST", f"{_API}/transfers"): Scope.WRITE,
    ("GET", f"{_API}/transfers/<transfer_id>"): Scope.READ,
    ("GET", f"{_API}/holds/<hold_id>"): Scope.READ,
    ("POST", f"{_API}/holds/<hold_id>/capture"): Scope.WRITE,
    ("POST", f"{_API}/holds/<hold_id>/void"): Scope.WRITE,
    ("GET", f"{_API}/ledger/trial-balance"): Scope.READ,
    ("GET", f"{_API}/events"): Scope.READ,
    ("POST", f"{_API}/events"): Scope.WRITE,
    ("GET", f"{_API}/events/<event_id>"): Scope.READ,
    ("PUT", f"{_API}/events/<event_id>"): Scope.WRITE,
    ("GET", f"{_API}/notifications"): Scope.READ,
    ("GET", f"{_API}/notifications/stream"): Scope.READ,
    ("POST", f"{_API}/notifications/read-all"): Scope.WRITE,
    ("GET", f"{_API}/notifications/<notification_id>"): Scope.READ,
    ("POST", f"{_API}/notifications/<notification_id>/read"): Scope.WRITE,
    ("POST", f"{_API}/keys"): Scope.ADMIN,
    ("GET", f"{_API}/keys"): Scope.ADMIN,
    ("DELETE", f"{_API}/keys/<key_id>"): Scope.ADMIN,
    ("GET", f"{_API}/profile"): Scope.ADMIN,
    ("GET", f"{_API}/shop/items"): Scope.READ,
    ("PUT", f"{_API}/shop/items/<item>"): Scope.ADMIN,
    ("POST", "/api/auth"): Guard.NOTHING,
    ("GET", "/api/info"): Guard.TOKEN,
    ("POST", "/api/sendCoin"): Guard.TOKEN,
    ("GET", "/api/buy/<string:item>"): Guard.TOKEN,
    ("GET", "/api/items"): Guard.TOKEN,
    ("GET", "/metrics"): Scope.METRICS,
    ("GET", "/ping"): Guard.NOTHING,
    ("GET", "/health/live"): Guard.NOTHING,
    ("GET", "/health/ready"): Guard.NOTHING,
    ("GET", "/openapi.json"): Guard.NOTHING,
    ("GET", "/asyncapi.yaml"): Guard.NOTHING,
    ("GET", "/"): Guard.NOTHING,
    ("GET", "/docs"): Guard.NOTHING,
    ("GET", "/shop"): Guard.NOTHING,
}
"""By method and URL rule. Beside its scope, what a key with an owner names must be that owner's."""
