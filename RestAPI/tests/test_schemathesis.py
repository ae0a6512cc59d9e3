"""Schemathesis with all its checks against a running service: it must find nothing.

Its settings allow 400, a money rule that refuses valid data, and no other refusal; the hooks keep
what it takes for valid within the rules that JSON Schema has no words for.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from RestAPI.tests.running import ROOT, running

EXAMPLES = 25
"""Generated examples per endpoint and phase; more of them by hand, see schemathesis.toml."""
RUN_SECONDS = 110


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with running(tmp_path, COFFER_LOG_LEVEL="ERROR") as server:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "--config-file=RestAPI/tests/schemathesis.toml",
                "--no-color",
                "run",
                f"http://127.0.0.1:{server.port}/openapi.json",
                "--checks=all",
                f"--max-examples={EXAMPLES}",
                "--generation-deterministic",
                f"--report-dir={tmp_path}",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in server.log.read_text()
