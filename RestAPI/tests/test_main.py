"""The command line: what it refuses in which words, and what it does on a real database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from RestAPI.tests.running import JWT_SECRET, ROOT, environment, running
from testkit import services
from testkit.ledgers import deposit, new_wallet
from WalletCore.open_store import open_store
from WalletCore.settings import Settings

COMMAND_SECONDS = 60


def run(command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "RestAPI", command],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"COFFER_PORT": "99999"}, "COFFER_PORT: Input should be less than or equal to 65535"),
        ({"COFFER_LOG_LEVEL": "loud"}, "COFFER_LOG_LEVEL: Input should be"),
        ({"COFFER_CURRENCIES": "ABC"}, "is not CODE:DECIMALS"),
        ({"COFFER_DEFAULT_CURRENCY": "QQQ"}, "neither in ISO 4217 nor in COFFER_CURRENCIES"),
        ({"COFFER_HOST": "0.0.0.0", "COFFER_ACCESS": "open"}, "can be reached from other machines"),
        ({"COFFER_HOST": "::", "COFFER_ACCESS": "open"}, "keys create"),
        ({"COFFER_HOST": "0.0.0.0"}, "set COFFER_BOOTSTRAP_KEY"),
        ({"COFFER_ACCESS": "keys"}, "set COFFER_BOOTSTRAP_KEY"),
        ({"COFFER_ACCESS": "keys", "COFFER_BOOTSTRAP_KEY": "ck_0_x"}, "is no key"),
    ],
)
def test_server_refuses_settings_in_plain_words(settings: dict[str, str], words: str) -> None:
    done = run("server", **{"COFFER_DATABASE_URL": "memory://", **settings})
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_server_refuses_to_serve_a_shop_without_a_secret() -> None:
    """Before it asks for the database."""
    url = "postgresql://coffer@127.0.0.1:1/coffer"
    for settings, words in (
        ({}, "COFFER_JWT_SECRET is not set: 32 bytes or more"),
        ({"COFFER_JWT_SECRET": "hunter2"}, "a secret has 32 bytes or more"),
    ):
        done = run("server", COFFER_DATABASE_URL=url, **settings)
        assert done.returncode == 2
        assert words in done.stderr
        assert "hunter2" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_server_refuses_a_database_it_cannot_use_without_its_password() -> None:
    url = "postgresql+mysql://coffer:hunter2@127.0.0.1/coffer"
    done = run("server", COFFER_DATABASE_URL=url, COFFER_JWT_SECRET=JWT_SECRET)
    assert done.returncode == 2
    assert "The database cannot be used" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_several_faults_take_a_line_each() -> None:
    done = run("verify", COFFER_PORT="x", COFFER_THREADS="1")
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert [line.removeprefix("Error: ").split(":")[0] for line in lines] == [
        "COFFER_PORT",
        "COFFER_THREADS",
    ]


def test_open_access_starts_with_a_warning(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert "access_is_open" in server.log.read_text()


def test_a_proxy_and_open_access_by_default_do_not_go_together() -> None:
    done = run("server", COFFER_DATABASE_URL="memory://", COFFER_TRUSTED_PROXIES="127.0.0.1")
    assert done.returncode == 2
    assert "COFFER_ACCESS=keys" in done.stderr


def test_memory_has_nothing_to_migrate_and_nothing_to_verify() -> None:
    assert run("migrate", COFFER_DATABASE_URL="memory://").returncode == 0
    done = run("verify", COFFER_DATABASE_URL="memory://")
    assert done.returncode == 2
    assert "trial-balance" in done.stderr


def test_verify_without_a_database_says_what_to_do(tmp_path: Path) -> None:
    done = run("verify", COFFER_DATA_DIR=str(tmp_path / "none"))
    assert done.returncode == 2
    assert "make run" in done.stderr
    assert not (tmp_path / "none").exists()


def test_server_wants_the_newest_tables_and_migrate_makes_them(empty_postgres_url: str) -> None:
    done = run("server", COFFER_DATABASE_URL=empty_postgres_url, COFFER_JWT_SECRET=JWT_SECRET)
    assert done.returncode == 2
    assert "python -m RestAPI migrate" in done.stderr
    first = run("migrate", COFFER_DATABASE_URL=empty_postgres_url)
    assert first.returncode == 0, first.stderr
    assert "they were at none" in first.stdout
    again = run("migrate", COFFER_DATABASE_URL=empty_postgres_url)
    assert (again.returncode, "already" in again.stdout) == (0, True)


def test_verify_exits_1_on_the_first_difference_and_names_it(fresh_postgres_url: str) -> None:
    settings = Settings(database_url=SecretStr(fresh_postgres_url), redis_url=None, amqp_url=None)
    store = open_store(settings)
    wallet_id = new_wallet(store)
    store.execute(deposit(wallet_id, "10.50"))
    store.close()
    clean = run("verify", COFFER_DATABASE_URL=fresh_postgres_url)
    assert (clean.returncode, clean.stdout.startswith("Clean: 1 wallets")) == (0, True)

    with psycopg.connect(fresh_postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE coffer.wallets SET balance = balance + 1")
    different = run("verify", COFFER_DATABASE_URL=fresh_postgres_url)
    assert different.returncode == 1
    assert different.stdout.startswith("DIFFERENT")
    assert str(wallet_id) in different.stdout


def test_the_embedded_database_comes_and_goes_with_the_commands(tmp_path: Path) -> None:
    services.require_postgres_binaries()
    # A folder that root's PostgreSQL, which runs as another user, can reach.
    folder = str(services.new_folder("commands"))
    migrated = run("migrate", COFFER_DATA_DIR=folder)
    assert migrated.returncode == 0, migrated.stderr
    with running(tmp_path, COFFER_DATABASE_URL="", COFFER_DATA_DIR=folder) as server:
        assert server.ask("POST", "/api/v1/wallets")[0] == 201
        beside = run("verify", COFFER_DATA_DIR=folder)
        assert (beside.returncode, "1 wallets" in beside.stdout) == (0, True)
        assert server.stop() == 0
    assert run("verify", COFFER_DATA_DIR=folder).returncode == 2
