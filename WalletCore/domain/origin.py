"""Who asked for a command: what the events tell of it, and whose wallets it may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SERVICE_ACTOR: Final = "coffer"
"""The service itself: a hold whose time is over, say."""

OPEN_ACTOR: Final = "open"
"""Whoever reaches a service that asks for no keys."""

SHELL_ACTOR: Final = "shell"
"""Whoever may run the service's commands beside its database."""


@dataclass(frozen=True, slots=True)
class Origin:
    """``actor``: ``key:<id>``, ``user:<name>``, or one of the names above. ``address``: of the
    client. ``owner``: whose wallets alone may be touched, None: everybody's; others are not found.
    ``traceparent``: of the request (https://www.w3.org/TR/trace-context/). ``request_id``: what it
    has in the log and in the header X-Request-Id; None where no request asked for it.
    """

    actor: str = SERVICE_ACTOR
    address: str | None = None
    owner: str | None = None
    traceparent: str | None = None
    request_id: str | None = None


SERVICE: Final = Origin()
