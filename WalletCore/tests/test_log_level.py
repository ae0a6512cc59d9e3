"""The level of the log while the process runs: its steps, and that what is off costs nothing."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from WalletCore import log_level, telemetry
from WalletCore.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COLD_LINES = 2000


class Lines(io.TextIOWrapper):
    """A stream that remembers the log's lines."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)

    def all(self) -> list[Any]:
        assert isinstance(self.buffer, io.BytesIO)
        return [json.loads(line) for line in self.buffer.getvalue().splitlines()]

    def names(self) -> list[str]:
        return [line["event"] for line in self.all()]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Configured at INFO; everything is put back afterwards."""
    monkeypatch.setenv(log_level.LEVEL_VARIABLE, "INFO")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    config, told = structlog.get_config(), log_level.level()
    stream = Lines()
    telemetry.configure_logging(Settings(log_format="json", log_level="INFO"), stream)
    yield stream
    log_level.set_level(told)
    structlog.configure(**config)
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def test_loggers_that_were_made_before_follow(stream: Lines) -> None:
    early = telemetry.get_logger()
    bound = early.bind(role="relay")
    for log in (early, bound):
        log.debug("hidden")
        log.info("shown")
    log_level.set_level("DEBUG")
    for log in (early, bound, bound.bind(more=1)):
        log.debug("shown now")
    log_level.set_level("ERROR")
    for log in (early, bound, telemetry.get_logger()):
        log.warning("hidden again")
        log.error("told")
    assert stream.names() == ["shown"] * 2 + ["shown now"] * 3 + ["told"] * 3


def test_steps_stay_at_either_end(stream: Lines) -> None:
    assert [log_level.step(more=True) for _ in range(2)] == ["DEBUG", "DEBUG"]
    less = [log_level.step(more=False) for _ in range(4)]
    assert less == ["INFO", "WARNING", "ERROR", "ERROR"]
    more = [log_level.step(more=True) for _ in range(4)]
    assert more == ["WARNING", "INFO", "DEBUG", "DEBUG"]


def test_every_step_is_told_and_later_processes_begin_there(stream: Lines) -> None:
    for more in (True, False, False, False, True):
        log_level.step(more=more)
    told = [(line["level_before"], line["level_now"]) for line in stream.all()]
    levels = ["INFO", "DEBUG", "INFO", "WARNING", "ERROR", "WARNING"]
    assert told == list(itertools.pairwise(levels))
    assert os.environ[log_level.LEVEL_VARIABLE] == "WARNING"
    assert Settings().log_level == "WARNING"
    assert all(line["pid"] == os.getpid() for line in stream.all())


def test_libraries_never_tell_more_than_what_is_wrong(stream: Lines) -> None:
    log_level.set_level("DEBUG")
    logging.getLogger("somebody.else").info("chatter")
    logging.getLogger("somebody.else").warning("wrong")
    log_level.set_level("ERROR")
    logging.getLogger("somebody.else").warning("wrong, but not shown")
    assert stream.names() == ["wrong"]
    for server in log_level.SERVER_LOGGERS:
        assert logging.getLogger(server).level == logging.ERROR


def test_a_line_that_is_off_costs_next_to_nothing(stream: Lines) -> None:
    """It takes 0.1 us; making and dropping a line would take 5."""
    log = telemetry.get_logger().bind(role="relay")
    best = min(_seconds_per_line(log) for _ in range(20))
    assert best < 1.5e-6
    assert stream.names() == []


def _seconds_per_line(log: Any) -> float:
    started = time.perf_counter()
    for _ in range(COLD_LINES):
        log.debug("asked", path="/metrics", status=200)
    return (time.perf_counter() - started) / COLD_LINES


PENDING = """
import os, signal, sys, time
from WalletCore import log_level
log_level.block_signals()
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGUSR2)
time.sleep(0.05)
before = log_level.level()
log_level.watch_signals()
deadline = time.monotonic() + 10
while time.monotonic() < deadline and log_level.LEVEL_VARIABLE not in os.environ:
    time.sleep(0.01)
print(before, os.environ[log_level.LEVEL_VARIABLE] in log_level.LEVELS)
"""


def test_a_signal_that_comes_before_anybody_listens_waits_and_ends_nothing() -> None:
    environment = {**os.environ}
    environment.pop(log_level.LEVEL_VARIABLE, None)
    done = subprocess.run(
        [sys.executable, "-c", PENDING],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "INFO True"
