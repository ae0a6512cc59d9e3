"""Every setting, read once from the environment (and a ``.env`` file) into one frozen object."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEMORY_URL = "memory://"
"""The database URL that keeps everything in this one process."""

MIN_RATE_PER_SECOND = 0.001
MAX_RATE_PER_SECOND = 10_000
"""The slowest and the fastest limit of a rate. One process does some 3,000 requests a second."""

Rate = Annotated[float, Field(ge=0, le=MAX_RATE_PER_SECOND, allow_inf_nan=False)]
"""Requests a second; 0: as many as come."""


MIN_JWT_SECRET_BYTES: Final = 32


class Settings(BaseSettings):
    """The settings, each named ``COFFER_`` and its name in capitals. See ``.env.example``."""

    model_config = SettingsConfigDict(
        env_prefix="COFFER_",
        env_file=".env",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None = None
    """``postgresql://...``, ``memory://``, or unset: the embedded PostgreSQL under data_dir."""
    migration_database_url: SecretStr | None = None
    """The owner's connection for migrations; by default database_url."""
    redis_url: SecretStr | None = None
    """``redis://...`` for the balance cache; unset: none."""
    amqp_url: SecretStr | None = None
    """``amqp://...`` of the broker; unset: do without."""
    amqp_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "coffer"
    """What the names of the exchanges and queues begin with."""
    amqp_delivery_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """How often the queue delivers a message before it goes to the dead queue."""
    reconcile_after_seconds: Annotated[float, Field(ge=1, le=86_400)] = 60
    """After this long an event that no worker has recorded is published again."""
    log_retention_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    """How long the event log is kept, at least; what is not recorded stays longer."""
    key_retention_days: Annotated[int, Field(ge=1, le=36_500)] = 7
    """How long Idempotency-Keys are remembered, at least."""
    relay_port: Annotated[int, Field(ge=0, le=65535)] = 8001
    worker_port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """Where relay and worker tell of their health and metrics, on ``host``."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    data_dir: Path = Path(".local")
    access: Literal["open", "keys"] | None = None
    """``open`` asks for no keys and is allowed on loopback only, where it is the default."""
    bootstrap_key: SecretStr | None = None
    """An API key that may do everything and is in no database, to make others with."""
    allowed_hosts: str = ""
    """Host names, separated by commas, under which the API may be called beside those of loopback
    and ``host``; ``*``: any."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies, separated by commas, whose X-Forwarded-For is believed;
    ``unix``: whoever calls through a Unix socket."""
    cors_origins: str = ""
    """Origins, separated by commas, whose web pages may use the API from a browser; ``*``: any."""
    rate_limit_per_key: Rate = 0
    """Requests a second with one API key; 0: no limit."""
    rate_limit_per_address: Rate = 0
    """Requests a second from one address (of IPv6: one /64); 0: no limit."""
    rate_limit_burst_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 2
    """For how many seconds unused requests of these limits are kept, to be made at once."""
    jwt_secret: SecretStr | None = None
    """What signs the tokens of the shop: MIN_JWT_SECRET_BYTES or more."""
    jwt_previous_secrets: SecretStr | None = None
    """Those before it, separated by commas: their tokens are good until they expire."""
    jwt_ttl_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 86_400
    """How long a token is good."""
    default_currency: str = "USD"
    currencies: str = "COIN:0"
    """The deployment's own currencies, ``CODE:DECIMALS`` separated by commas."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Server processes; unset: one per core."""
    threads: Annotated[int, Field(ge=2, le=1024)] = 64
    """Request threads per process: the more wait together, the larger the batches."""
    max_streams: Annotated[int, Field(ge=0, le=512)] = 16
    """Streams of notifications per process; 0: none. See ``stream_limit``."""
    web_server: Literal["gunicorn", "granian"] = "gunicorn"
    otlp_endpoint: SecretStr | None = None
    """``http://collector:4318``, where traces are sent by OTLP; unset: there are none."""
    trace_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    """The share of the traces that begin here which is recorded; others as their caller says."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "console", "json"] = "auto"
    """``auto``: readable on a terminal, JSON elsewhere."""

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("rate_limit_per_key", "rate_limit_per_address")
    @classmethod
    def _not_too_slow(cls, value: float) -> float:
        if 0 < value < MIN_RATE_PER_SECOND:
            raise ValueError(f"0, for no limit, or at least {MIN_RATE_PER_SECOND}")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _an_http_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            address = urlsplit(value.get_secret_value())
            if address.scheme not in ("http", "https") or not address.hostname or address.query:
                raise ValueError("the address of a collector, such as http://127.0.0.1:4318")
        return value

    @field_validator("jwt_secret", "jwt_previous_secrets")
    @classmethod
    def _long_enough(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """HS256 wants as many bytes as its hash has (RFC 7518, section 3.2). With a comma in it the
        secret could not become a previous one.
        """
        given = value.get_secret_value().split(",") if value else []
        several = len(given) > 1 and info.field_name == "jwt_secret"
        for secret in given:
            if several or len(secret.strip().encode()) < MIN_JWT_SECRET_BYTES:
                raise ValueError(
                    f"a secret has {MIN_JWT_SECRET_BYTES} bytes or more, and no comma: make one "
                    "with python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
        return value

    @property
    def previous_jwt_secrets(self) -> list[str]:
        """The secrets before the one that signs."""
        value = self.jwt_previous_secrets
        return [one.strip() for one in value.get_secret_value().split(",")] if value else []

    @property
    def worker_count(self) -> int:
        """Server processes: the setting, else one per core; one in memory."""
        if self.in_memory:
            return 1
        return self.workers or os.cpu_count() or 1

    @property
    def stream_limit(self) -> int:
        """Streams per process: the setting, but at most half as many as there are threads."""
        return min(self.max_streams, self.threads // 2)

    @property
    def server_threads(self) -> int:
        """Threads of a server process. A stream keeps one, so each has one beside those of the
        requests, and what open_store reserves of these stays free for reads.
        """
        return self.threads + self.stream_limit

    @property
    def in_memory(self) -> bool:
        """Whether everything is kept in this one process."""
        return self.database_url is not None and (
            self.database_url.get_secret_value() == MEMORY_URL
        )


@functools.cache
def load_settings() -> Settings:
    """The settings of this process. Raises pydantic.ValidationError on a value that cannot be."""
    return Settings()
