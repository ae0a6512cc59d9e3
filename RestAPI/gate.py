"""Keeps web pages of others from using the API through the browser of somebody who may.

Nobody is asked for a key where access is open, so a browser on the same machine is trusted, and
with it whatever page it shows. Two rules stop such a page, both for everything under PREFIX:

* The Host must be a name that the service is known by. A page whose own name is suddenly resolved
  to 127.0.0.1 (DNS rebinding) is of the same origin for the browser, but still names that host.
  Where a key is needed, such a page has none, and any name will do.
* A change must not come from a page of another origin. The browser says so in Sec-Fetch-Site and
  Origin (https://www.w3.org/TR/fetch-metadata/, RFC 6454); programs that are none send neither.
  Origins that COFFER_CORS_ORIGINS names are let in.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from RestAPI.access import is_open
from RestAPI.cors import Cors
from RestAPI.problems import CrossSiteRefused, HostNotAllowed
from WalletCore.domain.errors import CofferError
from WalletCore.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX: Final = "/api/v1"
ANY_HOST: Final = "*"

MAX_REMEMBERED_HOSTS: Final = 64
MAX_SHOWN_HOST_CHARACTERS: Final = 100

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII)


class Gate:
    """Who may ask, by the headers that a browser sets and no page can change."""

    def __init__(self, settings: Settings, cors: Cors) -> None:
        self._cors = cors
        listed = {_plain(name) for name in settings.allowed_hosts.split(",") if name.strip()}
        self._any = ANY_HOST in listed or not is_open(settings)
        self._names = frozenset({*listed, "localhost", _plain(settings.host)})
        # A handful of strings comes again and again; to look at one takes some microseconds.
        self._remembered: dict[str, bool] = {}

    def refusal(self, environ: WSGIEnvironment) -> CofferError | None:
        """Why a request under PREFIX is not done; None if it is."""
        host: str = environ.get("HTTP_HOST", "")
        known = self._remembered.get(host)
        if known is None:
            known = self._any or self._is_known(host)
            if len(self._remembered) < MAX_REMEMBERED_HOSTS:
                self._remembered[host] = known
        if not known:
            return HostNotAllowed(
                f"The service is not known as {host[:MAX_SHOWN_HOST_CHARACTERS]!a}. Call it "
                "by a loopback address or localhost, or name this host in COFFER_ALLOWED_HOSTS."
            )
        if environ["REQUEST_METHOD"] in _READING:
            return None
        origin: str | None = environ.get("HTTP_ORIGIN")
        if origin is not None and self._cors.allows(origin):
            return None
        if environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" or (
            origin is not None and origin.partition("://")[2].lower() != host.lower()
        ):
            return CrossSiteRefused(
                "A web page of another origin asks for this. Send it from a page of the service "
                "itself or from a program; a proxy in front must pass on the Host that it gets."
            )
        return None

    def _is_known(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = _plain(found[1] or found[2])
        if name in self._names:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _plain(name: str) -> str:
    """A host's name in the one form in which it is compared."""
    return name.strip().strip("[]").rstrip(".").lower()
