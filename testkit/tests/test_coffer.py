"""The program behind `make run`, run as it is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from testkit import services
from WalletCore.local_postgres import LocalPostgres

ROOT = Path(__file__).parents[2]
WAIT_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05

pytestmark = pytest.mark.faults


class Run:
    """A running coffer.py with a folder and a port of its own."""

    def __init__(self, home: Path, port: int, **settings: str) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._output = (home / "output").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "coffer.py")],
            env={
                **os.environ,
                "COFFER_DATA_DIR": str(home),
                "COFFER_PORT": str(port),
                "COFFER_WORKERS": "1",
                **settings,
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_ready(self) -> bool:
        """Whether it serves."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/health/ready").is_success
        return False

    def wait_until_ready(self) -> None:
        """Wait until it serves and has said so."""
        wait_for(lambda: self.process.poll() is not None or "Ctrl-C" in self.output())
        assert self.is_ready(), self.output()

    def output(self) -> str:
        """What it has printed so far."""
        self._output.seek(0)
        return self._output.read()

    def ends(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(WAIT_TIMEOUT_SECONDS)

    def close(self) -> None:
        """End it if need be."""
        self.process.terminate()
        self.ends()
        self._output.close()


Start = Callable[..., Run]


@pytest.fixture
def home() -> Iterator[Path]:
    """A data_dir of the test's own."""
    services.require_postgres_binaries()
    folder = services.new_folder("run")
    yield folder
    LocalPostgres(folder).stop(immediate=True)
    shutil.rmtree(folder)


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def start(home: Path, port: int) -> Iterator[Start]:
    """Starts runs in the same folder, which are ended with the test."""
    with contextlib.ExitStack() as runs:

        def begin(**settings: str) -> Run:
            return runs.enter_context(contextlib.closing(Run(home, port, **settings)))

        yield begin


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + WAIT_TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def children(pid: int) -> list[int]:
    """The numbers of a process's children."""
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_it_serves_keeps_the_wallets_and_stops_everything(home: Path, start: Start) -> None:
    first = start()
    first.wait_until_ready()
    wallet = httpx.post(f"{first.address}/api/v1/wallets").raise_for_status().json()["id"]
    # The worker runs beside the server and records, without a broker.
    wait_for(lambda: notifications(first, wallet) == ["A wallet in USD was opened"])
    assert set(programs(first)) == {"server", "relay", "NotificationWorker"}
    # What signs the shop's tokens is made once, and for nobody else to read.
    secret = home / "jwt.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    signed_with = secret.read_text()
    assert len(signed_with) >= 32
    token = log_in(first)

    beside = start()
    assert beside.ends() == 1
    assert "runs already" in beside.output()
    assert first.is_ready()

    first.process.send_signal(signal.SIGINT)
    assert first.ends() == 0
    assert LocalPostgres(home).running_url() is None
    assert not first.is_ready()

    second = start()
    second.wait_until_ready()
    assert httpx.get(f"{second.address}/api/v1/wallets/{wallet}").is_success
    assert secret.read_text() == signed_with
    info = httpx.get(f"{second.address}/api/info", headers={"Authorization": f"Bearer {token}"})
    assert info.raise_for_status().json()["coins"] == 1000
    second.process.terminate()
    assert second.ends() == 0


def notifications(run: Run, wallet: str) -> list[str]:
    """The texts of a wallet's notifications."""
    answer = httpx.get(f"{run.address}/api/v1/notifications", params={"wallet_id": wallet})
    return [item["text"] for item in answer.raise_for_status().json()["items"]]


def log_in(run: Run) -> str:
    """The token of a new user of the shop."""
    body = {"username": "alice", "password": "secret"}
    answer = httpx.post(f"{run.address}/api/auth", json=body).raise_for_status()
    return str(answer.json()["token"])


def programs(run: Run) -> dict[str, int]:
    """The programs of a run by the last word of their command, with their numbers."""
    commands = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        for pid in children(run.process.pid)
    }
    return {
        command[-1].decode(): pid for pid, command in commands.items() if command[1:2] == [b"-m"]
    }


@pytest.mark.parametrize(
    ("program", "name"), [("relay", "relay"), ("NotificationWorker", "worker")]
)
def test_when_relay_or_worker_dies_all_ends(start: Start, program: str, name: str) -> None:
    running = start()
    running.wait_until_ready()
    os.kill(programs(running)[program], signal.SIGKILL)
    assert running.ends() == 128 + signal.SIGKILL
    assert f"The {name} has ended" in running.output()


def test_in_memory_one_process_does_everything(start: Start) -> None:
    running = start(COFFER_DATABASE_URL="memory://")
    running.wait_until_ready()
    wallet = httpx.post(f"{running.address}/api/v1/wallets").raise_for_status().json()["id"]
    wait_for(lambda: notifications(running, wallet) == ["A wallet in USD was opened"])
    assert set(programs(running)) == {"server"}


def test_a_killed_run_leaves_only_its_postgres_which_the_next_one_uses(
    home: Path, start: Start
) -> None:
    first = start()
    first.wait_until_ready()
    first.process.kill()
    first.ends()
    url = LocalPostgres(home).running_url()
    assert url is not None
    wait_for(lambda: not first.is_ready())

    second = start()
    second.wait_until_ready()
    assert LocalPostgres(home).running_url() == url


def test_when_the_server_dies_all_ends_with_its_exit_code(start: Start) -> None:
    running = start(COFFER_DATABASE_URL="memory://")
    running.wait_until_ready()
    (server,) = children(running.process.pid)
    os.kill(server, signal.SIGKILL)
    assert running.ends() == 128 + signal.SIGKILL
    assert "server has ended with exit code 137" in running.output()


def test_when_postgres_dies_all_ends(home: Path, start: Start) -> None:
    running = start()
    running.wait_until_ready()
    LocalPostgres(home).stop(immediate=True)
    assert running.ends() == 1
    assert "PostgreSQL has stopped" in running.output()
    assert not running.is_ready()


def test_a_port_that_is_taken_is_named(start: Start, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        refused = start(COFFER_DATABASE_URL="memory://")
        assert refused.ends() == 1
    assert f"port {port}" in refused.output()
    assert "COFFER_PORT=" in refused.output()


def test_a_setting_that_cannot_be_is_named(start: Start) -> None:
    refused = start(COFFER_THREADS="many")
    assert refused.ends() == 1
    assert "threads" in refused.output()


def test_what_others_use_goes_on(home: Path, start: Start) -> None:
    with LocalPostgres(home).used() as url:
        running = start()
        running.wait_until_ready()
        migrated = subprocess.run(
            [sys.executable, "-m", "RestAPI", "migrate"],
            cwd=ROOT,
            env={**os.environ, "COFFER_DATA_DIR": str(home)},
            check=False,
        )
        assert migrated.returncode == 0
        assert running.is_ready()
        running.process.terminate()
        assert running.ends() == 0
        assert LocalPostgres(home).running_url() == url
    assert LocalPostgres(home).running_url() is None


def test_the_signals_for_the_log_reach_every_program(start: Start) -> None:
    run = start(COFFER_LOG_FORMAT="json")
    run.wait_until_ready()
    # The server's main process and its worker, the relay and the worker.
    run.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: run.output().count('"level_now":"DEBUG"') == 4)
    run.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: run.output().count('"level_now":"INFO"') == 4)
    assert run.is_ready()
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 0
