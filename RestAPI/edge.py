"""What happens around every request: its id, its answer's headers, its log line, its metrics.

A WSGI middleware instead of hooks of Flask, because it also covers what fails outside of Flask, and
costs a third.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from uuid_utils import uuid7

from RestAPI.authentication import KEY_ID
from RestAPI.entrance import ADDRESS, REQUEST_ID, WALLET_ID, Entrance
from RestAPI.problems import as_error
from RestAPI.shop_errors import error_response
from WalletCore.telemetry import REQUEST_SECONDS, REQUESTS, get_logger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

RULE: Final = "coffer.rule"
"""The URL rule of the request, in its environment; the application puts it there."""

NO_RULE: Final = "(none)"
"""What stands for the rule of a path that leads nowhere: metrics must not have a label per path."""

MAX_REQUEST_ID_CHARACTERS: Final = 128
MAX_LOGGED_PATH_CHARACTERS: Final = 256

PING_PATH: Final = "/ping"
_PONG: Final = b'{"ping":"pong"}'
_JSON_HEADER: Final = ("Content-Type", "application/json")

STATUS_PATH: Final = "/api/v1/status"

QUIET_RULES: Final = frozenset(
    {PING_PATH, "/health/live", "/health/ready", "/metrics", STATUS_PATH}
)
"""What machines ask all the time: counted, and logged at the level DEBUG."""

LOG_FAILURES: Final = (OSError, ValueError)
"""What writing to a closed or broken standard error raises, or to a full disk."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD: Final = "(other)"

_EVERYWHERE: Final = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
]
_API_HEADERS: Final = [
    *_EVERYWHERE,
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
]
_PAGE_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_PAGE_HEADERS: Final = [
    *_EVERYWHERE,
    ("Content-Security-Policy", _PAGE_POLICY),
]
_PAGES: Final = ("/docs", "/shop", "/static/")

_SAFE_ID = re.compile(rf"[A-Za-z0-9._:/+=@-]{{1,{MAX_REQUEST_ID_CHARACTERS}}}", re.ASCII)


class Edge:
    """Wraps ``app``, the outermost thing that a server calls."""

    def __init__(self, app: WSGIApplication, entrance: Entrance) -> None:
        self._app = app
        self._entrance = entrance
        self._log = get_logger().bind()
        # Looking a child up by its labels costs as much as counting; there are some hundred pairs.
        self._counters: dict[tuple[str, str, str], Any] = {}
        self._timers: dict[tuple[str, str], Any] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        started = perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _SAFE_ID.fullmatch(given) else str(uuid7())
        environ[REQUEST_ID] = request_id
        path: str = environ["PATH_INFO"]
        page = path == "/" or path.startswith(_PAGES)
        answered = "500"

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal answered
            answered = status[:3]
            headers += _PAGE_HEADERS if page else _API_HEADERS
            headers += self._entrance.headers(environ, path)
            headers.append(("X-Request-Id", request_id))
            return (
                start_response(status, headers, exc_info)
                if exc_info
                else start_response(status, headers)
            )

        try:
            if path == PING_PATH and environ["REQUEST_METHOD"] == "GET":
                environ[RULE] = PING_PATH
                start("200 OK", [_JSON_HEADER, ("Content-Length", str(len(_PONG)))])
                return [_PONG]
            allowed = self._entrance.preflight(environ, path)
            if allowed is not None:
                start("204 No Content", allowed)
                return []
            refusal = self._entrance.enter(environ, path)
            if refusal is not None:
                return error_response(refusal, path)(environ, start)
            return self._app(environ, start)
        except Exception as error:  # noqa: BLE001 - the last one who can still answer
            # Where not even the log works, the answer still does.
            with suppress(*LOG_FAILURES):
                self._log.exception("request_failed", request_id=request_id)
            return error_response(as_error(error), path)(environ, start)
        finally:
            # What was done keeps its answer, though nobody reads the log or the disk is full.
            with suppress(*LOG_FAILURES):
                self._record(environ, path, answered, perf_counter() - started, request_id)

    def _record(
        self,
        environ: WSGIEnvironment,
        path: str,
        status: str,
        seconds: float,
        request_id: str,
    ) -> None:
        """Count the request and write its line: no query, no header, nothing that may be secret."""
        rule: str = environ.get(RULE, NO_RULE)
        method = logged_method(environ)
        self._counter(method, rule, status).inc()
        self._timer(method, rule).observe(seconds)
        wallet_id = environ.get(WALLET_ID)
        write = self._log.debug if rule in QUIET_RULES else self._log.info
        write(
            "request",
            method=method,
            rule=rule,
            path=printable_path(path),
            status=int(status),
            duration_ms=round(seconds * 1000, 2),
            request_id=request_id,
            key_id=environ.get(KEY_ID),
            wallet_id=None if wallet_id is None else str(wallet_id),
            address=environ.get(ADDRESS),
        )

    def _counter(self, method: str, rule: str, status: str) -> Any:
        labels = (method, rule, status)
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = REQUESTS.labels(*labels)
        return counter

    def _timer(self, method: str, rule: str) -> Any:
        labels = (method, rule)
        timer = self._timers.get(labels)
        if timer is None:
            timer = self._timers[labels] = REQUEST_SECONDS.labels(*labels)
        return timer


def logged_method(environ: WSGIEnvironment, other: str = _OTHER_METHOD) -> str:
    """The request's method; ``other`` for one that is none of HTTP's."""
    method: str = environ["REQUEST_METHOD"]
    return method if method in _METHODS else other


def printable_path(path: str) -> str:
    """``path`` without characters that would break a line or control a terminal."""
    short = path[:MAX_LOGGED_PATH_CHARACTERS]
    return short if short.isprintable() else ascii(short)[1:-1]
