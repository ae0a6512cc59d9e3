"""Which program is taken for the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit import browser


def program(folder: Path, name: str, exit_code: int) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of which no program is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_the_first_that_runs_is_taken(only_here: Path) -> None:
    program(only_here, "chromium", 1)
    taken = program(only_here, "chromium-browser", 0)
    program(only_here, "google-chrome", 0)
    assert browser._find() == taken


def test_where_none_runs_there_is_none(only_here: Path) -> None:
    assert browser._find() is None
    program(only_here, "chromium", 1)
    assert browser._find() is None
