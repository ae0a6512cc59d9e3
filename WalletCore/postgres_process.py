"""Finds the PostgreSQL that runs on a data folder, by the ``postmaster.pid`` in it.

That file outlives a server that was killed, and its number may by then be another process's:
whether the process is the server of this very folder is therefore always looked up.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PORT = 5432
"""The number in the name of the socket. Nothing listens on it."""

_PID_LINE, _SOCKET_FOLDER_LINE, _STATUS_LINE = 0, 4, 7
"""Lines of the file, from PostgreSQL's src/include/utils/pidfile.h. It is written line by line."""

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Postmaster:
    """A server that runs: its process, where its socket is, and ``starting``, ``ready`` ..."""

    pid: int
    socket_folder: Path | None
    status: str

    @property
    def ready(self) -> bool:
        """Whether it accepts connections."""
        return (
            self.status == "ready"
            and self.socket_folder is not None
            and (self.socket_folder / f".s.PGSQL.{PORT}").exists()
        )


def adopt(process: subprocess.Popen[bytes]) -> None:
    """Keep a server that this process started, until it has ended.

    It may outlive the object that started it, but unless it is waited for it would count as alive
    even after its end.
    """
    _children[process.pid] = process


def find_postmaster(folder: Path) -> Postmaster | None:
    """The server that runs on the data folder. Raises PermissionError on the folder of another."""
    written = _read(folder)
    return written if written is not None and serves(written.pid, folder) else None


def forget_dead_server(folder: Path) -> None:
    """Remove the file of a server that was killed.

    PostgreSQL does so itself, unless another process of the same user has got the number.
    """
    written = _read(folder)
    if written is not None and _works_in(written.pid, folder) is False:
        (folder / "postmaster.pid").unlink(missing_ok=True)


def serves(pid: int, folder: Path) -> bool:
    """Whether the process is alive and the server of this data folder."""
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
    works_here = _works_in(pid, folder)
    if works_here is not None:
        return works_here
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(folder) in command.split(b"\0")


def _works_in(pid: int, folder: Path) -> bool | None:
    """Whether the process works in the folder, as its server does. None: that cannot be seen."""
    if not Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return True
        return False
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        # Root inside a container may not look into the processes of others.
        return None


def _read(folder: Path) -> Postmaster | None:
    """What ``postmaster.pid`` says, so far as it is written."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    lines += [""] * (_STATUS_LINE + 1 - len(lines))
    if not lines[_PID_LINE].isdigit():
        return None
    socket_folder = lines[_SOCKET_FOLDER_LINE]
    return Postmaster(
        int(lines[_PID_LINE]),
        Path(socket_folder) if socket_folder else None,
        lines[_STATUS_LINE].strip(),
    )
