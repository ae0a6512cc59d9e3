"""What Coffer says about itself: log lines (structlog) and metrics (Prometheus).

Several server processes count into files under PROMETHEUS_MULTIPROC_DIR, and any of them answers
for all. prometheus_client looks at that variable when it is imported, so it must be set before this
module is. https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import logging
import os
import re
import struct
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO, TypeVar

import orjson
import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from structlog.typing import FilteringBoundLogger, Processor

from WalletCore.log_level import logger_class
from WalletCore.metrics_folder import METRICS_FOLDER_VARIABLE
from WalletCore.settings import Settings

T = TypeVar("T")

METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

REQUESTS = Counter("coffer_http_requests", "Answered requests.", ["method", "rule", "status"])
REQUEST_SECONDS = Histogram(
    "coffer_http_request_seconds",
    "Time from a request's arrival in the application to its answer.",
    ["method", "rule"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BATCH_SIZE = Histogram(
    "coffer_batch_commands",
    "Commands decided in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 500),
)
COMMIT_SECONDS = Histogram(
    "coffer_commit_seconds",
    "Time of one transaction, from its first lock to its commit.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
QUEUE_DEPTH = Gauge(
    "coffer_queue_commands", "Commands that wait for a commit.", multiprocess_mode="livesum"
)
OPERATIONS = Counter(
    "coffer_operations", "Entries that were committed, by their operation's type.", ["type"]
)
REFUSALS = Counter("coffer_refusals", "Commands that were answered with a problem.", ["code"])
COMMIT_RETRIES = Counter("coffer_commit_retries", "Transactions done again.", ["reason"])
CACHE_READS = Counter("coffer_cache_reads", "Reads through the balance cache.", ["result"])
HOLDS_EXPIRED = Counter("coffer_holds_expired", "Holds that expired by themselves.")
READY = Gauge(
    "coffer_ready",
    "1 if nothing is missing that this program needs, looked at when it is asked; else 0.",
    multiprocess_mode="mostrecent",
)
RATE_LIMITS_SKIPPED = Counter(
    "coffer_rate_limits_skipped", "Requests let through without a look at their limit: no Redis."
)
PARTITION_DAYS_AHEAD = Gauge(
    "coffer_partition_days_ahead",
    "Days for which the event log has partitions; at 0 no money can move.",
    # A process that never looked must not count as one that found nothing.
    multiprocess_mode="mostrecent",
)

METRICS_TRIES: Final = 5
METRICS_PAUSE_SECONDS: Final = 0.02
"""How often the files of several processes are read until all can be, and the pause between."""

MASK: Final = "***"
_SECRET_FIELDS: Final = frozenset(
    {"authorization", "cookie", "idempotency_key", "password", "secret", "token"}
)
_PLAIN_FIELDS: Final = frozenset({"timestamp", "level", "event", "method", "rule"})
"""Fields of our own lines that hold no free text, so that looking costs nothing there."""

_SECRET_IN_URL: Final = re.compile(r"(\b\w+://[^\s:/@]*):[^\s@/]+@")
_SECRET_IN_PAIR: Final = re.compile(
    r"(?i)\b(password|passwd|secret|token|authorization)(['\"]?\s*[=:]\s*)"
    r"('[^']*'|\"[^\"]*\"|(?:bearer\s+|basic\s+)?[^\s,;&)'\"]+)"
)
_API_KEY: Final = re.compile(r"ck_([0-9a-f]{1,16})_[A-Za-z0-9_-]+")
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_PASSWORD_HASH: Final = re.compile(r"\$argon2[a-z]{1,2}\$[^\s'\"]+")
_MARKS: Final = (":", "=", "ck_", "eyJ", "$argon2")
"""One of them is in every text that holds a secret."""


def mask_secrets(text: str) -> str:
    """``text`` without the passwords of URLs, the values of ``password=...`` and the like, the
    secrets of API keys, tokens (JWT), and hashes of passwords.

    >>> mask_secrets("postgresql://coffer:hunter2@db/coffer")
    'postgresql://coffer:***@db/coffer'
    """
    if not may_hold_secret(text):
        return text
    text = _API_KEY.sub(rf"ck_\1_{MASK}", text)
    text = _TOKEN.sub(MASK, text)
    text = _PASSWORD_HASH.sub(MASK, text)
    text = _SECRET_IN_URL.sub(rf"\1:{MASK}@", text)
    return _SECRET_IN_PAIR.sub(rf"\1\2{MASK}", text)


def may_hold_secret(text: str) -> bool:
    """Whether it is worth a look."""
    return any(mark in text for mark in _MARKS)


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send the log lines of Coffer and of its libraries to ``stream`` (standard error).

    ``log_format`` decides: lines to read on a terminal, JSON elsewhere. Call it once per process.
    The level can be changed afterwards, see WalletCore.log_level.
    """
    stream = stream or sys.stderr
    readable = settings.log_format == "console" or (
        settings.log_format == "auto" and stream.isatty()
    )
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if readable:
        renderer: Processor = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        factory: Any = structlog.WriteLoggerFactory(file=stream)
        native: list[Processor] = [*shared, _mask_ours, renderer]
    else:
        renderer = structlog.processors.JSONRenderer(serializer=_json_text)
        # Bytes from orjson straight to the file: the text layer would cost as much again.
        factory = structlog.BytesLoggerFactory(file=stream.buffer)
        native = [*shared, _mask_ours, structlog.processors.JSONRenderer(serializer=_json_bytes)]
    structlog.configure(
        processors=native,
        wrapper_class=logger_class(settings.log_level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    _configure_libraries(stream, [_add_logger_name, *shared, _mask_theirs], renderer)


def get_logger() -> FilteringBoundLogger:
    """The logger of Coffer: ``get_logger().info("event_name", field=value)``."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def render_metrics() -> bytes:
    """All metrics of all processes of this service in the text format of Prometheus."""
    return _of_all_processes(generate_latest)


def collect_metrics() -> list[Metric]:
    """The same, to be looked at."""
    return _of_all_processes(lambda registry: list(registry.collect()))


def _of_all_processes(read: Callable[[CollectorRegistry], T]) -> T:
    if METRICS_FOLDER_VARIABLE not in os.environ:
        return read(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for _ in range(METRICS_TRIES - 1):
        try:
            return read(registry)
        except (struct.error, ValueError):
            # A process is just making a file of its own, or writing a new name into it.
            time.sleep(METRICS_PAUSE_SECONDS)
    return read(registry)


def forget_process(pid: int) -> None:
    """Take the gauges of a process that has ended out of the metrics. Counters stay."""
    if METRICS_FOLDER_VARIABLE in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _configure_libraries(stream: TextIO, processors: list[Processor], renderer: Processor) -> None:
    """Give the lines of the standard library's logging the same form."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Psycopg warns of every pipeline that an error ended; the error itself is raised and judged.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # Pika tells of each failed connect in six lines; relay and worker say it in one.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)


def _add_logger_name(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event


def _mask_ours(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask secrets in a line of ours, where the event is a name."""
    return _mask(event, _PLAIN_FIELDS)


def _mask_theirs(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask secrets in a line of a library, where the event is its whole message."""
    return _mask(event, frozenset())


def _mask(event: MutableMapping[str, Any], plain: frozenset[str]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name in _SECRET_FIELDS:
            event[name] = MASK
        elif type(value) is str and name not in plain and may_hold_secret(value):
            event[name] = mask_secrets(value)
    return event


def _json_bytes(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=repr)


def _json_text(event: Any, **_: Any) -> str:
    return _json_bytes(event).decode()
