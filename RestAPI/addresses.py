"""Whose address a request comes from, when there may be proxies in between.

What connects is known (REMOTE_ADDR). Whom it speaks for it says in X-Forwarded-For, to which every
proxy appends the address that it was called from; only what a trusted one appended counts
(COFFER_TRUSTED_PROXIES). So the list is read from its right end, as far as the proxies are ours;
the first address of somebody else is the client's, and left of it stands whatever the client likes.
https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For

Two things an operator must see to. A network that is trusted must not have clients in it, who could
claim any address. And a proxy must not pass on ``x_forwarded_for`` with underscores, which is the
same name to WSGI: nginx drops it by default, gunicorn too, but granian takes the last of both.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

UNIX: Final = "unix"
"""The address of whoever calls through a Unix socket, which the servers leave empty."""

MAX_TRUSTED_HOPS: Final = 16
"""So many of our own proxies may stand in a row in X-Forwarded-For."""

MAX_ADDRESS_CHARACTERS: Final = 64
"""The longest one has 39, with brackets and port 47. To look at 64,000 would take 2 ms."""

MAX_REMEMBERED: Final = 4096
MAX_REMEMBERED_CHARACTERS: Final = 256
"""The same few clients come again and again; to look at one takes some ten microseconds. So many
answers are kept, of headers up to this length."""

IPV6_SUBSCRIBER_BITS: Final = 64
"""Of an IPv6 address, so much tells subscribers apart; the rest each chooses at will (RFC 6177)."""

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_PORT = re.compile(r":[0-9]{1,5}", re.ASCII)


class ClientAddress:
    """Finds the client. ``trusted``: addresses and networks of proxies, separated by commas, and
    ``unix`` for whoever calls through a Unix socket.

    Raises ValueError, which says why, for what is none.
    """

    def __init__(self, trusted: str) -> None:
        listed = [entry.strip() for entry in trusted.split(",") if entry.strip()]
        self._trusts_nobody = not listed
        self._trusts_unix = UNIX in listed
        self._networks = tuple(_network(entry) for entry in listed if entry != UNIX)
        self._remembered = functools.lru_cache(MAX_REMEMBERED)(self._find)

    def of(self, environ: WSGIEnvironment) -> str:
        """The client's address in its shortest form, or UNIX. Nothing that a client sends raises.

        From a trusted proxy: the right-most address of X-Forwarded-For that is none. Where that
        header is missing or ends, or has something else, the last proxy that it leads to.
        """
        remote: str = environ.get("REMOTE_ADDR", "")
        if self._trusts_nobody:
            return self._remembered(remote, "")
        forwarded: str = environ.get("HTTP_X_FORWARDED_FOR", "")
        if len(forwarded) > MAX_REMEMBERED_CHARACTERS:
            return self._find(remote, forwarded)
        return self._remembered(remote, forwarded)

    def _find(self, remote: str, forwarded: str) -> str:
        hop = _address(remote)
        # What is no address is the path of a socket, or nothing.
        if not (self._trusts_unix if hop is None else self._trusts(hop)):
            return UNIX if hop is None else str(hop)
        parts = forwarded.rsplit(",", MAX_TRUSTED_HOPS)
        for part in reversed(parts[-MAX_TRUSTED_HOPS:]):
            before = _forwarded(part)
            if before is None:
                break
            hop = before
            if not self._trusts(hop):
                break
        return UNIX if hop is None else str(hop)

    def _trusts(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


@functools.lru_cache(MAX_REMEMBERED)
def subscriber(address: str) -> str:
    """What counts as one client where requests are limited: of IPv6 the network of 64 bits.

    ``address`` is what ``ClientAddress.of`` gave.

    >>> subscriber("2001:db8:1:2:3:4:5:6"), subscriber("192.0.2.1")
    ('2001:db8:1:2::/64', '192.0.2.1')
    """
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, IPV6_SUBSCRIBER_BITS), strict=False))


def _address(text: str) -> IPAddress | None:
    """The address without its zone; one of IPv4 that is dressed as IPv6 is undressed."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _forwarded(part: str) -> IPAddress | None:
    """The address in one place of X-Forwarded-For, which may carry brackets and a port."""
    text = part.strip(" \t")
    # A zone means nothing on another machine, and could be any text.
    if len(text) > MAX_ADDRESS_CHARACTERS or "%" in text:
        return None
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or ":" not in text or (port and not _PORT.fullmatch(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _PORT.fullmatch(f":{port}"):
            return None
    return _address(text)


def _network(entry: str) -> IPNetwork:
    try:
        network = ipaddress.ip_network(entry)
    except ValueError as error:
        raise ValueError(
            f"COFFER_TRUSTED_PROXIES: {error}. Write addresses, networks such as 10.0.0.0/8, or "
            f"{UNIX}, separated by commas."
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = network.network_address.ipv4_mapped
        network = ipaddress.ip_network(f"{inner}/{network.prefixlen - _MAPPED.prefixlen}")
    if network.prefixlen == 0:
        raise ValueError(
            f"COFFER_TRUSTED_PROXIES: {entry} is everybody, so that every client could claim any "
            "address. Write the addresses of the proxies."
        )
    return network
