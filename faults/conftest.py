"""Shows the table of what was counted at the end of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faults.stand import head
from testkit.services import RUN_FOLDER_VARIABLE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The rows of all workers of this run."""
    folder = os.environ.get(RUN_FOLDER_VARIABLE)
    file = Path(folder) / "faults.txt" if folder else None
    if file is not None and file.exists():
        terminalreporter.section("faults")
        terminalreporter.line(head())
        for line in file.read_text().splitlines():
            terminalreporter.line(line)
