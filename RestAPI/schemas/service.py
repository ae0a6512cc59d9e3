"""Who asks, and how the service and what it needs are doing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from RestAPI.schemas.fields import Answer, Instant, UuidText
from WalletCore.keys import Scope


class Access(Answer):
    """Who asks, and what they may do."""

    access: Literal["open", "keys"] = Field(description="Whether keys are asked for.")
    key_id: str | None
    name: str | None = Field(description="What the key is for.")
    scopes: list[Scope] = Field(description="Every scope that works for the caller.")
    owner: str | None = Field(description="Whose wallets alone the caller reaches.")
    expires_at: Instant | None
    default_currency: str = Field(description="What a wallet is in that names none.")


class ServicePart(Answer):
    """A part of the service. `none`: not configured."""

    name: Literal["database", "cache", "broker", "relay", "worker"]
    state: Literal["up", "down", "none"]
    detail: str = Field(description="More of it, for people.")


class ServiceLag(Answer):
    """Events that no worker has recorded yet."""

    events: int = Field(ge=0)
    seconds: float = Field(ge=0, description="The age of the oldest of them; 0 without any.")
    of_newest: int = Field(ge=1, description="So many of the newest events were looked at.")


class LatencyBucket(Answer):
    """How many requests took no longer than this."""

    le: str = Field(description="Seconds, or `+Inf`.", examples=["0.001", "+Inf"])
    count: int = Field(ge=0, description="With those of the buckets before.")


class Latency(Answer):
    """How long requests took, since the start; without streams."""

    count: int = Field(ge=0)
    sum: float = Field(ge=0, description="Seconds.")
    buckets: list[LatencyBucket]


class RequestFigures(Answer):
    """Answered requests since the start, without those for health, metrics and status."""

    count: int = Field(ge=0)
    failed: int = Field(ge=0, description="Answered with a 5xx.")
    seconds: Latency


class OperationFigures(Answer):
    """What was written since the start."""

    entries: int = Field(ge=0, description="Of the ledger: a transfer has two.")


class BatchFigures(Answer):
    """Transactions since the start."""

    count: int = Field(ge=0)
    commands: int = Field(ge=0, description="That were decided in them.")


class HotWallet(Answer):
    """A wallet in which much happens."""

    wallet_id: UuidText
    events: int = Field(ge=1, description="Of the last 10 seconds.")


class Status(Answer):
    """How the service is doing. The figures count up: two answers give rates."""

    at: Instant
    parts: list[ServicePart]
    lag: ServiceLag | None = Field(description="null while the database is away.")
    requests: RequestFigures
    operations: OperationFigures
    queue: int = Field(ge=0, description="Commands that wait for a transaction.")
    batches: BatchFigures
    hot_wallets: list[HotWallet] = Field(max_length=10, description="The hottest first.")
