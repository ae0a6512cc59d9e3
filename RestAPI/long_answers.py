"""Answers that are made while they are sent, because they may be longer than memory.

Such an answer keeps its request's thread for as long as its client takes, so a process has a
bounded number of them, and none lasts for ever. Its status is sent before its end is known: what
fails after that cuts the answer. Gunicorn then breaks the connection off, granian ends it like any
other; so an answer must tell by its last part that it is whole. The access log has its line when it
begins, as of every answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Final, Self

from prometheus_client import Gauge

from RestAPI.edge import LOG_FAILURES
from WalletCore.domain.errors import Overloaded, Unavailable
from WalletCore.telemetry import get_logger

THREADS_PER_LONG_ANSWER: Final = 4
"""One in so many request threads may be busy with a long answer; the others stay for the rest."""

MAX_LONG_ANSWER_SECONDS: Final = 3600.0
"""Then one is cut off: a client that takes a byte now and then keeps a thread no longer."""


LONG_ANSWERS = Gauge(
    "coffer_long_answers", "Long answers that are being sent.", multiprocess_mode="livesum"
)


class LongAnswers:
    """The places of this process: a quarter of its ``threads``, at least one."""

    def __init__(self, threads: int) -> None:
        self._limit = max(1, threads // THREADS_PER_LONG_ANSWER)
        self._places = threading.BoundedSemaphore(self._limit)

    def open(self, parts: Iterator[bytes], request_id: str) -> LongAnswer:
        """``parts`` as the body of an answer. The first one is made now, so that what fails at once
        is answered as an error. ``request_id`` is for the log.

        Raises Overloaded, and what making the first part raises.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded(
                f"All {self._limit} places of this process for long answers are taken. Retry, or "
                "ask for less at once."
            )
        LONG_ANSWERS.inc()
        try:
            first = next(parts)
        except BaseException:
            self.leave()
            raise
        return LongAnswer(self, chain((first,), parts), request_id)

    def leave(self) -> None:
        """Give a place back. For an answer, once."""
        LONG_ANSWERS.dec()
        self._places.release()


class LongAnswer:
    """One answer's body. Whoever serves it closes it, however it ends."""

    def __init__(self, places: LongAnswers, parts: Iterator[bytes], request_id: str) -> None:
        self._places = places
        self._parts = parts
        self._request_id = request_id
        self._end_at = time.monotonic() + MAX_LONG_ANSWER_SECONDS
        self._left = False
        self._lock = threading.Lock()

    def __iter__(self) -> Self:
        """Its parts."""
        return self

    def __next__(self) -> bytes:
        """The next part. What it raises cuts the answer; the log says why."""
        if self._left:
            raise StopIteration
        try:
            if time.monotonic() > self._end_at:
                raise Unavailable("The answer takes too long to send.")
            return next(self._parts)
        except StopIteration:
            raise
        except Exception as error:
            with suppress(*LOG_FAILURES):
                get_logger().warning(
                    "answer_cut", error=type(error).__name__, request_id=self._request_id
                )
            raise

    def close(self) -> None:
        """Give the place back. May be called more than once, and from any thread."""
        with self._lock:
            left, self._left = self._left, True
        if not left:
            self._places.leave()
