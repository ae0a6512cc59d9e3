"""The parts of gunicorn that Coffer has its own form of: worker, reader and logger.

They hold on to some of gunicorn's inner names, which the lock file keeps as they are.
"""

from __future__ import annotations

import signal
import socket
import struct
import time
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

import orjson
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import _DEFER, ThreadWorker
from uuid_utils import uuid7

from RestAPI.patience import renewed_by
from RestAPI.problems import (
    PROBLEM_TYPE,
    BadRequest,
    HeadersTooLarge,
    InternalError,
    RequestTimeout,
    UriTooLong,
)
from RestAPI.routes.notifications import STREAM_PATH
from WalletCore.domain.errors import CofferError
from WalletCore.log_level import level, set_level

BODY_TIMEOUT_SECONDS: Final = 10.0
"""For a request to arrive, from its first byte to the end of its body."""

SEND_TIMEOUT_SECONDS: Final = 5
"""How long a client may take nothing of its answer; then it loses the connection."""

WORKER_STOP_SECONDS: Final = 7
"""How long a worker that is told to stop waits for its requests. The master kills it after its
graceful_timeout; the difference is for closing the store."""

_SEND_TIMEOUT: Final = struct.pack("ll", SEND_TIMEOUT_SECONDS, 0)
"""A timeval, see socket(7)."""

_OF_GUNICORN: Final[tuple[tuple[type[Exception], type[CofferError]], ...]] = (
    (errors.LimitRequestLine, UriTooLong),
    (errors.LimitRequestHeaders, HeadersTooLarge),
    (errors.ParseException, BadRequest),
    (RequestTimeout, RequestTimeout),
)

_REASONS: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


class TimedReader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a connection, and each request on it in BODY_TIMEOUT_SECONDS or not at all.

    Otherwise as many connections as there are threads, each with an unfinished body, would stop a
    process for as long as they like.
    """

    _deadline = 0.0

    def begin(self) -> None:
        """A request begins; its time runs from now."""
        self._deadline = time.monotonic() + BODY_TIMEOUT_SECONDS

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes of the client, as those of SocketUnreader. Raises RequestTimeout."""
        size = min(max(size_hint or 0, self.mxchunk), self.max_body_chunk)
        try:
            # Nearly always they are there, and then the clock need not be asked.
            data: bytes = self.sock.recv(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            data = self._wait(size)
        return data

    def _wait(self, size: int) -> bytes:
        # With no time left the socket does not block, which is the other error below.
        self.sock.settimeout(max(0.0, self._deadline - time.monotonic()))
        try:
            data: bytes = self.sock.recv(size)
        except (TimeoutError, BlockingIOError):
            raise RequestTimeout(
                f"The request did not arrive within {BODY_TIMEOUT_SECONDS:.0f} s. Send it again."
            ) from None
        else:
            return data
        finally:
            self.sock.settimeout(None)


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Threads that no slow client can keep, and a problem for a request that never becomes one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.signals_before: SimpleQueue[int] = SimpleQueue()
        """What came since the fork: until ``init_signals`` the handlers are the master's, which put
        signals into a queue of its own; ``post_fork`` puts that one here."""

    def init_signals(self) -> None:
        """Take over the signals, and the stop that came before that."""
        super().init_signals()
        with suppress(Empty):
            while True:
                if self.signals_before.get_nowait() == signal.SIGTERM:
                    self.alive = False

    def init_process(self) -> None:
        """Serve, and stop in time to close the store."""
        # The configuration is this process's own copy; the master keeps its longer limit.
        self.cfg.set("graceful_timeout", WORKER_STOP_SECONDS)
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Do a request; until its first byte is there, the connection waits without a thread."""
        if not conn.initialized:
            if not conn.wait_for_data(0):
                return _DEFER
            conn.init()
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
            conn.parser.unreader = TimedReader(conn.sock)
        conn.parser.unreader.begin()
        renewed_by(conn.parser.unreader.begin)
        kept = super().handle(conn)
        if not kept:
            # This waits up to 2 s for the client's last bytes; on gunicorn's own way it would keep
            # the loop that accepts connections waiting, once for each slow client.
            with suppress(OSError):
                conn.close(graceful=True)
        return kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; a stream is the last answer on its connection."""
        if req.path == STREAM_PATH:
            # Whoever ends a stream wants the connection's end, not a next request on it.
            req.force_close()
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            # What a send says that has waited for SEND_TIMEOUT_SECONDS.
            raise StopIteration("The client takes nothing of its answer.") from None

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Count a connection that ``handle`` has closed; with any other go on as gunicorn does."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
        else:
            self.nr_conns -= 1

    def _cap_keepalive(self, deadline: float) -> None:
        """Let no connection that has sent nothing yet hold up a stop, and no stream either.

        This is what every kind of stop begins with.
        """
        super()._cap_keepalive(deadline)
        self.wsgi.end_streams()
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle_error(
        self,
        req: Any,  # noqa: ARG002 - gunicorn's signature
        client: socket.socket,
        addr: Any,  # noqa: ARG002
        exc: BaseException,
    ) -> None:
        """Answer what gunicorn could not read, or what failed outside of the application."""
        request_id = str(uuid7())
        kind = next((ours for theirs, ours in _OF_GUNICORN if isinstance(exc, theirs)), None)
        if kind is None:
            self.log.error("Error handling request %s", request_id, exc_info=exc)
            kind = InternalError
        else:
            # The message of gunicorn would repeat parts of headers, which may be secret.
            self.log.info("Refused request %s: %s", request_id, type(exc).__name__)
        body = orjson.dumps(kind(f"{kind.title}.").problem())
        head = (
            f"HTTP/1.1 {kind.status} {_REASONS[kind.status]}\r\n"
            "Connection: close\r\n"
            f"Content-Type: {PROBLEM_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            f"X-Request-Id: {request_id}\r\n"
            "\r\n"
        )
        try:
            write_nonblock(client, head.encode("ascii") + body)
        except OSError:
            self.log.debug("The client of a refused request has gone.")


class CofferLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's lines, written as all other lines are."""

    def setup(self, cfg: Any) -> None:
        """Leave the writing to the handler of ``configure_logging``, and the level to our own."""
        super().setup(cfg)
        set_level(level())
        self.error_log.handlers.clear()
        self.error_log.propagate = True
