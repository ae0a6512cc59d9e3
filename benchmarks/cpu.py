"""Whose CPU time a load takes, told by the kernel; Linux only, elsewhere nothing is told."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from benchmarks.programs import PROC, processes_of, stat_fields

OTHERS: Final = "other_programs_cpu_percent"
"""The detail of a Measurement that tells how quiet the machine was."""

_MICROSECONDS: Final = 1e6


class CpuMeter:
    """Measures what is used while its ``with`` block runs.

    ``roots``: the first processes of what is to be told apart, by name. What ran and ended in the
    block as our own child is the client; all the rest of the machine is others.
    """

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = roots
        self._before: dict[str, float] = {}
        self._used: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Begin."""
        self._before = self._read()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._used = {name: value - self._before[name] for name, value in self._read().items()}

    def details(self, operations: int) -> dict[str, float]:
        """CPU time of an operation by whose it was, and the part of the machine that others had."""
        if not PROC.exists() or operations <= 0:
            return {}
        ours = {name: self._used[name] for name in (*self._roots, "client")}
        available = self._used["clock"] * (os.cpu_count() or 1)
        others = max(0.0, self._used["machine"] - sum(ours.values())) / available
        return {
            **{
                f"{name}_cpu_us_per_operation": round(seconds / operations * _MICROSECONDS, 1)
                for name, seconds in ours.items()
            },
            OTHERS: round(others * 100, 1),
        }

    def _read(self) -> dict[str, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            **{name: _seconds_of(processes_of(pid)) for name, pid in self._roots.items()},
            "client": children.ru_utime + children.ru_stime,
            "machine": _machine_seconds(),
            "clock": time.perf_counter(),
        }


def _seconds_of(pids: Sequence[int]) -> float:
    """CPU time that processes, and their ended children, have used so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            # utime, stime, cutime, cstime: fields 14 to 17 of proc_pid_stat(5).
            ticks += sum(int(field) for field in stat_fields(pid)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _machine_seconds() -> float:
    """CPU time that everything on this machine has used so far; 0 where there is no /proc."""
    try:
        with (PROC / "stat").open() as file:
            fields = [int(field) for field in file.readline().split()[1:]]
    except OSError:
        return 0.0
    # user, nice, system, (idle, iowait,) irq, softirq, steal; guest time is part of user time.
    return sum(fields[:3] + fields[5:8]) / os.sysconf("SC_CLK_TCK")
