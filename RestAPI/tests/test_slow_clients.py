"""Clients that hold a connection and send little or nothing must not keep others out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson
import pytest

from RestAPI.gunicorn_parts import BODY_TIMEOUT_SECONDS, WORKER_STOP_SECONDS
from RestAPI.tests.running import Server, read_answer, running

THREADS: Final = 4
PAUSE_SECONDS: Final = 0.2
SLACK_SECONDS: Final = 5.0
"""What a busy machine may add."""

SUPERVISOR_LIMIT_SECONDS: Final = 10.0
LOOP_SECONDS: Final = 1.5
"""How often gunicorn's loop looks at the clock, and something for a busy machine."""

HEAD: Final = b"POST /api/v1/wallets HTTP/1.1\r\nHost: localhost\r\n"
STALLED: Final = HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
CHUNKED: Final = (
    HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n{"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, COFFER_THREADS=str(THREADS)) as started:
        yield started


def test_silent_connections_take_no_thread(server: Server) -> None:
    with ExitStack() as held:
        for _ in range(4 * THREADS):
            held.enter_context(server.connect())
        started = time.monotonic()
        assert server.ask("GET", "/ping")[0] == 200
        assert time.monotonic() - started < 2


@pytest.mark.timeout(90)
def test_unfinished_requests_end_in_time_however_they_trickle(server: Server) -> None:
    # Two with a body that stops, one in chunks, and one that does not finish its headers.
    beginnings = (STALLED, STALLED, CHUNKED, HEAD + b"X-Slow: ")
    with ExitStack() as held:
        connections = [held.enter_context(server.connect()) for _ in beginnings]
        started = time.monotonic()
        for connection, beginning in zip(connections, beginnings, strict=True):
            connection.sendall(beginning)
        trickled = 0
        while time.monotonic() - started < BODY_TIMEOUT_SECONDS - 1:
            time.sleep(PAUSE_SECONDS)
            for connection in connections[1:]:
                connection.sendall(b" ")
            trickled += 1
        assert trickled > 10
        for connection in connections:
            status, headers, body = read_answer(connection)
            assert (status, orjson.loads(body)["code"]) == (408, "request_timeout")
            assert headers["content-type"] == "application/problem+json"
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        seconds = time.monotonic() - started
        assert BODY_TIMEOUT_SECONDS - 1 < seconds < BODY_TIMEOUT_SECONDS + SLACK_SECONDS
    assert server.ask("POST", "/api/v1/wallets")[0] == 201
    assert "Traceback" not in server.log.read_text()


def test_a_request_in_pieces_and_the_next_ones_on_its_connection(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(HEAD)
            time.sleep(PAUSE_SECONDS)
            connection.sendall(b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{")
            time.sleep(PAUSE_SECONDS)
            connection.sendall(b"}")
            assert read_answer(connection)[0] == 201


@pytest.mark.timeout(60)
def test_a_stop_leaves_the_store_time_to_close(server: Server) -> None:
    with server.connect() as connection, server.connect():
        connection.sendall(STALLED)
        time.sleep(PAUSE_SECONDS)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < SUPERVISOR_LIMIT_SECONDS
    lines = [orjson.loads(line) for line in server.log.read_text().splitlines()]
    told, left = (
        next(datetime.fromisoformat(line["timestamp"]) for line in lines if text in line["event"])
        # The worker's line comes when it has stopped waiting, before it closes the store.
        for text in ("Handling signal: term", "Worker exiting")
    )
    waited_seconds = (left - told).total_seconds()
    assert WORKER_STOP_SECONDS - 1 < waited_seconds < WORKER_STOP_SECONDS + LOOP_SECONDS
