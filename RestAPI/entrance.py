"""What happens to a request before the application sees it: whence it comes, whether it may come in
now, and what its answer says of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from RestAPI.access import is_open
from RestAPI.addresses import ClientAddress, subscriber
from RestAPI.cors import Cors
from RestAPI.gate import PREFIX, Gate
from RestAPI.problems import PathNotFound
from RestAPI.rate_limits import (
    FAILED_LOGINS,
    Limit,
    LocalRateLimits,
    RateLimits,
    Verdict,
    rate_limit_headers,
    too_many_requests,
)
from WalletCore.domain.errors import CofferError
from WalletCore.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

API: Final = "/api/"
"""What is limited, and what pages of other origins may ask for: not the pages for people."""

ADDRESS: Final = "coffer.address"
"""The client's address, in the request's environment."""

REQUEST_ID: Final = "coffer.request_id"
"""The request's id, in its environment."""

WALLET_ID: Final = "coffer.wallet_id"
"""The wallet that the request names, in its environment, for the log: that of its path, else that
of its body; of a transfer, the wallet that gives."""

_LIMIT_HEADERS: Final = "coffer.limit_headers"


class Throttle:
    """How often each key, and each address, may ask."""

    def __init__(self, settings: Settings, limits: RateLimits) -> None:
        burst_seconds = settings.rate_limit_burst_seconds
        self._limits = limits
        # Redis away opens the other limits; who guesses is still counted by each process.
        self._guesses = (limits, LocalRateLimits())
        self._per_key = Limit.lasting(settings.rate_limit_per_key, burst_seconds)
        self._per_address = Limit.lasting(settings.rate_limit_per_address, burst_seconds)

    def by_address(self, environ: WSGIEnvironment) -> None:
        """Count a request. Raises TooManyRequests."""
        if self._per_address is not None:
            self._take(environ, f"address:{subscriber(environ[ADDRESS])}", self._per_address)

    def by_key(self, environ: WSGIEnvironment, key_id: str) -> None:
        """The same for its key. Raises TooManyRequests."""
        if self._per_key is not None:
            self._take(environ, f"key:{key_id}", self._per_key)

    def failed(self, environ: WSGIEnvironment) -> None:
        """Count a key or password that was wrong. Raises TooManyRequests if there were many."""
        self._guess(environ, lambda limits, name: limits.take(name, FAILED_LOGINS))

    def may_try(self, environ: WSGIEnvironment) -> None:
        """Whether another password may be tried from here, before it is looked at. Raises
        TooManyRequests.
        """
        self._guess(environ, lambda limits, name: limits.look(name, FAILED_LOGINS))

    def _guess(self, environ: WSGIEnvironment, ask: Callable[[RateLimits, str], Verdict]) -> None:
        name = f"failed:{subscriber(environ[ADDRESS])}"
        for verdict in [ask(limits, name) for limits in self._guesses]:
            if not verdict.allowed:
                environ.pop(_LIMIT_HEADERS, None)
                raise too_many_requests(FAILED_LOGINS, verdict)

    def _take(self, environ: WSGIEnvironment, name: str, limit: Limit) -> None:
        verdict = self._limits.take(name, limit)
        if not verdict.allowed:
            environ.pop(_LIMIT_HEADERS, None)
            raise too_many_requests(limit, verdict)
        environ[_LIMIT_HEADERS] = rate_limit_headers(limit, verdict)


class Entrance:
    """Raises ValueError, which names the setting, for what cannot be."""

    def __init__(self, settings: Settings, throttle: Throttle) -> None:
        self._address = ClientAddress(settings.trusted_proxies)
        self._cors = Cors(settings.cors_origins, open_access=is_open(settings))
        self._gate = Gate(settings, self._cors)
        self._throttle = throttle

    def enter(self, environ: WSGIEnvironment, path: str) -> CofferError | None:
        """Find out whence a request comes, and why it is not done; None if it is."""
        environ[ADDRESS] = self._address.of(environ)
        if path.startswith("//") or (path and path[0] != "/"):
            # Werkzeug would route it as if it had one slash; nothing below would have known it.
            return PathNotFound("There is nothing at this path; /docs lists what there is.")
        if not path.startswith(API):
            return None
        if path.startswith(PREFIX):
            refusal = self._gate.refusal(environ)
            if refusal is not None:
                return refusal
        try:
            self._throttle.by_address(environ)
        except CofferError as refusal:
            return refusal
        return None

    def preflight(self, environ: WSGIEnvironment, path: str) -> list[tuple[str, str]] | None:
        """The headers of the answer to a browser's question; None if it asks none."""
        return self._cors.preflight(environ) if path.startswith(API) else None

    def headers(self, environ: WSGIEnvironment, path: str) -> list[tuple[str, str]]:
        """What the answer says of all this."""
        if not path.startswith(API):
            return []
        return [*self._cors.headers(environ), *environ.get(_LIMIT_HEADERS, ())]
