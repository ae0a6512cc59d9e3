"""Chromium for the tests of the pages for people: the one that is installed, or Debian's."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from typing import Final

from testkit.services import installed

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_TIMEOUT_SECONDS: Final = 360.0
ANSWER_TIMEOUT_SECONDS: Final = 30.0

ARGUMENTS: Final = (
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What makes it quiet: it asks nobody but the service under test."""


@cache
def browser_binary() -> str:
    """The path of a Chromium. On Debian root installs it if need be; otherwise raises
    ServiceUnavailable.
    """
    return installed("chromium", _find, "chromium", INSTALL_TIMEOUT_SECONDS)


def _find() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path and _runs(path)), None)


def _runs(path: str) -> bool:
    """Whether it is one: some systems have a stub, which only tells where to get it."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ANSWER_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
