"""The programs that are measured start as they are started for a real measurement."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.stand import ROOT

TIMEOUT_SECONDS = 120


def test_the_bare_route_is_measured_on_each_server() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "http_floor"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for server in ("gunicorn", "granian"):
        assert any(
            line.startswith("round 1") and server in line and "http_floor" in line
            for line in done.stdout.splitlines()
        ), done.stdout
