"""What the measurements stand on: a folder, a PostgreSQL of its own in it, and the service.

Nothing that runs on this machine already is used or touched. PostgreSQL runs as it does for ``make
run``: with its default settings, so that a commit is on the disk when it is answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, ObjectInUse

from benchmarks.programs import (
    BYTES_PER_MB,
    CannotMeasure,
    Program,
    memory_bytes_of,
    processes_of,
)
from WalletCore.local_postgres import LocalPostgres, LocalPostgresError
from WalletCore.postgres.migrate import upgrade
from WalletCore.settings import MIN_JWT_SECRET_BYTES

ROOT: Final = Path(__file__).resolve().parents[1]
BASE: Final = Path("/var/tmp")  # noqa: S108 - on a disk, where /tmp may be memory; the name is random

READY_TIMEOUT_SECONDS: Final = 60.0
CLEAR_UP_TIMEOUT_SECONDS: Final = 60.0
REQUEST_TIMEOUT_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 0.5
DROP_TIMEOUT_SECONDS: Final = 60.0
DROP_PAUSE_SECONDS: Final = 0.2
"""After the first answer, for the other processes of the server to come up."""
WALLET_MAKERS: Final = 32
"""Threads that create wallets; together they fill batches."""

CREDIT_LIMIT: Final = "-1000000000"
"""The min_balance of a wallet, in major units: years of what the loads here take."""

_JSON: Final = {"Content-Type": "application/json"}
_NEW_WALLET: Final = json.dumps({"min_balance": CREDIT_LIMIT}).encode()


@dataclass(frozen=True, slots=True)
class Server:
    """A program that runs: the number of its first process, and its port on 127.0.0.1."""

    pid: int
    port: int

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body. Raises OSError or http.client.HTTPException."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def answers(self, path: str) -> bool:
        """Whether ``path`` answers 200."""
        try:
            return self.get(path)[0] == 200
        except (OSError, HTTPException):
            return False

    def memory_mb(self, kind: str) -> list[float]:
        """``Pss`` or ``Rss`` of each of its processes. Empty where the kernel does not tell."""
        try:
            return [memory_bytes_of(pid, kind) / BYTES_PER_MB for pid in processes_of(self.pid)]
        except OSError:
            return []


class Stand:
    """The folder and the PostgreSQL in it; gone again when the ``with`` block is left.

    A process of its own clears up (`testkit.janitor`), so that nothing stays even if we are killed.
    """

    def __init__(self) -> None:
        self.folder = BASE / f"coffer-bench-{secrets.token_hex(4)}"
        # Others may enter but not list it: as root, PostgreSQL runs as another user.
        self.folder.mkdir(mode=0o711)
        self._janitor = subprocess.Popen(
            [sys.executable, "-m", "testkit.janitor", str(self.folder)],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._postgres = LocalPostgres(self.folder / "pg")
        self.url = ""
        self._started = 0

    def __enter__(self) -> Self:
        """Start PostgreSQL and make the tables. Raises CannotMeasure."""
        try:
            (self.folder / "pg").mkdir(mode=0o711)
            self.url = self._postgres.start()
            upgrade(self.url)
        except LocalPostgresError as error:
            self._clear_up()
            raise CannotMeasure(str(error)) from None
        except BaseException:
            self._clear_up()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop PostgreSQL and remove the folder."""
        self._clear_up()

    @property
    def data_folder(self) -> Path:
        """Where PostgreSQL keeps its files."""
        return self._postgres.folder

    @property
    def postgres_pid(self) -> int:
        """The first process of PostgreSQL, by the first line of its postmaster.pid."""
        return int((self._postgres.folder / "postmaster.pid").read_text().split()[0])

    @property
    def _served(self) -> dict[str, str]:
        """What whatever serves here is set to, the floor too, which starts by the same way."""
        return {
            "DATABASE_URL": self.url,
            "JWT_SECRET": secrets.token_urlsafe(MIN_JWT_SECRET_BYTES),
        }

    @contextlib.contextmanager
    def service(self, web_server: str, url: str | None = None, **further: str) -> Iterator[Server]:
        """The service on ``web_server``, as ``python -m RestAPI server`` serves it.

        ``url``: of another database than the stand's first one. ``further``: settings.
        """
        settings = {**self._served, "WEB_SERVER": web_server, **further}
        if url is not None:
            settings["DATABASE_URL"] = url
        with self._serve(["RestAPI", "server"], settings) as server:
            time.sleep(SETTLE_SECONDS)
            yield server

    @contextlib.contextmanager
    def floor(self, web_server: str) -> Iterator[Server]:
        """The bare route on ``web_server``."""
        settings = {**self._served, "WEB_SERVER": web_server}
        with self._serve(["benchmarks.floor"], settings, ready="/ping") as server:
            time.sleep(SETTLE_SECONDS)
            yield server

    @contextlib.contextmanager
    def relay(self, url: str, amqp_url: str) -> Iterator[Server]:
        """``python -m RestAPI relay``, from the database at ``url`` to the broker."""
        settings = {"DATABASE_URL": url, "AMQP_URL": amqp_url}
        with self._serve(["RestAPI", "relay"], settings, port="RELAY_PORT") as relay:
            yield relay

    @contextlib.contextmanager
    def worker(self, url: str, amqp_url: str | None) -> Iterator[Server]:
        """``python -m NotificationWorker``; without a broker it follows the log."""
        settings = {"DATABASE_URL": url} | ({"AMQP_URL": amqp_url} if amqp_url else {})
        with self._serve(["NotificationWorker"], settings, port="WORKER_PORT") as worker:
            yield worker

    @contextlib.contextmanager
    def _serve(
        self,
        arguments: Sequence[str],
        settings: Mapping[str, str],
        *,
        port: str = "PORT",
        ready: str = "/health/ready",
    ) -> Iterator[Server]:
        """``python -m`` ``arguments``, from when it answers ``ready`` on.

        ``settings``, and ``port`` for that of its port, are names without COFFER_.
        """
        number = _free_port()
        named = {**settings, port: str(number), "DATA_DIR": str(self.folder)}
        environment = _environment() | {f"COFFER_{name}": value for name, value in named.items()}
        # The programs run in the folder, where no .env of the user's changes what they do.
        environment["PYTHONPATH"] = str(ROOT)
        self._started += 1
        log = self.folder / f"{self._started:03}-{'-'.join(arguments)}.log"
        with Program([sys.executable, "-m", *arguments], environment, log) as program:
            server = Server(program.pid, number)
            program.wait_until(lambda: server.answers(ready), READY_TIMEOUT_SECONDS)
            yield server

    def _clear_up(self) -> None:
        self._janitor.communicate(timeout=CLEAR_UP_TIMEOUT_SECONDS)


def make_database(url: str, name: str) -> str:
    """A further database with all tables beside the one at ``url``; its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        own_url = url.replace(f"/{connection.info.dbname}?", f"/{name}?")
    upgrade(own_url)
    return own_url


@contextlib.contextmanager
def temporary_database(url: str, name: str) -> Iterator[str]:
    """The same for the ``with`` block; then it is dropped, and the room on the disk is free."""
    try:
        yield make_database(url, name)
    finally:
        drop_database(url, name)


def drop_database(url: str, name: str) -> None:
    """Remove a database with all that is in it.

    The autovacuum works as a superuser, whom our role may not end: it is waited for.
    """
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    deadline = time.monotonic() + DROP_TIMEOUT_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            try:
                connection.execute(statement)
            except (InsufficientPrivilege, ObjectInUse):
                if time.monotonic() > deadline:
                    raise
                time.sleep(DROP_PAUSE_SECONDS)
            else:
                return


def make_checkpoint(url: str) -> None:
    """Have everything written now that would burden the disk later.

    Dropping a database does that; the statement CHECKPOINT needs rights that our role has not.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE dropped_for_checkpoint")
    drop_database(url, "dropped_for_checkpoint")


def make_wallets(server: Server, count: int) -> list[str]:
    """Create wallets over HTTP and return their ids. Raises CannotMeasure.

    Each has a CREDIT_LIMIT, so that whatever a load takes from it, there is something to give.
    """

    def make(number: int) -> list[str]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_TIMEOUT_SECONDS)
        ids = []
        with contextlib.closing(connection):
            for _ in range(count * number // WALLET_MAKERS, count * (number + 1) // WALLET_MAKERS):
                connection.request("POST", "/api/v1/wallets", _NEW_WALLET, _JSON)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 201:
                    raise CannotMeasure(f"A wallet was not created: {body.decode()}")
                ids.append(str(json.loads(body)["id"]))
        return ids

    with ThreadPoolExecutor(WALLET_MAKERS) as makers:
        return [id_ for ids in makers.map(make, range(WALLET_MAKERS)) for id_ in ids]


def check_ledger(server: Server) -> None:
    """Raise CannotMeasure unless the ledger adds up: a fast wrong service has no figures."""
    status, body = server.get("/api/v1/ledger/trial-balance")
    if status != 200:
        raise CannotMeasure(f"There is no trial balance after the load: {body.decode()}")
    if json.loads(body)["balanced"] is not True:
        raise CannotMeasure(f"The ledger does not add up after the load: {body.decode()}")


def _environment() -> dict[str, str]:
    """Our environment without what would change the programs that are measured."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COFFER_", "GRANIAN_", "GUNICORN_", "PROMETHEUS_", "PYTHON"))
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
