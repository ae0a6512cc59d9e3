"""What the service says about itself."""

from __future__ import annotations

from typing import Literal

from RestAPI.schemas.fields import Answer


class Pong(Answer):
    """The process answers."""

    ping: Literal["pong"]


class Liveness(Answer):
    """The process is alive."""

    status: Literal["alive"]


class Readiness(Answer):
    """Whether requests can be done, and what is missing for it."""

    status: Literal["ready", "not ready"]
    missing: list[str]
