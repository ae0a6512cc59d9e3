"""Log lines and metrics: their form, what must not be in them, and that they are cheap."""

from __future__ import annotations

import io
import json
import logging
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from WalletCore import log_level, telemetry
from WalletCore.metrics_folder import METRICS_FOLDER_VARIABLE
from WalletCore.settings import Settings

SECRET = "hunter2-and-more"
ROOT = Path(__file__).resolve().parents[2]


class Stream(io.TextIOWrapper):
    """A stream that remembers, as a terminal or not."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Configuring is for a whole process; a test puts everything back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    config, told = structlog.get_config(), log_level.level()
    yield
    log_level.set_level(told)
    structlog.configure(**config)
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def configured(**settings: Any) -> Stream:
    stream = Stream(terminal=settings.pop("terminal", False))
    telemetry.configure_logging(Settings(**settings), stream)
    return stream


def test_json_elsewhere() -> None:
    stream = configured()
    telemetry.get_logger().info("made", wallet="ü", count=3)
    (line,) = stream.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "made", "level": "info", "wallet": "ü", "count": 3}


def test_readable_on_a_terminal() -> None:
    stream = configured(terminal=True)
    telemetry.get_logger().info("made", count=3)
    assert "made" in stream.text()
    assert "{" not in stream.text()


@pytest.mark.parametrize(("form", "is_json"), [("json", True), ("console", False)])
def test_the_form_can_be_set(form: str, is_json: bool) -> None:
    stream = configured(log_format=form, terminal=is_json)
    telemetry.get_logger().info("made")
    assert stream.text().startswith("{") is is_json


def test_the_level_can_be_set() -> None:
    stream = configured(log_level="WARNING")
    telemetry.get_logger().info("made")
    telemetry.get_logger().warning("lost")
    assert [line["event"] for line in stream.lines()] == ["lost"]


def test_libraries_write_the_same_lines() -> None:
    stream = configured()
    logging.getLogger("library.x").warning("it %s", "broke")
    (line,) = stream.lines()
    assert (line["event"], line["logger"], line["level"]) == ("it broke", "library.x", "warning")


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://coffer:{SECRET}@db:5432/coffer",
        f"cannot connect to redis://:{SECRET}@cache:6379/0 now",
        f"host=db user=coffer password={SECRET} dbname=coffer",
        f"password = '{SECRET} x' more",
        f'{{"password": "{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f"token={SECRET}&page=2",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert SECRET not in telemetry.mask_secrets(text)
    stream = configured()
    telemetry.get_logger().error("failed", error=text)
    try:
        raise ValueError(text)
    except ValueError:
        telemetry.get_logger().exception("failed")
    logging.getLogger("library").error(text)
    assert SECRET not in stream.text()
    assert "ValueError" in stream.text()


@pytest.mark.parametrize("before", ["", "/api/v1/keys/", "/api/v1/keys", "\\x01", "_"])
@pytest.mark.parametrize("field", ["path", "request_id", "error"])
def test_the_secret_of_an_api_key_is_masked_wherever_it_stands(before: str, field: str) -> None:
    stream = configured()
    telemetry.get_logger().info("request", **{field: f"{before}ck_{'0' * 16}_{'A' * 43}"})
    assert stream.lines()[0][field] == f"{before}ck_{'0' * 16}_***"


def test_masking_takes_no_longer_than_the_text_is() -> None:
    """A long word took seconds once; a worker with a message of that size lost its heartbeat."""
    text = "x" * 1_000_000 + ":"
    started = time.process_time()
    assert telemetry.mask_secrets(text) == text
    assert time.process_time() - started < 2


def test_fields_that_are_secret_by_name_are_masked() -> None:
    stream = configured()
    telemetry.get_logger().info("asked", password=SECRET, idempotency_key=SECRET, token=SECRET)
    assert SECRET not in stream.text()
    assert stream.lines()[0]["password"] == telemetry.MASK


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8000/docs", "a:b@c", "2030-01-31T12:00:00Z", "secretary: none"]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert telemetry.mask_secrets(text) == text


def test_a_line_of_a_request_is_cheap() -> None:
    """At 3,000 requests a second a line of 100 us would be a third of a core; it takes 10 to 15."""
    configured()
    log = telemetry.get_logger().bind()
    lines = 500
    best = min(_seconds_per_line(log, lines) for _ in range(20))
    assert best < 100e-6


def _seconds_per_line(log: Any, lines: int) -> float:
    started = time.perf_counter()
    for _ in range(lines):
        log.info(
            "request",
            method="POST",
            rule="/api/v1/wallets/<wallet_id>/operation",
            path="/api/v1/wallets/01890a5d-ac96-774b-bcce-b302099a8057/operation",
            status=200,
            duration_ms=1.25,
            request_id="01890a5d-ac96-774b-bcce-b302099a8057",
        )
    return (time.perf_counter() - started) / lines


COUNTING = """
import os, sys
from WalletCore import log_level, telemetry

def count(depth):
    telemetry.REFUSALS.labels("overloaded").inc()
    telemetry.QUEUE_DEPTH.set(depth)
    telemetry.PARTITION_DAYS_AHEAD.set(30)

for depth in (3, 4):
    child = os.fork()
    if child == 0:
        count(depth)
        os._exit(0)
    os.waitpid(child, 0)
last = child
print(telemetry.render_metrics().decode())
telemetry.forget_process(last)
print("----")
print(telemetry.render_metrics().decode())
"""


def test_processes_count_together_and_leave_no_gauges_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNTING],
        cwd=ROOT,
        env={**os.environ, METRICS_FOLDER_VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    before, after = done.stdout.split("----")
    assert 'coffer_refusals_total{code="overloaded"} 2.0' in before
    assert "coffer_queue_commands 7.0" in before
    # A process that never looked has nothing to say about the partitions.
    assert "coffer_partition_days_ahead 30.0" in before
    assert "coffer_queue_commands 3.0" in after
    assert 'coffer_refusals_total{code="overloaded"} 2.0' in after


def test_a_file_that_is_just_being_made_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its first byte a reader found nothing in it, and answered 500."""
    monkeypatch.setenv(METRICS_FOLDER_VARIABLE, str(tmp_path))
    file = tmp_path / "counter_1.db"
    file.touch()
    with pytest.raises(struct.error):
        telemetry.render_metrics()
    timer = threading.Timer(telemetry.METRICS_PAUSE_SECONDS, file.write_bytes, (bytes(4096),))
    timer.start()
    assert telemetry.render_metrics() == b""
    timer.join()
