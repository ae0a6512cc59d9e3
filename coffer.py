"""What ``make run`` runs: a PostgreSQL if none is configured, the migrations, and the programs.

``python coffer.py`` serves until Ctrl-C or SIGTERM and then stops everything in order: the
programs first (SIGTERM, after STOP_TIMEOUT_SECONDS SIGKILL), PostgreSQL last. When a program ends
by itself, so does everything else, with its exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from WalletCore.local_postgres import LocalPostgres, LocalPostgresError
from WalletCore.settings import MIN_JWT_SECRET_BYTES, Settings, load_settings

ROOT = Path(__file__).resolve().parent
PROGRAMS = {
    "server": ("-m", "RestAPI", "server"),
    "relay": ("-m", "RestAPI", "relay"),
    "worker": ("-m", "NotificationWorker"),
}
"""The programs of the service by name, each with the arguments of its Python. In memory the first
one does everything."""

JWT_SECRET_FILE = "jwt.secret"  # noqa: S105 - its name
READY_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
PROBE_TIMEOUT_SECONDS = 2.0
POLL_SECONDS = 0.05
POSTGRES_CHECK_SECONDS = 1.0

_PR_SET_PDEATHSIG = 1
"""From prctl(2)."""


class CannotRun(Exception):
    """Something is in the way. The text says what, and what to do."""


class Supervisor:
    """Starts programs, watches them, and stops them, in the order of their start."""

    def __init__(self) -> None:
        self.stopping = False
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._pass_on)

    def _on_signal(self, _number: int, _frame: object) -> None:
        self.stopping = True

    def _pass_on(self, number: int, _frame: object) -> None:
        """The signals that make the log tell more, or less."""
        for program in self._programs.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(program.pid, number)

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program of our Python in a session of its own: Ctrl-C is for us alone."""
        self._programs[name] = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - there are no threads here
        )

    def ended(self) -> tuple[str, int] | None:
        """The first program that has ended, with its exit code as a shell tells it; else None."""
        for name, program in self._programs.items():
            code = program.poll()
            if code is not None:
                return name, code if code >= 0 else 128 - code
        return None

    def watch(self, until: Callable[[], bool]) -> tuple[str, int] | None:
        """Wait for a condition. Returns the program that ended meanwhile, if one did."""
        while not self.stopping and (ended := self.ended()) is None and not until():
            time.sleep(POLL_SECONDS)
        return None if self.stopping else ended

    def close(self) -> None:
        """Stop all programs and what they started."""
        for program in self._programs.values():
            program.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for name, program in self._programs.items():
            try:
                program.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _say(f"The {name} did not stop within {STOP_TIMEOUT_SECONDS:.0f} s and is killed.")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        self._programs.clear()


def _end_with_parent() -> Callable[[], None] | None:
    """What a program does before it starts: ask to be ended with us, should we be killed; and let
    the signals for its log wait until it takes them.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))

    return ask


def run(settings: Settings) -> int:
    """Serve until told to stop. Returns the exit code. Raises CannotRun or LocalPostgresError."""
    supervisor = Supervisor()
    with _alone(settings):
        port = _free_port(settings.host, settings.port)
        address = f"http://{_reachable_host(settings.host)}:{port}"
        with _postgres(settings) as postgres, contextlib.closing(supervisor):
            environment = _environment(
                postgres, COFFER_PORT=str(port), **_side_ports(settings), **_secret(settings)
            )
            if not settings.in_memory:
                _migrate(environment)
            (first, arguments), *others = PROGRAMS.items()
            supervisor.start(first, arguments, environment)

            def start_others() -> None:
                for name, arguments in others if not settings.in_memory else ():
                    supervisor.start(name, arguments, environment)

            return _serve(supervisor, address, postgres, start_others)


def _serve(
    supervisor: Supervisor,
    address: str,
    postgres: LocalPostgres | None,
    start_others: Callable[[], None],
) -> int:
    """Wait until the server is ready, and only then let others ask for the machine's time."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    ended = supervisor.watch(lambda: _is_ready(address) or time.monotonic() > deadline)
    if ended is None and not supervisor.stopping:
        if time.monotonic() > deadline:
            raise CannotRun(
                f"The server is not ready after {READY_TIMEOUT_SECONDS:.0f} s. "
                f"{address}/health/ready says what is missing."
            )
        start_others()
        _say(_welcome(address))
        ended = supervisor.watch(_stopped(postgres))
    if supervisor.stopping:
        _say("Stopping.")
        return 0
    if ended is None:
        raise CannotRun("PostgreSQL has stopped, and everything with it. `make run` starts again.")
    name, code = ended
    _say(f"The {name} has ended with exit code {code}, and everything with it.")
    return code or 1


def _migrate(environment: Mapping[str, str]) -> None:
    """Migrate in a process of its own, which keeps the libraries for that out of this one."""
    command = [sys.executable, "-m", "RestAPI", "migrate"]
    code = subprocess.run(
        command, cwd=ROOT, env=environment, start_new_session=True, check=False
    ).returncode
    if code != 0:
        raise CannotRun(f"The migration of the database failed (exit code {code}).")


@contextlib.contextmanager
def _postgres(settings: Settings) -> Iterator[LocalPostgres | None]:
    """The embedded PostgreSQL if no database is configured.

    A run that was killed left its PostgreSQL running, which is then used on. Afterwards it is
    stopped, unless another program uses it, such as `make migrate`; then that one stops it.
    """
    if settings.database_url is not None:
        yield None
        return
    postgres = LocalPostgres(settings.data_dir)
    with postgres.used():
        yield postgres


def _environment(postgres: LocalPostgres | None, **further: str) -> dict[str, str]:
    """The environment of the programs: ours, with the database that they are to use."""
    url = postgres.running_url() if postgres is not None else None
    return {**os.environ, **further, **({"COFFER_DATABASE_URL": url} if url is not None else {})}


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold the folder for ourselves; a lock, so that a run that was killed does not count."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with (settings.data_dir / "run.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CannotRun(
                f"Coffer runs already on {settings.data_dir} ({file.read()}). Stop it with Ctrl-C, "
                f"or start a second one beside it: COFFER_DATA_DIR={settings.data_dir}-2 "
                f"COFFER_PORT={settings.port + 1} make run"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, port {settings.port}")
        file.flush()
        yield


def _secret(settings: Settings) -> dict[str, str]:
    """The secret that signs the tokens of the shop: the one that is set, or one that is made once
    and kept beside the data, for its owner's eyes only.
    """
    if settings.jwt_secret is not None or settings.in_memory:
        return {}
    file = settings.data_dir / JWT_SECRET_FILE
    if not file.exists():
        new = file.with_name(file.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secrets.token_urlsafe(MIN_JWT_SECRET_BYTES))
        new.replace(file)
    return {"COFFER_JWT_SECRET": file.read_text().strip()}


def _side_ports(settings: Settings) -> dict[str, str]:
    """Where relay and worker tell of their health: the ports that are set, or free ones where
    somebody has those already, such as a second Coffer beside the first.
    """
    ports = {}
    for name, port in (("RELAY", settings.relay_port), ("WORKER", settings.worker_port)):
        try:
            found = _free_port(settings.host, port)
        except CannotRun:
            found = _free_port(settings.host, 0)
        ports[f"COFFER_{name}_PORT"] = str(found)
    return ports


def _free_port(host: str, port: int) -> int:
    """The port to serve on, known to be free; a free one for 0. Raises CannotRun."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise CannotRun(
            f"Cannot serve on port {port} of {host}: {error.strerror}. "
            f"Name another one: COFFER_PORT={port + 1} make run"
        ) from error


def _reachable_host(host: str) -> str:
    """The host to name in an address: one's own machine where all interfaces are served."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _is_ready(address: str) -> bool:
    host = address.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stopped(postgres: LocalPostgres | None) -> Callable[[], bool]:
    """A condition for `Supervisor.watch`: PostgreSQL has stopped. Looks once in a while."""
    next_look = time.monotonic()

    def stopped() -> bool:
        nonlocal next_look
        if postgres is None or time.monotonic() < next_look:
            return False
        next_look = time.monotonic() + POSTGRES_CHECK_SECONDS
        return postgres.running_url() is None

    return stopped


def _welcome(address: str) -> str:
    return f"""
Coffer is ready.

  {address}/              the console; make demo fills an empty one
  {address}/docs          every endpoint, to be tried out
  {address}/openapi.json  the same for machines

  A first wallet:  curl -X POST {address}/api/v1/wallets
  More of that in README.md. Ctrl-C stops everything.
"""


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Run, and say it plainly when that is not possible. Returns the exit code."""
    os.chdir(ROOT)
    try:
        return run(load_settings())
    except ValidationError as error:
        print(f"A setting cannot be used (see .env.example):\n{error}", file=sys.stderr)
    except (CannotRun, LocalPostgresError) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
