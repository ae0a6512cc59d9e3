"""Installing a package of Debian's for the tests, where they run as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

POLICY: Final = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT: Final = """#!/bin/sh
# Made by Coffer's tests while they install a package; remove it if they no longer run.
exit 101
"""
ANSWER_TAIL_CHARACTERS: Final = 200


def install(package: str, limit_seconds: float) -> str:
    """Install ``package`` with apt-get; the answer is a sentence on how that went."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "install it with the system's packages (only root on Debian can do so from here)."
    said = ""
    deadline = time.monotonic() + limit_seconds
    install_it = ("install", "-y", "-q", "--no-install-recommends", package)
    with _no_service_starts():
        for arguments in (("update", "-q"), install_it):
            try:
                answer = subprocess.run(
                    ["apt-get", *arguments],
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=max(0.0, deadline - time.monotonic()),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"apt-get {arguments[0]} did not end within {limit_seconds} s."
            out, errors = answer.stdout.strip(), answer.stderr.strip()
            said = f"{out[-ANSWER_TAIL_CHARACTERS:]} {errors[-ANSWER_TAIL_CHARACTERS:]}"
    return f"apt-get said: {said}"


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep the services of what is installed meanwhile from starting.

    Debian's packages start theirs at once, on its well-known port, and at every boot after that;
    before they do they ask this program, whose 101 forbids it (invoke-rc.d(8)). Where there is one
    already, as in most containers, its answer is the machine's own affair.
    """
    try:
        with POLICY.open("x") as file:
            file.write(POLICY_TEXT)
    except FileExistsError:
        yield
        return
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)
