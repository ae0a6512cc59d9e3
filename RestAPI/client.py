"""A client of a running service, for the commands that watch it or use it."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from WalletCore.command_line import CannotRun

DEFAULT_URL: Final = "http://127.0.0.1:8000"
KEY_VARIABLE: Final = "COFFER_KEY"
ANSWER_SECONDS: Final = 10.0
"""How long an answer is waited for."""
MAX_ANSWER_BYTES: Final = 1_048_576
MAX_KEY_FILE_BYTES: Final = 4096


class Away(Exception):
    """Nobody answers there. The text says where."""


class Client:
    """Asks the service at ``url`` with ``key``, over one connection. Not for several threads.

    Raises CannotRun if that is no URL of a service.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._place = place_of(url)
        self.url = url.rstrip("/")
        self._key = key
        self._connection: http.client.HTTPConnection | None = None

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer; None where that has none. Raises Away."""
        given = dict(headers or {})
        if self._key is not None:
            given.setdefault("Authorization", f"Bearer {self._key}")
        data = None
        if body is not None:
            given["Content-Type"] = "application/json"
            data = json.dumps(body)
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.request(method, self._place.path.rstrip("/") + path, data, given)
            answer = self._connection.getresponse()
            text = answer.read(MAX_ANSWER_BYTES)
            if answer.read(1):
                raise Away(f"{self.url} answers with more than {MAX_ANSWER_BYTES} bytes.")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Away(f"Nobody answers at {self.url} ({type(error).__name__}).") from None
        except Away:
            self.close()
            raise
        try:
            return answer.status, json.loads(text or b"null")
        except ValueError:
            raise Away(f"What answers at {self.url} is no Coffer: it sends no JSON.") from None

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        kind = (
            http.client.HTTPSConnection
            if self._place.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(self._place.netloc, timeout=ANSWER_SECONDS)


def key_of(file: Path | None) -> str | None:
    """The key in ``file``, or else in the environment; None: there is none. Raises CannotRun.

    It is never an argument: those are in the list of processes.
    """
    if file is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key:
            return None
    else:
        try:
            with file.open(encoding="ascii") as opened:
                key = opened.read(MAX_KEY_FILE_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CannotRun(f"{file} cannot be read as a key: {type(error).__name__}.") from None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise CannotRun(f"{file or KEY_VARIABLE} holds no key: one line, ck_...")
    return key


def place_of(url: str) -> SplitResult:
    """Where the service at ``url`` is. Raises CannotRun."""
    refusal = CannotRun(f"--url must be such as {DEFAULT_URL}; a key does not belong into it.")
    try:
        place = urlsplit(url)
        known = place.scheme in ("http", "https") and place.hostname and place.port != 0
    except ValueError:
        raise refusal from None
    if not known or place.username or place.password or place.query or place.fragment:
        raise refusal
    return place
