"""Which web pages of others may use the API from a browser (COFFER_CORS_ORIGINS); none by default.

The Fetch standard's CORS protocol, without credentials: a key travels in Authorization, which a
page puts there itself, and there are no cookies that a browser would add.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ANY_ORIGIN: Final = "*"

MAX_AGE_SECONDS: Final = 7200
"""How long a browser need not ask again; Chromium remembers no longer in any case."""

ALLOWED_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "X-Request-Id",
    "traceparent",
    "Last-Event-ID",
)
EXPOSED_HEADERS: Final = (
    "X-Request-Id",
    "Location",
    "Idempotency-Replayed",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "RateLimit-Policy",
    "Coffer-Dry-Run",
)

_VARY: Final = ("Vary", "Origin")
_EXPOSE: Final = ("Access-Control-Expose-Headers", ", ".join(EXPOSED_HEADERS))
_PREFLIGHT: Final = (
    ("Access-Control-Allow-Methods", ", ".join(ALLOWED_METHODS)),
    ("Access-Control-Allow-Headers", ", ".join(ALLOWED_HEADERS)),
    ("Access-Control-Max-Age", str(MAX_AGE_SECONDS)),
)

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:\[([0-9a-f:.]+)\]|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*))(?::([0-9]{1,5}))?",
    re.ASCII,
)
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65_535


class Cors:
    """Answers for pages of ``origins``: exact ones, separated by commas, or ``*`` for any.

    ``open_access``: nobody is asked for a key; then any page that is shown on this machine could
    move money, and ``*`` is refused. Raises ValueError, which says why, for what is no origin.
    """

    def __init__(self, origins: str, *, open_access: bool) -> None:
        listed = [entry.strip() for entry in origins.split(",") if entry.strip()]
        self._any = listed == [ANY_ORIGIN]
        if self._any and open_access:
            raise ValueError(
                "COFFER_CORS_ORIGINS: * lets every web page in, and with open access nobody is "
                "asked for a key. List the origins, or set COFFER_ACCESS=keys."
            )
        self._origins = frozenset() if self._any else frozenset(map(_origin, listed))
        self._off = not listed

    def allows(self, origin: str) -> bool:
        """Whether a page of ``origin``, as a browser names it in that header, may use the API."""
        return self._any or origin in self._origins

    def headers(self, environ: WSGIEnvironment) -> list[tuple[str, str]]:
        """What every answer carries, a problem too: otherwise the page could not read it."""
        if self._off:
            return []
        if self._any:
            return [("Access-Control-Allow-Origin", ANY_ORIGIN), _EXPOSE]
        origin: str = environ.get("HTTP_ORIGIN", "")
        if origin not in self._origins:
            # A cache must not give this answer to a page that may read it, nor the other way round.
            return [_VARY]
        return [("Access-Control-Allow-Origin", origin), _VARY, _EXPOSE]

    def preflight(self, environ: WSGIEnvironment) -> list[tuple[str, str]] | None:
        """What an empty answer (204) to a browser's question before a request carries.

        None for any other request, and for a page that may not ask: that is answered as usual.
        """
        if (
            self._off
            or environ["REQUEST_METHOD"] != "OPTIONS"
            or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ
        ):
            return None
        origin: str | None = environ.get("HTTP_ORIGIN")
        if origin is None or not self.allows(origin):
            return None
        if self._any:
            return [("Access-Control-Allow-Origin", ANY_ORIGIN), *_PREFLIGHT]
        return [("Access-Control-Allow-Origin", origin), _VARY, *_PREFLIGHT]


def _origin(entry: str) -> str:
    """``entry`` as a browser writes it: in small letters and without the scheme's usual port."""
    if entry == ANY_ORIGIN:
        raise ValueError("COFFER_CORS_ORIGINS: * is any origin, and stands alone.")
    found = _ORIGIN.fullmatch(entry.lower())
    if found is None:
        raise ValueError(
            f"COFFER_CORS_ORIGINS: {entry!a} is no origin. Write scheme, host and, if it is not "
            "the usual one, port, and nothing else, not even a last slash: https://app.example or "
            "http://localhost:3000. A name with other letters than a to z is written as xn--..."
        )
    scheme, address, name, port = found.groups()
    try:
        host = name or f"[{ipaddress.IPv6Address(address)}]"
    except ValueError as error:
        raise ValueError(f"COFFER_CORS_ORIGINS: {entry!a} is no origin: {error}.") from None
    if port is None or int(port) == _USUAL_PORTS.get(scheme):
        return f"{scheme}://{host}"
    if not 0 < int(port) <= _MAX_PORT:
        raise ValueError(f"COFFER_CORS_ORIGINS: {entry!a} is no origin: there is no such port.")
    return f"{scheme}://{host}:{int(port)}"
