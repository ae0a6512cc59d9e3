"""Relays and workers as real processes, to be killed, stopped and started again."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, Final

import orjson

from testkit.log_secrets import check_log
from testkit.running import ROOT, environment_of, free_port
from testkit.services import new_folder
from testkit.waiting import eventually

START_LIMIT_SECONDS: Final = 40.0
STOP_LIMIT_SECONDS: Final = 10.0
"""A relay or a worker that is told to stop has done so by then."""
ASK_TIMEOUT_SECONDS: Final = 2.0
LOG_TAIL_CHARACTERS: Final = 4000

RELAY: Final = ("RestAPI", "relay")
WORKER: Final = ("NotificationWorker",)


class RunningProgram:
    """``python -m`` ``arguments``: a relay or a worker, on the database at ``database_url``.

    ``settings`` are further ones by their names without COFFER_.
    """

    def __init__(self, arguments: tuple[str, ...], database_url: str, **settings: object) -> None:
        self._arguments = arguments
        self._folder = new_folder(arguments[-1].lower())
        self.port = free_port()
        self._environment = environment_of(
            {
                "database_url": database_url,
                "relay_port": self.port,
                "worker_port": self.port,
                "data_dir": self._folder,
                "log_format": "json",
                **settings,
            }
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it answers. Raises RuntimeError with the end of its log."""
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            eventually(self._answers_or_dead, " ".join(self._arguments), START_LIMIT_SECONDS)
            if self.process.poll() is not None:
                raise RuntimeError(f"it ended: {self.log()[-LOG_TAIL_CHARACTERS:]}")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._signal(signal.SIGKILL)
        self._wait()

    def pause(self) -> None:
        """Stop it with SIGSTOP: it is there and does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int:
        """Stop it with SIGTERM; its exit code. Raises subprocess.TimeoutExpired."""
        self._signal(signal.SIGTERM)
        return self._wait()

    def close(self) -> None:
        """End it, gently or not. Raises SecretLogged."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self._signal(signal.SIGCONT)
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
        check_log(self.log())

    def health(self) -> list[str] | None:
        """What it names as missing; None if it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ASK_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            document: dict[str, Any] = orjson.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            return None
        else:
            return list(document["missing"])
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether nothing is missing."""
        return self.health() == []

    def metric(self, name: str) -> float:
        """The value of one of its metrics without labels."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ASK_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])

    def log(self) -> str:
        """All that it has logged, over all its starts."""
        return (self._folder / "log").read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """Its log lines."""
        lines = (line for line in self.log().splitlines() if line.startswith("{"))
        return [orjson.loads(line) for line in lines]

    def _signal(self, number: int) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, number)

    def _wait(self) -> int:
        if self.process is None:
            return 0
        code = self.process.wait(STOP_LIMIT_SECONDS)
        self.process = None
        return code

    def _answers_or_dead(self) -> bool:
        return (self.process is not None and self.process.poll() is not None) or (
            self.health() is not None
        )
