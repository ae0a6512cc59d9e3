"""A client that keeps a pace: ``python -m benchmarks.paced KIND PORT FILE RATE SECONDS``. JSON.

Requests are due at fixed moments, whether or not earlier ones have been answered (an open loop),
and a request's latency counts from the moment it was due: a server that stalls cannot hide it by
being asked less (https://www.scylladb.com/2021/04/22/on-coordinated-omission/). How late the client
itself was is reported beside it. One thread, plain sockets, keep-alive; it needs a few percent of a
core, and is a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import selectors
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measurements import percentile
from benchmarks.paced_requests import KINDS, MakeRequest
from benchmarks.programs import run_tool
from benchmarks.tools import only_path

PACED_RATE: Final = 1000
"""Operations a second at which latency is measured."""
CONNECTIONS: Final = 64
"""Requests that can be under way at once. One that finds no connection free waits, and its latency
counts on."""
WARM_UP_SECONDS: Final = 1.0
"""What is sent at the same pace before anything counts."""
GRACE_SECONDS: Final = 10.0
"""How long the last answers are waited for."""
EXTRA_SECONDS: Final = 60.0
"""How much longer than all that the program may take."""
RECEIVE_BYTES: Final = 65536
MILLISECONDS: Final = 1000.0

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(slots=True)
class Lane:
    """A connection, and the request that is under way on it, if one is."""

    socket: socket.socket
    due: float | None = None
    received: bytes = b""


@dataclass(slots=True)
class Record:
    """What happened: seconds of each counted request, and how late the client noticed each.

    ``counted_from``, ``counted_until``: when the counted requests were due, seconds since 1970.
    """

    latencies: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    sent: int = 0
    failed: int = 0
    without_connection: int = 0
    counted_from: float = 0.0
    counted_until: float = 0.0

    def document(self) -> dict[str, float]:
        """It as JSON, in milliseconds."""
        document: dict[str, float] = {
            "sent": self.sent,
            "answered": len(self.latencies),
            "failed": self.failed,
            "without_connection": self.without_connection,
            "counted_from": self.counted_from,
            "counted_until": self.counted_until,
        }
        for prefix, seconds in (("", self.latencies), ("client_late_", self.lateness)):
            ordered = sorted(seconds) or [0.0]
            for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
                value = percentile(ordered, percent) * MILLISECONDS
                document[f"{prefix}{name}_ms"] = round(value, 3)
        return document


@dataclass(frozen=True, slots=True)
class Paced:
    """What the client told: failed requests, the counted seconds, and everything else."""

    failed: int
    counted_from: float
    counted_until: float
    details: dict[str, float]


def keep_pace(
    port: int, file: Path, seconds: float, *, kind: str = "deposits", rate: int = PACED_RATE
) -> Paced:
    """Let the client keep ``rate``, as a process of its own. ``kind``: one of KINDS, which makes
    requests out of ``file``. Raises CannotMeasure.
    """
    folder = Path(__file__).resolve().parents[1]
    command = [
        *(sys.executable, "-m", "benchmarks.paced", kind, str(port)),
        *(str(file), str(rate), str(seconds)),
    ]
    limit = seconds + WARM_UP_SECONDS + GRACE_SECONDS + EXTRA_SECONDS
    told = json.loads(run_tool(command, only_path(), timeout_seconds=limit, folder=folder))
    return Paced(int(told.pop("failed")), told.pop("counted_from"), told.pop("counted_until"), told)


class PacedClient:
    """Sends what ``make`` makes at ``rate`` a second."""

    def __init__(self, port: int, make: MakeRequest, rate: int) -> None:
        self._address = ("127.0.0.1", port)
        self._make = make
        self._rate = rate
        self._selector = selectors.SelectSelector()  # select(2) keeps microseconds, epoll does not
        self._idle: deque[Lane] = deque()
        self._under_way = 0
        self._counted_from = 0.0
        self._record = Record()
        for _ in range(CONNECTIONS):
            self._connect()

    def run(self, seconds: float) -> Record:
        """Keep the pace for WARM_UP_SECONDS and then ``seconds``, of which the record tells."""
        total = int((WARM_UP_SECONDS + seconds) * self._rate)
        started = time.perf_counter()
        self._counted_from = started + WARM_UP_SECONDS
        self._record.counted_from = time.time() + WARM_UP_SECONDS
        self._record.counted_until = self._record.counted_from + seconds
        end = started + total / self._rate + GRACE_SECONDS
        waiting: deque[float] = deque()
        planned = 0
        while (now := time.perf_counter()) < end:
            while planned < total and (due := started + planned / self._rate) <= now:
                waiting.append(due)
                planned += 1
                if due >= self._counted_from:
                    self._record.lateness.append(now - due)
                    self._record.without_connection += len(waiting) > len(self._idle)
            while waiting and self._idle:
                self._send(waiting.popleft())
            if planned == total and not waiting and not self._under_way:
                break
            next_due = started + planned / self._rate if planned < total else end
            for key, _ in self._selector.select(max(0.0, next_due - time.perf_counter())):
                self._receive(key.data)
        self._record.failed += len(waiting) + self._under_way
        return self._record

    def _connect(self) -> None:
        lane = Lane(socket.create_connection(self._address))
        lane.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(lane.socket, selectors.EVENT_READ, lane)
        self._idle.append(lane)

    def _send(self, due: float) -> None:
        lane = self._idle.popleft()
        lane.due = due
        self._under_way += 1
        self._record.sent += 1
        try:
            lane.socket.sendall(self._make())
        except OSError:
            self._lose(lane)

    def _receive(self, lane: Lane) -> None:
        try:
            part = lane.socket.recv(RECEIVE_BYTES)
        except OSError:
            part = b""
        if not part:
            self._lose(lane)
            return
        lane.received += part
        if _is_whole(lane.received):
            self._finish(lane, good=lane.received.split(b" ", 2)[1].startswith(b"2"))
            lane.received = b""
            self._idle.append(lane)

    def _finish(self, lane: Lane, *, good: bool) -> None:
        due = lane.due
        lane.due = None
        if due is None:
            return
        self._under_way -= 1
        if due >= self._counted_from:
            self._record.latencies.append(time.perf_counter() - due)
            self._record.failed += not good

    def _lose(self, lane: Lane) -> None:
        """The server closed it. An idle connection it may close; a request under way failed."""
        self._selector.unregister(lane.socket)
        lane.socket.close()
        if lane.due is None:
            self._idle.remove(lane)
        self._finish(lane, good=False)
        self._connect()


def _is_whole(received: bytes) -> bool:
    """Whether an answer has come to its end, by its Content-Length."""
    head, found, body = received.partition(_HEAD_END)
    if not found:
        return False
    _, found, rest = head.lower().partition(_LENGTH)
    return bool(found) and len(body) >= int(rest.partition(b"\r\n")[0])


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paced", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path, help="what the requests are made of, line by line")
    parser.add_argument("rate", type=int, help="requests a second")
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    client = PacedClient(
        arguments.port, KINDS[arguments.kind](arguments.file.read_text()), arguments.rate
    )
    # A collection of garbage would make the client late; it makes none in circles.
    gc.disable()
    print(json.dumps(client.run(arguments.seconds).document()))


if __name__ == "__main__":
    main()
