"""The two programs that make the load: wrk and pgbench."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.programs import CannotMeasure
from WalletCore.postgres_binaries import Account, LocalPostgresError, find_binaries

INSTALL_TIMEOUT_SECONDS: Final = 180


def find_wrk() -> str:
    """The path of wrk. On Debian root installs it if need be; otherwise raises CannotMeasure."""
    if found := shutil.which("wrk"):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("wrk makes the load and is missing; installing it with apt-get ...", flush=True)
        _install("wrk")
        if found := shutil.which("wrk"):
            return found
    raise CannotMeasure(
        "wrk makes the load and is missing. Install it with the system's packages (apt install "
        "wrk, dnf install wrk, brew install wrk), or build it from https://github.com/wg/wrk. "
        'Without it, measure only what does not need it: make bench ARGS="--only p99".'
    )


def find_pgbench() -> str:
    """The path of the pgbench that belongs to the PostgreSQL used here. Raises CannotMeasure."""
    try:
        beside_server = find_binaries(None, Account()) / "pgbench"
    except LocalPostgresError as error:
        raise CannotMeasure(str(error)) from None
    if beside_server.exists():
        return str(beside_server)
    if found := shutil.which("pgbench"):
        return found
    raise CannotMeasure(
        "There is no pgbench beside the PostgreSQL that was found. Install it with the system's "
        "packages (Debian: postgresql; Fedora, Alpine: postgresql-contrib)."
    )


def _install(package: str) -> None:
    """Install a Debian package, or say why not; the caller looks whether it is there."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ("install", "-y", "-q", "--no-install-recommends", package)
    for arguments in (("update", "-q"), install):
        try:
            done = subprocess.run(
                ["apt-get", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"apt-get {arguments[0]} did not end within {INSTALL_TIMEOUT_SECONDS} s.")
            return
        if done.returncode != 0:
            print(f"apt-get {arguments[0]} said: {done.stderr.strip()[-300:]}")


def only_path() -> dict[str, str]:
    """An environment for a tool: where programs lie, English messages, nothing of the user's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(Path.home())}
