"""Notifications as they are recorded, over Server-Sent Events.

A stream is one request that does not end: it keeps a thread, so a process has a bounded number of
them. One thread per process, the poller, asks the store every POLL_SECONDS for the newest position,
as long as there are streams, and wakes them; each then reads what it lacks itself. A database that
is away is waited for: a stream stays at its place.

An event's ``id`` is a cursor of ``GET /notifications?order=oldest``, so that a client can go on at
its place in either way, after a lost connection or without a stream.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

import orjson
from prometheus_client import Counter, Gauge

from RestAPI.caller import no_check
from RestAPI.problems import KeyRefused
from WalletCore.cursor import encode_cursor
from WalletCore.domain.errors import CofferError, TooManyStreams, Unavailable
from WalletCore.inbox import (
    FOLLOWING,
    Notification,
    NotificationFilter,
    Notifications,
    notification_document,
)
from WalletCore.telemetry import get_logger

EVENT_STREAM_TYPE: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"

POLL_SECONDS: Final = 0.1
FAILURE_PAUSE_SECONDS: Final = 1.0
"""Between two tries while the store cannot be read."""

HEARTBEAT_SECONDS: Final = 15.0
"""After so long without anything else a comment is sent: proxies keep the connection, and a client
that has gone is noticed."""

PROBE_SECONDS: Final = 0.5
"""Between the two halves of a heartbeat. The first one to a client that has gone is still accepted
by the kernel, and brings the answer that makes the second one fail."""

MAX_STREAM_SECONDS: Final = 3600.0
"""Then a stream ends, and its client comes back by itself: one that vanished without a word, whose
connection never fails, keeps a place no longer than this."""

RETRY_MILLISECONDS: Final = 2000
"""How long a client waits before it connects again."""

PAGE_NOTIFICATIONS: Final = 100
"""How many are read and sent at once."""

STOP_WAIT_SECONDS: Final = 1.0
"""How long the end of all streams is waited for; they read no more then."""

OPEN_STREAMS = Gauge(
    "coffer_streams", "Streams of notifications that are open.", multiprocess_mode="livesum"
)
STREAMED = Counter("coffer_stream_notifications", "Notifications sent over streams.")


class Streams:
    """All streams of this process, at most ``limit``. Make it after fork: it owns a thread."""

    def __init__(self, notifications: Notifications, limit: int) -> None:
        self._notifications = notifications
        self._limit = limit
        self._changed = threading.Condition()
        self._open = 0
        self._top = 0
        self._ended = False
        self._poller: threading.Thread | None = None

    def open(
        self,
        wanted: NotificationFilter,
        position: int | None,
        check: Callable[[], None] = no_check,
    ) -> Stream:
        """A stream of what is recorded above ``position``; None: from now on. It ends before it
        tells anything that ``check`` refuses with KeyRefused.

        Raises TooManyStreams, Unavailable.
        """
        with self._changed:
            if self._ended:
                raise Unavailable("The service is stopping. Connect again, another one may answer.")
            if self._open >= self._limit:
                raise TooManyStreams(
                    f"All {self._limit} streams of this process are taken. Poll "
                    "GET /api/v1/notifications?order=oldest, where an event's id is the cursor, "
                    "or try again."
                )
            self._open += 1
            OPEN_STREAMS.inc()
        try:
            start = self._notifications.top() if position is None else position
            with self._changed:
                if self._poller is None:
                    self._poller = threading.Thread(
                        target=self._poll, name="stream-poller", daemon=True
                    )
                    self._poller.start()
        except BaseException:
            self.leave()
            raise
        return Stream(self, wanted, start, check)

    def leave(self) -> None:
        """Give a place back. For a stream, once."""
        with self._changed:
            self._open -= 1
            OPEN_STREAMS.dec()
            self._changed.notify_all()

    def end(self) -> None:
        """Let every stream come to its end, and open none any more. Returns at once."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """The same, and wait up to STOP_WAIT_SECONDS until none of them reads the store."""
        self.end()
        with self._changed:
            poller = self._poller
            self._changed.wait_for(lambda: not self._open, STOP_WAIT_SECONDS)
        if poller is not None:
            poller.join(STOP_WAIT_SECONDS)

    def wait(self, position: int, until: float) -> int | None:
        """Wait for something above ``position``, up to the monotonic time ``until``.

        Gives the newest position that is known; None: the streams end.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended or self._top > position, max(0.0, until - time.monotonic())
            )
            return None if self._ended else self._top

    def read(
        self, wanted: NotificationFilter, position: int, top: int
    ) -> tuple[list[Notification], int]:
        """The next notifications above ``position``, and the position up to which that is all.

        ``top`` was the newest position before. When the store cannot be read, it waits a moment
        and gives nothing.
        """
        try:
            found = self._notifications.after(wanted, position, PAGE_NOTIFICATIONS)
        except CofferError:
            with self._changed:
                self._changed.wait_for(lambda: self._ended, FAILURE_PAUSE_SECONDS)
            return [], position
        if len(found) == PAGE_NOTIFICATIONS:
            return found, found[-1].position
        # Whatever is not among them up to there is not wanted.
        return found, max(top, found[-1].position if found else 0)

    def _poll(self) -> None:
        """Ask for the newest position until there are no streams."""
        failed = False
        while True:
            with self._changed:
                if self._ended or not self._open:
                    self._poller = None
                    return
            try:
                top = self._notifications.top()
            except Exception as error:  # noqa: BLE001 - whatever it is, the streams go on later
                if not failed:
                    get_logger().warning("streams_wait", error=type(error).__name__)
                failed = True
            else:
                failed = False
                with self._changed:
                    if top > self._top:
                        self._top = top
                        self._changed.notify_all()
            with self._changed:
                pause = FAILURE_PAUSE_SECONDS if failed else POLL_SECONDS
                self._changed.wait_for(lambda: self._ended or not self._open, pause)


class Stream:
    """One stream, as the body of an answer. Whoever serves it closes it, however it ends."""

    def __init__(
        self,
        streams: Streams,
        wanted: NotificationFilter,
        position: int,
        check: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._check = check
        self._wanted = wanted
        self._position = position
        self._left = False
        self._lock = threading.Lock()
        self._parts = self._all_parts()

    def __iter__(self) -> Self:
        """Its parts."""
        return self

    def __next__(self) -> bytes:
        """The next part; waits for it."""
        if self._left:
            raise StopIteration
        return next(self._parts)

    def close(self) -> None:
        """Give the place back. May be called more than once, and from any thread."""
        with self._lock:
            left, self._left = self._left, True
        if not left:
            self._streams.leave()

    def _is_refused(self) -> bool:
        """Whether its key works no more. While that cannot be known, nothing can be read either."""
        try:
            self._check()
        except KeyRefused:
            return True
        except CofferError:
            pass
        return False

    def _all_parts(self) -> Iterator[bytes]:
        # An id alone is kept by the client, so that nothing is lost if it must come back before
        # the first notification.
        cursor = encode_cursor(FOLLOWING, self._position)
        yield f"retry: {RETRY_MILLISECONDS}\nid: {cursor}\n\n".encode()
        now = time.monotonic()
        end_at, beat_at = now + MAX_STREAM_SECONDS, now + HEARTBEAT_SECONDS
        while now < end_at:
            top = self._streams.wait(self._position, min(end_at, beat_at))
            if top is None or self._is_refused():
                return
            if top > self._position:
                found, self._position = self._streams.read(self._wanted, self._position, top)
                if found:
                    STREAMED.inc(len(found))
                    yield b"".join(map(_event, found))
                    beat_at = time.monotonic() + HEARTBEAT_SECONDS
            now = time.monotonic()
            if now >= beat_at:
                yield b":"
                self._streams.wait(self._position, now + PROBE_SECONDS)
                yield b"\n\n"
                now = time.monotonic()
                beat_at = now + HEARTBEAT_SECONDS


def _event(notification: Notification) -> bytes:
    """A notification as an event; its JSON has no line break."""
    cursor = encode_cursor(FOLLOWING, notification.position).encode()
    data = orjson.dumps(notification_document(notification))
    return b"id: " + cursor + b"\nevent: notification\ndata: " + data + b"\n\n"
