"""The log tells more, and less, by signals: every program as a real process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from RestAPI.tests.running import Server, running
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.waiting import eventually

WORKERS = 2
SETTLE_SECONDS = 0.3
"""Longer than a signal takes from a main process to its workers."""


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def pids_below(pid: int) -> set[int]:
    """The processes that a process has started, directly."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(number) for found in lists for number in found.read_text().split()}


def told(server: Server, level: str) -> int:
    """How often a process has said that it is at this level now."""
    found = lines(server.log.read_text())
    return sum(line["event"] == "log_level" and line["level_now"] == level for line in found)


def answers(server: Server) -> bool:
    """Whether anybody listens."""
    try:
        return bool(server.ask("GET", "/ping")[0] == 200)
    except OSError:
        return False


def pings(server: Server) -> int:
    """How many of some pings, which are logged at DEBUG, are in the log; all processes get some."""
    mark = len(server.log.read_text())
    for _ in range(20):
        server.ask("GET", "/ping")
    time.sleep(SETTLE_SECONDS)
    found = lines(server.log.read_text()[mark:])
    return sum(line["event"] == "request" and line["rule"] == "/ping" for line in found)


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_a_server_passes_the_signals_on_to_its_workers(
    web_server: str, tmp_path: Path, fresh_postgres_url: str
) -> None:
    settings = {
        "COFFER_WEB_SERVER": web_server,
        "COFFER_WORKERS": str(WORKERS),
        "COFFER_DATABASE_URL": fresh_postgres_url,
        "COFFER_LOG_FORMAT": "json",
    }
    with running(tmp_path, **settings) as server:
        before = pids_below(server.process.pid)
        assert pings(server) == 0
        server.process.send_signal(signal.SIGUSR1)
        eventually(lambda: told(server, "DEBUG") == 1 + WORKERS, "all processes at DEBUG")
        assert pings(server) == 20
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: told(server, "INFO") == 1 + WORKERS, "all processes at INFO again")
        assert pings(server) == 0
        # Nobody died of it, and nobody was replaced.
        assert pids_below(server.process.pid) == before
        assert server.stop() == 0


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_a_worker_that_comes_later_is_at_the_level_of_the_others(
    web_server: str, tmp_path: Path, fresh_postgres_url: str
) -> None:
    settings = {
        "COFFER_WEB_SERVER": web_server,
        "COFFER_WORKERS": str(WORKERS),
        "COFFER_DATABASE_URL": fresh_postgres_url,
        "COFFER_LOG_FORMAT": "json",
    }
    with running(tmp_path, **settings) as server:
        server.process.send_signal(signal.SIGUSR1)
        eventually(lambda: told(server, "DEBUG") == 1 + WORKERS, "all processes at DEBUG")
        workers = [
            line["pid"]
            for line in lines(server.log.read_text())
            if line["event"] == "log_level" and line["pid"] != server.process.pid
        ]
        assert len(set(workers)) == WORKERS
        os.kill(workers[0], signal.SIGKILL)
        eventually(
            lambda: (
                workers[0] not in pids_below(server.process.pid)
                and len(pids_below(server.process.pid)) >= WORKERS
            ),
            "another worker",
        )
        # A worker of granian listens for itself: the other one may not have come so far yet.
        eventually(lambda: answers(server), "an answer")
        eventually(lambda: pings(server) == 20, "all requests in the log")


@pytest.mark.parametrize(("program", "name"), [(RELAY, "relay"), (WORKER, "worker")])
def test_relay_and_worker(
    program: tuple[str, ...], name: str, fresh_postgres_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    running_program = RunningProgram(
        program, fresh_postgres_url, amqp_url=amqp_url, amqp_prefix=amqp_prefix
    )

    def debugs() -> Callable[[], bool]:
        """Whether it has written a line at DEBUG from now on; health checks make some."""
        mark = len(running_program.log())

        def look() -> bool:
            running_program.health()
            found = lines(running_program.log()[mark:])
            return any(line["level"] == "debug" and line["event"] == "asked" for line in found)

        return look

    running_program.start()
    try:
        assert running_program.process is not None
        look = debugs()
        assert not any(look() for _ in range(5))
        running_program.process.send_signal(signal.SIGUSR1)
        eventually(debugs(), "lines at DEBUG")
        running_program.process.send_signal(signal.SIGUSR2)
        eventually(
            lambda: any(
                line["event"] == "log_level" and line["level_now"] == "INFO"
                for line in running_program.events()
            ),
            "INFO again",
        )
        look = debugs()
        assert not any(look() for _ in range(5))
        assert running_program.is_ready() or running_program.health() is not None
        assert running_program.stop() == 0
    finally:
        running_program.close()
