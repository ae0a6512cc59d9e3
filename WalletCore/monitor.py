"""A small HTTP server for processes that serve nothing else: their health and their metrics.

``/health/live``, ``/health/ready`` (503 names what is missing) and ``/metrics``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import orjson

from WalletCore.telemetry import METRICS_CONTENT_TYPE, READY, get_logger, render_metrics

REQUEST_TIMEOUT_SECONDS: Final = 5
JSON_TYPE: Final = "application/json"

_PATHS: Final = ("/health/live", "/health/ready", "/metrics")

Missing = Callable[[], list[str]]


class Monitor:
    """Answers on ``host`` and ``port`` (0: a free one) from now until it is closed.

    ``missing`` gives the names of what is not there and must be. Raises OSError if the port is
    taken.
    """

    def __init__(self, host: str, port: int, missing: Missing) -> None:
        handler = type("Handler", (_Handler,), {"missing": staticmethod(missing)})
        kind = _ServerV6 if ":" in host else _Server
        self._server = kind((host, port), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="monitor", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A thread that hangs in a request must not hold up the end.
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _ServerV6(_Server):
    address_family = 10  # AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_SECONDS
    server_version = "Coffer"
    sys_version = ""
    missing: Missing

    def do_GET(self) -> None:
        """Answer one of the three paths."""
        if self.path == "/health/live":
            self._answer(HTTPStatus.OK, {"status": "alive"})
        elif self.path == "/health/ready":
            missing = self.missing()
            status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
            document = {"status": "not ready" if missing else "ready", "missing": missing}
            self._answer(status, document)
        elif self.path == "/metrics":
            READY.set(0 if self.missing() else 1)
            self._send(HTTPStatus.OK, METRICS_CONTENT_TYPE, render_metrics())
        else:
            detail = "There are /health/live, /health/ready and /metrics."
            self._answer(HTTPStatus.NOT_FOUND, {"detail": detail})

    def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        self._send(status, JSON_TYPE, orjson.dumps(document))

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        get_logger().debug(
            "asked", path=self.path if self.path in _PATHS else "(other)", status=int(status)
        )
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base
        """Say nothing of its own: machines ask all the time."""
