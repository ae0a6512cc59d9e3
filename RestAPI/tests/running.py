"""A server started for real, as a user starts it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testkit.log_secrets import check_log

ROOT = Path(__file__).resolve().parents[2]
JWT_SECRET = "a-secret-of-the-tests-that-is-long-enough"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
ANSWER_SECONDS = 20.0


@dataclass
class Server:
    """A server that answers. ``log`` is where its standard error goes."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    seconds_to_first_answer: float

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def connect(self) -> socket.socket:
        """A connection for a request that no client library would send."""
        return socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS)

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send these very bytes; the answer's status, headers (lower case) and body."""
        with self.connect() as connection:
            with suppress(BrokenPipeError, ConnectionResetError):
                # Otherwise the server has answered before the end.
                connection.sendall(data)
            return read_answer(connection)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """An ordinary request; the answer's status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            given = dict(headers or {})
            if body is not None:
                given["Content-Type"] = "application/json"
            connection.request(method, path, json.dumps(body) if body is not None else None, given)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The answer that comes on ``connection``."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, headers, response.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**settings: str) -> dict[str, str]:
    """The environment of a command of ours: nothing of the caller's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COFFER_") and name != "PROMETHEUS_MULTIPROC_DIR"
    }
    return {**kept, **settings}


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Server]:
    """``python -m RestAPI server`` with these settings, until the end of the block."""
    port = free_port()
    log = folder / f"server-{port}.log"
    given = {
        "COFFER_PORT": str(port),
        "COFFER_DATA_DIR": str(folder),
        "COFFER_DATABASE_URL": "memory://",
        "COFFER_JWT_SECRET": JWT_SECRET,
        **settings,
    }
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "RestAPI", "server"],
            cwd=ROOT,
            env=environment(**given),
            stderr=stream,
            start_new_session=True,
        )
    try:
        _wait_until_it_answers(process, port, log)
        yield Server(process, port, log, time.monotonic() - started)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        check_log(log.read_text(errors="replace"))


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.01)
        finally:
            connection.close()
    raise AssertionError(f"the server does not answer:\n{log.read_text()}")
