"""Holds every event that the suite makes against the schema of its type in asyncapi.yaml.

In the processes of the tests the two functions that make events are watched (``WATCH``, which
conftest.py installs); what servers of their own wrote is read out of their databases before those
are dropped (``check_database``).
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import orjson
import psycopg
import yaml

from WalletCore.domain import working_set
from WalletCore.domain.events import EventType
from WalletCore.domain.model import Document, Event
from WalletCore.postgres.connect import connection_info

DOCUMENT_PATH: Final = Path(__file__).resolve().parents[1] / "RestAPI" / "static" / "asyncapi.yaml"
MAX_CHECKED_EVENTS: Final = 5000
"""The most events of one database that are looked at, so that no load test waits long."""
MAX_KEPT_FAILURES: Final = 20
LOCK_TIMEOUT_SECONDS: Final = 5

HAS_LOG: Final = "SELECT to_regclass('coffer.events') IS NOT NULL"
NEWEST_EVENTS: Final = (
    "SELECT type, body FROM coffer.events WHERE type = ANY(%s) ORDER BY position DESC LIMIT %s"
)
"""By type, because tests write rows of types of their own, which are no events."""


class ContractBroken(AssertionError):
    """An event is not what asyncapi.yaml says of its type."""


@functools.cache
def document() -> Document:
    """The AsyncAPI document."""
    loaded: Document = yaml.safe_load(DOCUMENT_PATH.read_bytes())
    return loaded


@functools.cache
def validators() -> dict[str, jsonschema_rs.Draft7Validator]:
    """A validator for each type of events, compiled once."""
    found = document()
    return {
        message["name"]: jsonschema_rs.Draft7Validator(
            {**message["payload"], "components": found["components"]}, validate_formats=True
        )
        for message in found["components"]["messages"].values()
    }


def faults_of(event: Any) -> list[str]:
    """What is wrong with ``event``, the body of one; nothing if it keeps the contract."""
    type_ = event.get("type") if isinstance(event, dict) else None
    validator = validators().get(type_) if isinstance(type_, str) else None
    if validator is None:
        return [f"{type_!r} is no type of the document"]
    if validator.is_valid(event):
        return []
    return [
        f"{type_} at /{'/'.join(map(str, error.instance_path))}: {error.message}"
        for error in validator.iter_errors(event)
    ]


class Watch:
    """Looks at events as they are made, in whatever thread, and keeps what is wrong with them."""

    def __init__(self) -> None:
        # Adding to it is safe among threads.
        self._failures: deque[str] = deque(maxlen=MAX_KEPT_FAILURES)

    def over(self, make: Callable[..., Event]) -> Callable[..., Event]:
        """``make`` with a look at each event that it makes."""

        @functools.wraps(make)
        def watched(*arguments: Any, **options: Any) -> Event:
            event = make(*arguments, **options)
            self._failures.extend(faults_of(event.body))
            return event

        return watched

    def install(self) -> None:
        """Watch the ledger of this process, from now on."""
        for name in ("wallet_event", "message_event"):
            setattr(working_set, name, self.over(getattr(working_set, name)))

    def raise_failures(self) -> None:
        """Raise ContractBroken for what was wrong since the last time."""
        failures = list(self._failures)
        self._failures.clear()
        if failures:
            raise ContractBroken(
                "\n".join(["Events that asyncapi.yaml does not allow:", *failures])
            )


WATCH: Final = Watch()
"""That of this process."""


def check_database(url: str) -> None:
    """Look at the newest events in the log of the database at ``url``, if it has one.

    Raises ContractBroken.
    """
    with psycopg.connect(connection_info(url), autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        if connection.execute(HAS_LOG).fetchone() != (True,):
            return
        types = [kind.value for kind in EventType]
        rows = connection.execute(NEWEST_EVENTS, (types, MAX_CHECKED_EVENTS))
        failures = [fault for type_, body in rows for fault in _faults_of_row(type_, body)]
    if failures:
        raise ContractBroken(
            "\n".join(["In the log of a database:", *failures[:MAX_KEPT_FAILURES]])
        )


def _faults_of_row(type_: str, body: str) -> list[str]:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return [f"{type_}: not JSON: {error}"]
    faults = faults_of(event)
    return faults or ([] if event["type"] == type_ else [f"{event['type']} is logged as {type_}"])
