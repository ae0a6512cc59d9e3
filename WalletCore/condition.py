"""How the store and those who follow its log are doing: what the service tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

HOT_SECONDS: Final = 10
"""Of so long the events are counted to find the wallets in which most happens."""
MAX_HOT_EVENTS: Final = 10_000
"""Of so many of them at most, the newest."""
MAX_HOT_WALLETS: Final = 10

START_WORKER: Final = "python -m NotificationWorker"


class State(StrEnum):
    """Of a part of the service. NONE: not configured."""

    UP = "up"
    DOWN = "down"
    NONE = "none"


class Part(NamedTuple):
    """A part of the service; ``detail`` is for people."""

    name: str
    state: State
    detail: str


class Lag(NamedTuple):
    """Of the ``of_newest`` newest events, how many are not recorded, and the oldest one's age."""

    events: int
    seconds: float
    of_newest: int


class HotWallet(NamedTuple):
    """A wallet with its ``events`` of the last HOT_SECONDS."""

    wallet_id: UUID
    events: int


@dataclass(frozen=True, slots=True)
class Condition:
    """What a store knows. ``worker``: the one that reads the log where there is no broker."""

    database: Part
    relay: Part
    worker: Part
    lag: Lag
    hot_wallets: tuple[HotWallet, ...]
