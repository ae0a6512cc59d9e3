"""Programs that a measurement starts and ends, and what the kernel tells about processes.

Everything under /proc is Linux's (proc(5)); elsewhere those figures are left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

STOP_TIMEOUT_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.02
BYTES_PER_KIB: Final = 1024
BYTES_PER_MB: Final = 1_000_000
LOG_TAIL_LINES: Final = 20
MAX_SHOWN_CHARACTERS: Final = 2000
"""How much of what a failed tool said is repeated: the end of it."""

PROC: Final = Path("/proc")
_PR_SET_PDEATHSIG: Final = 1
"""From prctl(2)."""


class CannotMeasure(Exception):
    """Something is in the way. The text says what, and what to do."""


class Program:
    """A program with all that it starts, ended when the ``with`` block is left, however it is.

    It gets a session of its own, so that Ctrl-C reaches only us, and is ended with us should we be
    killed. Its output goes to ``log``.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                arguments,
                cwd=log.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509 - no other thread runs now
            )

    @property
    def pid(self) -> int:
        """The number of its first process."""
        return self._process.pid

    def wait_until(self, condition: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait for ``condition``. Raises CannotMeasure if it ends before, or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if self._process.poll() is not None:
                raise CannotMeasure(f"It ended at once. The end of its log:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise CannotMeasure(
                    f"It is not ready after {timeout_seconds:.0f} s. Its log:\n{self._tail()}"
                )
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is still there STOP_TIMEOUT_SECONDS later."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __enter__(self) -> Self:
        """Nothing: it runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()


def run_tool(
    command: Sequence[str], environment: Mapping[str, str], *, timeout_seconds: float, folder: Path
) -> str:
    """Run a command to its end and return what it printed. Raises CannotMeasure if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"{command[0]} did not end within {timeout_seconds:.0f} s.") from None
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise CannotMeasure(f"{command[0]} failed: {said[-MAX_SHOWN_CHARACTERS:]}")
    return done.stdout


def processes_of(pid: int) -> list[int]:
    """A process and all its descendants; empty where there is no /proc."""
    parents: dict[int, int] = {}
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(stat_fields(int(folder.name))[1])
    family = [pid] if pid in parents else []
    for member in family:  # grows while it is gone through
        family += [child for child, parent in parents.items() if parent == member]
    return family


def memory_bytes_of(pid: int, kind: str) -> int:
    """``Pss`` (shared pages divided by those who share them) or ``Rss`` of a process.

    Raises OSError where the kernel does not tell.
    """
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * BYTES_PER_KIB
    raise OSError(f"there is no {kind} in smaps_rollup")


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this program as Ctrl-C does, so that everything is stopped."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def stat_fields(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on; the name before them may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _end_with_parent() -> Callable[[], None] | None:
    """What a program does before it starts: ask to be ended with us, should we be killed."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
