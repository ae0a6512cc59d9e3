"""Who may come in: everybody who reaches a service on loopback, elsewhere whoever has a key."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from RestAPI.addresses import ClientAddress
from RestAPI.cors import Cors
from WalletCore.command_line import CannotRun
from WalletCore.keys import ApiKey, bootstrap_key
from WalletCore.settings import MIN_JWT_SECRET_BYTES, Settings
from WalletCore.telemetry import get_logger


def is_open(settings: Settings) -> bool:
    """Whether nobody is asked for a key."""
    if settings.access is None:
        return is_loopback(settings.host)
    return settings.access == "open"


def require_access(settings: Settings) -> None:
    """Refuse settings that open the service to others by accident. Raises CannotRun."""
    try:
        ClientAddress(settings.trusted_proxies)
        Cors(settings.cors_origins, open_access=is_open(settings))
    except ValueError as error:
        raise CannotRun(str(error)) from None
    if settings.access is None and is_open(settings) and settings.trusted_proxies:
        raise CannotRun(
            "COFFER_TRUSTED_PROXIES says that others come through a proxy, and on "
            f"{settings.host} nobody would be asked for a key. Set COFFER_ACCESS=keys, or to open "
            "if whoever reaches the proxy may do everything."
        )
    if is_open(settings):
        if not is_loopback(settings.host):
            raise CannotRun(
                f"COFFER_HOST={settings.host} can be reached from other machines, and with "
                "COFFER_ACCESS=open nobody would be asked for a key. Serve on 127.0.0.1, or leave "
                "COFFER_ACCESS out and make a key: python -m RestAPI keys create."
            )
        return
    try:
        bootstrap = bootstrap_of(settings)
    except ValueError as error:
        raise CannotRun(str(error)) from None
    if bootstrap is None and settings.in_memory:
        raise CannotRun(
            "memory:// begins without any key, so that nobody could come in: set "
            "COFFER_BOOTSTRAP_KEY to what python -m RestAPI keys new prints."
        )


def require_a_key(settings: Settings, has_working_key: Callable[[], bool]) -> None:
    """Refuse to serve what nobody could enter. Raises CannotRun."""
    if is_open(settings) or settings.bootstrap_key is not None or has_working_key():
        return
    raise CannotRun(
        "There is no API key that works, so nobody could come in. Make one: python -m RestAPI keys "
        "create NAME --scope admin; or set COFFER_BOOTSTRAP_KEY."
    )


def require_secret(settings: Settings) -> None:
    """Refuse to serve a shop whose tokens nobody could sign. Raises CannotRun."""
    if settings.jwt_secret is None and not settings.in_memory:
        raise CannotRun(
            f"COFFER_JWT_SECRET is not set: {MIN_JWT_SECRET_BYTES} bytes or more, the same for "
            "every process, which sign the tokens of the shop. Make one with python -c 'import "
            "secrets; print(secrets.token_urlsafe(32))'; make run and make up do so by themselves."
        )


def bootstrap_of(settings: Settings) -> ApiKey | None:
    """The key that the settings give. Raises ValueError."""
    given = settings.bootstrap_key
    return bootstrap_key(given.get_secret_value()) if given is not None else None


def tell_of_access(settings: Settings) -> None:
    """Say in the log who may come in."""
    if is_open(settings):
        get_logger().warning(
            "access_is_open", hint="everybody on this machine may use the service, without a key"
        )
    else:
        get_logger().info("access_by_keys", bootstrap=settings.bootstrap_key is not None)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``, an address or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_near(remote: str) -> bool:
    """Whether whoever calls from ``remote``, a REMOTE_ADDR, is on this machine. What is no address
    is a Unix socket's.
    """
    if not remote or remote == "127.0.0.1":
        return True
    try:
        return ipaddress.ip_address(remote).is_loopback
    except ValueError:
        return True


def bracketed(host: str) -> str:
    """``host`` as it stands in front of a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
