"""A TCP proxy between a program and its database or Redis, which fails on demand.

It can reset, refuse, black-hole or delay, and it can cut a connection at the very moment at which a
pattern of bytes, such as the answer to COMMIT, is about to pass. So a test chooses the moment of a
failure instead of hoping for it.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

READ_BYTES: Final = 65_536
CONNECT_TIMEOUT_SECONDS: Final = 5.0
MAX_PATTERN_BYTES: Final = 64
BACKLOG_CONNECTIONS: Final = 128

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST, as a crashed machine's successor would."""

Direction: TypeAlias = Literal["to_server", "to_client"]
Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


@dataclass(slots=True)
class Cut:
    """What will cut a connection: ``occurrences`` of ``pattern`` still to come in ``direction``.

    The bytes up to the last occurrence pass, the pattern itself does not; ``instead`` goes out in
    its place, and then the connection ends gently. With ``refuse`` nothing can connect afterwards.
    """

    pattern: bytes
    direction: Direction
    occurrences: int
    refuse: bool
    instead: bytes


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to ``target``.

    Used as a context manager, it is closed at the end.
    """

    def __init__(self, target: Address) -> None:
        self.target = target
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._cut: Cut | None = None
        self._cut_done = threading.Event()
        self._delay_seconds = 0.0
        self._open = threading.Event()
        self._open.set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.restore()

    def restore(self) -> None:
        """Listen again, pass on again, cut nothing."""
        with self._lock:
            self._cut = None
            self._delay_seconds = 0.0
            self._open.set()
            if self._listener is None:
                self._listener = socket.create_server(
                    ("127.0.0.1", self.port), backlog=BACKLOG_CONNECTIONS
                )
                self.port = self._listener.getsockname()[1]
                threading.Thread(
                    target=self._accept, args=(self._listener,), name="proxy", daemon=True
                ).start()

    def reset(self) -> None:
        """Reset every connection that passes through now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()

    def refuse(self) -> None:
        """Reset every connection and refuse new ones, until ``restore``."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            # shutdown wakes the thread in accept; close alone would leave it there, listening.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def black_hole(self) -> None:
        """Take everything and pass nothing on, until ``restore``: no answer and no error either."""
        self._open.clear()

    def delay(self, seconds: float) -> None:
        """Hold every piece of data back for ``seconds``."""
        self._delay_seconds = seconds

    def cut_when(
        self,
        pattern: bytes,
        direction: Direction,
        *,
        occurrences: int = 1,
        refuse: bool = False,
        instead: bytes = b"",
    ) -> None:
        """Cut the connection on which the last of ``occurrences`` of ``pattern`` would pass.

        See Cut. Without ``instead`` the connection is reset.
        """
        with self._lock:
            self._cut_done.clear()
            self._cut = Cut(pattern, direction, occurrences, refuse, instead)

    def wait_for_cut(self, timeout_seconds: float = 10.0) -> None:
        """Return once ``cut_when`` has cut. Raises TimeoutError."""
        if not self._cut_done.wait(timeout_seconds):
            raise TimeoutError("the pattern to cut at never passed")

    def close(self) -> None:
        """Reset everything and stop listening."""
        self._open.set()
        self.refuse()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = _connect(self.target)
                except OSError:
                    _reset(client)
                    continue
                pair = _Pair(self, client, server)
                with self._lock:
                    # It may have come in the moment before nothing was to come any more.
                    refused = self._listener is not listener
                    if not refused:
                        self._pairs.add(pair)
                if refused:
                    pair.reset()
                else:
                    pair.start()

    def forget(self, pair: _Pair) -> None:
        """``pair`` is closed."""
        with self._lock:
            self._pairs.discard(pair)

    def passes(self, tail: bytes, data: bytes, direction: Direction) -> tuple[int, Cut | None]:
        """How many bytes of ``data`` may pass, and the cut if it has come.

        Waits for as long as the proxy delays or black-holes. ``tail`` ends what went before, for a
        pattern that arrives in two pieces.
        """
        if self._delay_seconds:
            time.sleep(self._delay_seconds)
        self._open.wait()
        with self._lock:
            cut = self._cut
            if cut is None or cut.direction != direction:
                return len(data), None
            carried = min(len(tail), len(cut.pattern) - 1)
            seen = tail[len(tail) - carried :] + data
            place = -1
            while (place := seen.find(cut.pattern, place + 1)) >= 0:
                cut.occurrences -= 1
                if cut.occurrences == 0:
                    self._cut = None
                    return max(0, place - carried), cut
        return len(data), None

    def after_cut(self) -> None:
        """The connection is cut; tell whoever waits for that."""
        self._cut_done.set()

    def __enter__(self) -> Self:
        """Nothing more to do: it listens already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class _Pair:
    """One connection and its other half, each direction with a thread of its own."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._ended = threading.Semaphore(0)

    def start(self) -> None:
        ways: tuple[tuple[socket.socket, socket.socket, Direction], ...] = (
            (self._client, self._server, "to_server"),
            (self._server, self._client, "to_client"),
        )
        for way in ways:
            threading.Thread(target=self._pass_on, args=way, name="proxy", daemon=True).start()

    def reset(self) -> None:
        for end in (self._client, self._server):
            _reset(end)
        self._proxy.forget(self)

    def _end_by(self, cut: Cut, sink: socket.socket) -> None:
        if cut.refuse:
            # First of all, so that the client finds the way closed when it comes again.
            self._proxy.refuse()
        if cut.instead:
            sink.sendall(cut.instead)
            sink.shutdown(socket.SHUT_WR)
        else:
            self.reset()
        self._proxy.after_cut()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        tail = b""
        try:
            while data := source.recv(READ_BYTES):
                allowed, cut = self._proxy.passes(tail, data, direction)
                sink.sendall(data[:allowed])
                if cut is not None:
                    self._end_by(cut, sink)
                    return
                tail = (tail + data)[-MAX_PATTERN_BYTES:]
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.reset()
            return
        # Whichever direction ends as the second one finds the mark of the first.
        if self._ended.acquire(blocking=False):
            self._client.close()
            self._server.close()
            self._proxy.forget(self)
        else:
            self._ended.release()


def server_address(database_url: str) -> Address:
    """Where the server of ``database_url`` listens."""
    parts = conninfo_to_dict(database_url)
    host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def proxied_url(database_url: str, proxy: Proxy) -> str:
    """``database_url`` by way of ``proxy``. Without TLS, so that the proxy sees what passes."""
    parts = conninfo_to_dict(database_url)
    user = quote(str(parts.get("user") or "postgres"), safe="")
    password = quote(str(parts.get("password") or ""), safe="")
    return (
        f"postgresql://{user}:{password}@127.0.0.1:{proxy.port}/{parts['dbname']}"
        "?sslmode=disable&gssencmode=disable"
    )


def _connect(target: Address) -> socket.socket:
    if isinstance(target, tuple):
        connection = socket.create_connection(target, CONNECT_TIMEOUT_SECONDS)
    else:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(target)
        except OSError:
            connection.close()
            raise
    connection.settimeout(None)
    return connection


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    # The thread that reads here must wake up, which closing alone does not do.
    with suppress(OSError):
        end.shutdown(socket.SHUT_RD)
    end.close()
