"""Ends and removes what a test run started: ``python -m testkit.janitor FOLDER`` waits until its
input is closed.

A process of its own, because a run can end in ways that leave it no time to clear up (SIGKILL, a
time limit of the CI): the kernel closes the pipe in all of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

REMOVAL_ATTEMPTS = 20
REMOVAL_PAUSE_SECONDS = 0.25


def main(folder: Path) -> None:
    """Wait for the end of the run, then clear up."""
    # A Ctrl-C is for the run itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clear_up(folder)


def clear_up(folder: Path) -> None:
    """End what is left of the run, drop its databases, stop its servers, remove its folder."""
    # Imported here, as most of these processes only ever wait.
    from testkit import services  # noqa: PLC0415
    from WalletCore.local_postgres import LocalPostgres  # noqa: PLC0415

    end_processes(f"{services.RUN_FOLDER_VARIABLE}={folder}")
    named = os.environ.get(services.DATABASE_URL_VARIABLE)
    if named is not None:
        services.drop_databases(named, services.database_prefix() + "%")
    for data in folder.glob("*/postgres"):
        LocalPostgres(data.parent).stop(immediate=True)
    for file in folder.glob("*/redis.pid"):
        # Redis removes the file when it stops, and what is killed here was started in this run.
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
    for _ in range(REMOVAL_ATTEMPTS):
        # What was killed a moment ago may still be writing.
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(REMOVAL_PAUSE_SECONDS)


def end_processes(mark: str) -> int:
    """Kill the processes that were started with this in their environment; how many there were.

    After a run that ended well there are none. After one that was killed there are its workers and
    the servers that they started for tests.
    """
    found = processes_with(mark)
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


def processes_with(mark: str) -> list[int]:
    """The processes, other than this one, that were started with ``NAME=value`` in their
    environment. Linux only, as is the way to find them.
    """
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environment.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and mark.encode() in environment.read_bytes().split(b"\0"):
                found.append(pid)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
