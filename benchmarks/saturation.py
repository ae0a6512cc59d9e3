"""Load made by wrk with a Lua script: as much as the service takes, or one read after the other."""

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

LOAD: Final = Path(__file__).with_name("load.lua")
BULK: Final = Path(__file__).with_name("bulk.lua")
READ: Final = Path(__file__).with_name("read.lua")
CONNECTIONS_PER_CORE: Final = 64
"""As many as a server process has request threads by default."""
CORES_PER_THREAD: Final = 4
"""One thread of wrk sends more than four cores of Python answer."""
WARM_UP_LOAD_SECONDS: Final = 2.0
"""The load that a server has had before anything counts."""
BULK_CONNECTIONS: Final = 2
"""Clients that send bulk requests: while one is answered, the next one is there."""
BULK_DEPOSITS: Final = 1000
"""Deposits in one of these."""
BULK_BODIES: Final = 32
"""Different requests, made before the load begins."""
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
        return self._load(server, seconds, str(ids), _seed(), "keyed" if keyed else "plain")

    def transfer(self, server: Server, sources: Path, targets: Path, seconds: float) -> Load:
        """Transfers from random wallets of one file to random others of another one."""
        return self._load(server, seconds, str(targets), _seed(), "transfers", str(sources))

    def bulk(self, server: Server, ids: Path, seconds: float) -> Load:
        """Requests of BULK_DEPOSITS deposits each to random wallets of the file ``ids``; the load
        and what failed count in deposits, the latencies are those of whole requests.
        """
        arguments = (str(ids), _seed(), str(BULK_DEPOSITS), str(BULK_BODIES))
        result = self._wrk_says(server, BULK, seconds, BULK_CONNECTIONS, *arguments)
        return load_of_bulk(result)

    def read(self, server: Server, paths: Path, seconds: float) -> Load:
        """Reads of random paths of the file ``paths``, one after the other."""
        return load_of(self._wrk_says(server, READ, seconds, 1, str(paths), _seed()))

    def _load(self, server: Server, seconds: float, *arguments: str) -> Load:
        return load_of(self._wrk_says(server, LOAD, seconds, connection_count(), *arguments))

    def _wrk_says(
        self, server: Server, script: Path, seconds: float, connections: int, *arguments: str
    ) -> dict[str, Any]:
        threads = min(connections, max(1, (os.cpu_count() or 1) // CORES_PER_THREAD))
        command = [
            *(self._wrk, f"--threads={threads}", f"--connections={connections}"),
            *(f"--duration={max(1, round(seconds))}s", f"--timeout={ANSWER_TIMEOUT_SECONDS}s"),
            *(f"--script={script}", f"http://127.0.0.1:{server.port}", "--", *arguments),
        ]
        limit = seconds + EXTRA_SECONDS
        said = run_tool(command, only_path(), timeout_seconds=limit, folder=self._folder)
        result = next((line for line in said.splitlines() if line.startswith(_RESULT)), None)
        if result is None:
            raise CannotMeasure(f"wrk did not say how many requests it made:\n{said}")
        told: dict[str, Any] = json.loads(result.removeprefix(_RESULT))
        return told


def _seed() -> str:
    """Another one for each run: prefixes of references and keys follow from it."""
    return str(secrets.randbelow(MAX_SEED))


def connection_count() -> int:
    """Requests that are under way at once."""
    return CONNECTIONS_PER_CORE * (os.cpu_count() or 1)


def load_of(result: dict[str, Any]) -> Load:
    """What wrk told of requests that are one operation each."""
    good = result["requests"] - result["not_2xx"]
    return _load(result, good, result["not_2xx"] + result["broken"])


def load_of_bulk(result: dict[str, Any]) -> Load:
    """What wrk told of requests that are BULK_DEPOSITS each. What was not done has failed."""
    asked = (result["requests"] + result["broken"]) * BULK_DEPOSITS
    return _load(result, result["done"], asked - result["done"])


def _load(result: dict[str, Any], good: int, failed: int) -> Load:
    return Load(
        good,
        good / result["duration_us"] * _MICROSECONDS,
        failed,
        {
            "p50_ms": result["p50_us"] / _MICROSECONDS_PER_MS,
            "p99_ms": result["p99_us"] / _MICROSECONDS_PER_MS,
        },
    )
