"""Who may come in. There are no keys yet, so the address decides."""

from __future__ import annotations

import ipaddress

from WalletCore.command_line import CannotRun
from WalletCore.settings import Settings
from WalletCore.telemetry import get_logger


def require_access(settings: Settings) -> None:
    """Refuse settings that open the service to others by accident. Raises CannotRun."""
    if settings.access == "keys":
        raise CannotRun(
            "COFFER_ACCESS=keys is not available yet in this version: there are no API keys. Leave "
            "it out and serve on a loopback address (COFFER_HOST=127.0.0.1)."
        )
    if settings.access is None and not is_loopback(settings.host):
        raise CannotRun(
            f"COFFER_HOST={settings.host} can be reached from other machines, and nobody would be "
            "asked for a key. Serve on 127.0.0.1, or set COFFER_ACCESS=open if something else, a "
            "container's network or a proxy, keeps strangers out."
        )


def warn_of_open_access(settings: Settings) -> None:
    """Say in the log who may come in: quietly on loopback, loudly elsewhere."""
    if is_loopback(settings.host):
        get_logger().warning(
            "access_is_open", hint="everybody on this machine may use the service, without a key"
        )
    else:
        get_logger().warning(
            "ACCESS IS OPEN TO OTHER MACHINES",
            host=settings.host,
            hint="whoever reaches this address may move money; make sure that strangers cannot",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``, an address or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """``host`` as it stands in front of a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
