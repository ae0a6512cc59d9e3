"""``python -m RestAPI keys`` on a real database, and a server that asks for what it made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from RestAPI.tests.running import JWT_SECRET, ROOT, environment, running
from testkit.waiting import eventually
from WalletCore.keys import parse_token

COMMAND_SECONDS = 60
ANSWER_SECONDS = 10


def keys(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "RestAPI", "keys", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def status_of(port: int, token: str) -> int:
    request = Request(
        f"http://127.0.0.1:{port}/api/v1/wallets", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_from_no_key_to_a_revoked_one(fresh_postgres_url: str, tmp_path: Path) -> None:
    database = {"COFFER_DATABASE_URL": fresh_postgres_url}
    refused = subprocess.run(
        [sys.executable, "-m", "RestAPI", "server"],
        cwd=ROOT,
        env=environment(
            COFFER_ACCESS="keys", COFFER_PORT="0", COFFER_JWT_SECRET=JWT_SECRET, **database
        ),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert refused.returncode == 2
    assert "There is no API key that works" in refused.stderr
    made = keys("create", "till 7", "--scope", "wallets:read", **database)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    parts = parse_token(token)
    assert parts is not None
    with running(tmp_path, COFFER_ACCESS="keys", **database) as server:
        assert status_of(server.port, token) == 200
        assert status_of(server.port, token[:-4]) == 401
        listed = keys("list", **database)
        assert listed.stdout.startswith(f"{parts[0]} 'till 7': wallets:read; works; made ")
        assert "last used never" not in listed.stdout
        revoked = keys("revoke", parts[0], **database)
        assert "revoked" in revoked.stdout
        eventually(lambda: status_of(server.port, token) == 401, "the key to be refused")
        log = server.log.read_text()
    assert parts[1] not in log
    assert parts[1] not in listed.stdout + revoked.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "x"), "Missing option '--scope'"),
        (("create", "x", "--scope", "everything"), "is not one of"),
        (("create", "", "--scope", "admin"), "1 to 255 characters"),
        (("create", "x" * 256, "--scope", "admin"), "1 to 255 characters"),
        (("create", "x", "--scope", "admin", "--owner", "alice"), "cannot be limited"),
        (("create", "x", "--scope", "admin", "--expires-in-days", "0"), "not in the range"),
        (("create", "x", "--scope", "admin", "--expires-in-days", "3651"), "not in the range"),
        (("revoke", "nothing"), "There is no key nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_plain_words(
    fresh_postgres_url: str, arguments: tuple[str, ...], words: str
) -> None:
    done = keys(*arguments, COFFER_DATABASE_URL=fresh_postgres_url)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_memory_has_no_keys_of_its_own() -> None:
    done = keys("list", COFFER_DATABASE_URL="memory://")
    assert (done.returncode, "memory://" in done.stderr) == (2, True)


def test_a_bootstrap_key_opens_a_database_without_keys(
    fresh_postgres_url: str, tmp_path: Path
) -> None:
    token = keys("new").stdout.strip()
    settings = {"COFFER_ACCESS": "keys", "COFFER_BOOTSTRAP_KEY": token}
    with running(tmp_path, COFFER_DATABASE_URL=fresh_postgres_url, **settings) as server:
        assert status_of(server.port, token) == 200
        secret = token.rpartition("_")[2]
        assert secret not in server.log.read_text()
