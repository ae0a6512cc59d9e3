"""As much load as the service takes: wrk with a Lua script."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.programs import CannotMeasure, run_tool
from benchmarks.stand import Server
from benchmarks.tools import find_wrk, only_path

SCRIPT: Final = Path(__file__).with_name("load.lua")
CONNECTIONS_PER_CORE: Final = 64
"""As many as a server process has request threads by default."""
CORES_PER_THREAD: Final = 4
"""One thread of wrk sends more than four cores of Python answer."""
WARM_UP_LOAD_SECONDS: Final = 2.0
"""The load that a server has had before anything counts."""
ANSWER_TIMEOUT_SECONDS: Final = 30
EXTRA_SECONDS: Final = 60.0
MAX_SEED: Final = 2**31

_RESULT: Final = "RESULT "
_MICROSECONDS: Final = 1e6
_MICROSECONDS_PER_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: good answers, how many a second, other answers, and latencies."""

    good: int
    per_second: float
    failed: int
    details: dict[str, float]


class Saturation:
    """Loads servers; wrk runs in ``folder``. Raises CannotMeasure."""

    def __init__(self, folder: Path) -> None:
        self._wrk = find_wrk()
        self._folder = folder

    def run(self, server: Server, ids: Path, seconds: float, *, keyed: bool = False) -> Load:
        """Deposits to random wallets of the file ``ids``."""
        threads = max(1, (os.cpu_count() or 1) // CORES_PER_THREAD)
        command = [
            *(self._wrk, f"--threads={threads}", f"--connections={connection_count()}"),
            *(f"--duration={max(1, round(seconds))}s", f"--timeout={ANSWER_TIMEOUT_SECONDS}s"),
            *(f"--script={SCRIPT}", f"http://127.0.0.1:{server.port}", "--"),
            *(str(ids), str(secrets.randbelow(MAX_SEED)), "keyed" if keyed else "plain"),
        ]
        limit = seconds + EXTRA_SECONDS
        said = run_tool(command, only_path(), timeout_seconds=limit, folder=self._folder)
        result = next((line for line in said.splitlines() if line.startswith(_RESULT)), None)
        if result is None:
            raise CannotMeasure(f"wrk did not say how many requests it made:\n{said}")
        return _load(json.loads(result.removeprefix(_RESULT)))


def connection_count() -> int:
    """Requests that are under way at once."""
    return CONNECTIONS_PER_CORE * (os.cpu_count() or 1)


def _load(result: dict[str, Any]) -> Load:
    good = result["requests"] - result["not_2xx"]
    return Load(
        good,
        good / result["duration_us"] * _MICROSECONDS,
        result["not_2xx"] + result["broken"],
        {
            "p50_ms": result["p50_us"] / _MICROSECONDS_PER_MS,
            "p99_ms": result["p99_us"] / _MICROSECONDS_PER_MS,
        },
    )
