"""A real server of Coffer: its processes on a free port, to be killed and started again."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson

from testkit.log_secrets import check_log
from testkit.services import RUN_FOLDER_VARIABLE, new_folder
from testkit.waiting import eventually

ROOT: Final = Path(__file__).resolve().parents[1]
START_LIMIT_SECONDS: Final = 40.0
STOP_LIMIT_SECONDS: Final = 30.0
ASK_TIMEOUT_SECONDS: Final = 5.0
LOG_TAIL_CHARACTERS: Final = 4000
JWT_SECRET: Final = "a-secret-of-the-tests-that-is-long-enough"  # noqa: S105 - of no use elsewhere

_ESTABLISHED: Final = "01"
"""The state in /proc/net/tcp, see proc_net_tcp in the kernel's documentation."""


class RunningService:
    """``python -m RestAPI server`` on the database at ``database_url``, which must be migrated.

    ``settings`` are further ones by their names without COFFER_, such as ``redis_url``. The port
    stays the same over restarts. Used as a context manager it is started, and stopped at the end.
    """

    def __init__(self, database_url: str, *, workers: int = 2, **settings: object) -> None:
        self._folder = new_folder("server")
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        named = {
            "database_url": database_url,
            "port": self.port,
            "workers": workers,
            "data_dir": self._folder,
            "log_format": "json",
            "jwt_secret": JWT_SECRET,
            **settings,
        }
        self._environment = environment_of(named)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with the end of its log."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "RestAPI", "server"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._ready_or_dead, "the server", START_LIMIT_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended: {self.log()[-LOG_TAIL_CHARACTERS:]}")

    def processes(self) -> list[int]:
        """The ids of the worker processes."""
        if self._process is None:
            return []
        master = self._process.pid
        children = Path(f"/proc/{master}/task/{master}/children")
        with suppress(FileNotFoundError):
            return [int(pid) for pid in children.read_text().split()]
        return []

    def kill_worker(self) -> None:
        """Kill one worker process with SIGKILL; the server puts another in its place."""
        os.kill(self.processes()[0], signal.SIGKILL)

    def kill(self) -> None:
        """Kill every process with SIGKILL, and wait until nothing listens any more."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_LIMIT_SECONDS)
        self._process = None
        eventually(self._refuses, "the end of the killed server")

    def terminate(self) -> None:
        """Send SIGTERM to the server, and return at once."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, limit_seconds: float = STOP_LIMIT_SECONDS) -> int:
        """Wait for the server's end; its exit code. Raises subprocess.TimeoutExpired."""
        if self._process is None:
            return 0
        code = self._process.wait(limit_seconds)
        self._process = None
        return code

    def stop(self) -> None:
        """Stop it gently, or not so gently."""
        self.terminate()
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def missing(self) -> list[str]:
        """What /health/ready names as missing; ``server`` if it does not answer at all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ASK_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/health/ready")
            names: list[str] = orjson.loads(connection.getresponse().read())["missing"]
        except (OSError, http.client.HTTPException):
            return ["server"]
        finally:
            connection.close()
        return names

    def has_read_everything(self) -> bool:
        """Whether no byte that clients have sent is still waiting for the server to read it."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, _, state, queues, *_ = line.split()
            mine = int(local.partition(":")[2], 16) == self.port
            if mine and state == _ESTABLISHED and int(queues.partition(":")[2], 16):
                return False
        return True

    def log(self) -> str:
        """All that it has logged, over all its starts."""
        return (self._folder / "server.log").read_text(errors="replace")

    def _ready_or_dead(self) -> bool:
        return (self._process is not None and self._process.poll() is not None) or (
            not self.missing()
        )

    def _refuses(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), ASK_TIMEOUT_SECONDS).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and show the log if the test failed; there is never a secret in it."""
        self.stop()
        if error is not None:
            sys.stderr.write(self.log()[-LOG_TAIL_CHARACTERS:])
        else:
            check_log(self.log())


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """The environment of a program of ours with these settings, by their names without COFFER_."""
    return {
        # The run's folder stays, by which testkit.janitor finds what a run left behind.
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith("COFFER_") or name == RUN_FOLDER_VARIABLE
        },
        **{f"COFFER_{name.upper()}": str(value) for name, value in settings.items()},
    }


def free_port() -> int:
    """A port that nobody listens on. Somebody may take it before we do, which is very unlikely."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
