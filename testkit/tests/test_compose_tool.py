"""tools/compose.py and tools/make_env.py: `make observe`, with a stand-in for the docker command.

The stand-in writes down what it is asked and answers as docker compose does; the service behind it
is a real one.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from RestAPI.tests.running import Server, running
from testkit.running import ROOT
from WalletCore.keys import Scope, new_key

BOOTSTRAP = new_key("bootstrap", [Scope.ADMIN], created_by="tests")[1]
OWNER_ONLY = 0o600

DOCKER = """#!/bin/sh
echo "$*" >>"$STAND_IN/asked"
case "$*" in
  "compose version") ;;
  *"config --services") cat "$STAND_IN/services" 2>/dev/null || printf 'web\\n' ;;
  *"ps --all --quiet"*) printf 'c1\\n' ;;
  inspect*) printf 'running 0 healthy\\n' ;;
  *"port web 8000") printf '%s\\n' "$STAND_IN_WEB" ;;
  *"port prometheus 9090") printf '127.0.0.1:19090\\n' ;;
  *"port grafana 3000") printf '127.0.0.1:13000\\n' ;;
  *" port "*) printf '127.0.0.1:1\\n' ;;
  *"exec -T web "*) cat "$STAND_IN/made" ;;
esac
"""


@dataclass
class Project:
    """A copy of the tools, with a docker command of its own."""

    folder: Path
    web: str

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and output of ``tools/compose.py`` with this command."""
        done = subprocess.run(
            [sys.executable, "tools/compose.py", command],
            cwd=self.folder,
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "STAND_IN": str(self.folder),
                "STAND_IN_WEB": self.web,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def asked(self) -> list[str]:
        """What docker was asked, and from now on is not known any more."""
        file = self.folder / "asked"
        lines = file.read_text().splitlines()
        file.unlink()
        return lines

    def setting(self, name: str) -> list[str]:
        """What .env sets under this name."""
        return re.findall(rf"^{name}=(.*)$", self.env_file.read_text(), re.MULTILINE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, COFFER_ACCESS="keys", COFFER_BOOTSTRAP_KEY=BOOTSTRAP) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Project:
    folder = tmp_path / "project"
    (folder / "bin").mkdir(parents=True)
    shutil.copytree(ROOT / "tools", folder / "tools")
    docker = folder / "bin" / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    return Project(folder, f"127.0.0.1:{server.port}")


def metrics_key(server: Server) -> tuple[str, str]:
    """The id and the text of a key that may read the metrics, made over HTTP."""
    body = {"name": "prometheus", "scopes": ["metrics"]}
    headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
    status, made = server.ask("POST", "/api/v1/keys", body, headers)
    assert status == 201
    return made["id"], made["key"]


def test_observe_makes_a_key_for_the_metrics_alone_and_starts_both(
    project: Project, server: Server
) -> None:
    _, key = metrics_key(server)
    (project.folder / "made").write_text(f"{key}\n")
    code, output = project.run("observe")
    assert code == 0, output
    assert "Prometheus: http://127.0.0.1:19090/" in output
    assert "Grafana: http://127.0.0.1:13000/" in output
    assert key not in output
    asked = project.asked()
    created = "compose exec -T web python -m RestAPI keys create prometheus --scope metrics"
    assert asked.count(created) == 1
    started = "compose --profile observe up --detach prometheus grafana"
    assert asked.index(created) < asked.index(started)
    assert project.setting("COFFER_METRICS_KEY") == [key]
    assert stat.S_IMODE(project.env_file.stat().st_mode) == OWNER_ONLY
    (password,) = project.setting("GRAFANA_ADMIN_PASSWORD")
    assert len(password) >= 32
    assert password not in output


def test_a_key_that_works_is_kept_and_one_that_was_revoked_is_replaced(
    project: Project, server: Server
) -> None:
    key_id, key = metrics_key(server)
    project.env_file.write_text(f"# mine\nCOFFER_METRICS_KEY={key}\nCOFFER_WORKERS=2\n")
    assert project.run("observe")[0] == 0
    assert not [line for line in project.asked() if " exec " in line]
    headers = {"Authorization": f"Bearer {BOOTSTRAP}"}
    assert server.ask("DELETE", f"/api/v1/keys/{key_id}", None, headers)[0] == 200
    _, other = metrics_key(server)
    (project.folder / "made").write_text(f"{other}\n")
    assert project.run("observe")[0] == 0
    assert project.setting("COFFER_METRICS_KEY") == [other]
    assert project.setting("COFFER_WORKERS") == ["2"]
    assert project.env_file.read_text().startswith("# mine\n")


def test_no_key_no_start(project: Project) -> None:
    (project.folder / "made").write_text("Error: The database cannot be reached.\n")
    code, output = project.run("observe")
    assert code == 1
    assert "No key for the metrics" in output
    assert not [line for line in project.asked() if "--profile observe up" in line]
    assert project.setting("COFFER_METRICS_KEY") == []


@pytest.mark.parametrize("command", ["up", "infra"])
def test_the_other_commands_start_neither(project: Project, command: str) -> None:
    assert project.run(command)[0] == 0
    assert not [line for line in project.asked() if "observe" in line]


def test_up_does_not_wait_for_them(project: Project) -> None:
    """docker-compose 1.29 names the services of all profiles, those that are not started, too."""
    (project.folder / "services").write_text("web\nprometheus\ngrafana\nrelay\n")
    assert project.run("up")[0] == 0
    waited = [line.split()[-1] for line in project.asked() if " ps --all --quiet " in line]
    assert waited == ["web", "relay"]


def test_down_stops_them_as_well(project: Project) -> None:
    assert project.run("down")[0] == 0
    assert project.asked()[-1] == "compose --profile observe down --remove-orphans"
