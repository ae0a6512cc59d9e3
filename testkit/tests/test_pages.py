"""What the pages of the documentation tell to type is typed, and prints what they say."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit import services
from testkit.pages import Block, blocks, matches, run_page
from testkit.running import ROOT, RunningService, free_port
from testkit.tests.test_coffer import Run
from WalletCore.local_postgres import SUPERUSER, LocalPostgres
from WalletCore.postgres_binaries import account_for, find_binaries

DOCS = ROOT / "docs"
ADDRESS = "127.0.0.1:8000"

NOT_RUN_PAGES = {
    "containers.md": "needs Docker, and is run by hand",
    "benchmarks.md": "measures for minutes",
    "metrics.md": "a table with a test of its own",
    "tracing-and-profiling.md": "needs a collector; the commands have tests of their own",
}
NOT_RUN_BLOCKS = {
    "first-hour.md": {"make run": "the tests start it themselves, in a folder of their own"},
}
README_SECTION = "## A first session"
README_LEFT_OUT = "notifications/stream"
"""Goes on until Ctrl-C."""

PAGES = sorted(
    path.name
    for path in DOCS.glob("*.md")
    if path.name not in NOT_RUN_PAGES
    and any(block.language == "sh" for block in blocks(path.read_text()))
)


class Stand:
    """A service as `make run` starts it, on a PostgreSQL that keeps an archive of its log."""

    def __init__(self) -> None:
        self.home = services.new_folder("pages")
        # Whoever PostgreSQL runs as writes there, and whoever runs the tests.
        for name in ("archive", "backups", "run"):
            (self.home / name).mkdir()
            (self.home / name).chmod(0o777)
        self.postgres = LocalPostgres(
            self.home / "run",
            {
                **services.POSTGRES_SETTINGS,
                "archive_mode": "on",
                "archive_command": f"cp %p {self.home}/archive/%f",
            },
            self.home / "run/socket",
        )
        self.port = free_port()
        self.url = ""

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        self.url = self.postgres.start()
        try:
            run = Run(
                self.home / "run",
                self.port,
                COFFER_DATABASE_URL=self.url,
                COFFER_RELAY_PORT="0",
                COFFER_WORKER_PORT="0",
            )
            with contextlib.closing(run):
                run.wait_until_ready()
                yield
        finally:
            self.postgres.stop(immediate=True)
            shutil.rmtree(self.home)

    def environment(self) -> dict[str, str]:
        """That of a shell beside the service."""
        folder = self.postgres.folder
        account = account_for(folder)
        version = int((folder / "PG_VERSION").read_text())
        binaries = find_binaries(version, account)
        shims = self.home / "shims"
        shims.mkdir(exist_ok=True)
        # As root PostgreSQL does not start: what pg_ctl is told goes to the user that it runs as.
        shim = shims / "pg_ctl"
        become = ""
        if account.uid is not None:
            become = (
                f"chown -R {account.uid}:{account.gid} {self.home}/backups\n"
                f"exec setpriv --reuid={account.uid} --regid={account.gid} --clear-groups "
            )
        shim.write_text(f'#!/bin/sh\n{become or "exec "}{binaries}/pg_ctl "$@"\n')
        shim.chmod(0o755)
        path = [str(shims), str(binaries), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "COFFER_DATABASE_URL": self.url,
            "COFFER_DATA_DIR": str(self.home / "run"),
            "COFFER_PORT": str(self.port),
            "BACKUPS": str(self.home / "backups"),
            "ARCHIVE": str(self.home / "archive"),
            "PGHOST": str(self.home / "run/socket"),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": (folder / "coffer.password").read_text(),
            "PGDATABASE": "postgres",
        }


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    services.require_postgres_binaries()
    made = Stand()
    with made.serving():
        yield made


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", PAGES)
def test_page(stand: Stand, name: str) -> None:
    page = (DOCS / name).read_text()
    found = run_page(page, ROOT, stand.environment(), {ADDRESS: f"127.0.0.1:{stand.port}"})
    assert found == [], "\n".join(found)


def test_the_first_session_of_the_readme(stand: Stand) -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.partition(README_SECTION)[2].partition("\n## ")[0]
    kept = [line for line in section.split("\n") if README_LEFT_OUT not in line]
    assert len(kept) == len(section.split("\n")) - 1
    replaced = {ADDRESS: f"127.0.0.1:{stand.port}", "curl -s ": "curl -s --max-time 20 "}
    assert run_page("\n".join(kept), ROOT, stand.environment(), replaced) == []


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    for path in DOCS.glob("*.md"):
        if path.name in NOT_RUN_PAGES:
            continue
        left = {
            block.text.strip()
            for block in blocks(path.read_text())
            if block.language in ("", "bash", "console", "shell")
        }
        assert left == NOT_RUN_BLOCKS.get(path.name, {}).keys(), path.name


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (DOCS / "README.md").read_text()
    for path in DOCS.glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in contents, path.name


def test_links_lead_somewhere() -> None:
    for path in (*DOCS.glob("*.md"), ROOT / "README.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)


def test_the_client_in_the_page_is_the_file() -> None:
    page = (DOCS / "idempotency.md").read_text()
    client = (DOCS / "examples/pay.py").read_text()
    assert [block.text for block in blocks(page) if block.language == "python"] == [client]


@pytest.mark.parametrize(
    ("wanted", "printed", "good"),
    [
        ("a\n", "a\n\n", True),
        ("a", "b", False),
        ("a ... c", "a b c", True),
        ("a ... c", "a\nc", False),
        ("a\n...\nc", "a\nb\nb\nc", True),
        ("a\n...\nc", "a\nc", True),
        ("a\n...", "b\na", False),
        ("1.5", "145", False),
    ],
)
def test_wildcards(wanted: str, printed: str, good: bool) -> None:
    assert matches(wanted, printed) is good


def test_a_page_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    page = "```sh\nx=1; echo $x\n```\n\n```text\n2\n```\n"
    assert "line 1: the page says\n2" in run_page(page, tmp_path, os.environ, {})[0]
    page = "# A\n\n```sh\necho fine\n```\n```sh\nfalse\n```\n```sh\necho no\n```\n"
    assert run_page(page, tmp_path, os.environ, {})[0].startswith("line 6 ended with 1")
    page = "```sh\nx=1\n```\nThen:\n```sh\necho $x HOST\n```\n```text\n1 there\n```\n"
    assert run_page(page, tmp_path, os.environ, {"HOST": "there"}) == []
    assert blocks(page)[1] == Block("sh", "echo $x HOST\n", 5)


@pytest.mark.faults
def test_the_client_pays_once_while_the_service_is_killed(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed at moments that nobody chose, and every order is done exactly once."""
    monkeypatch.syspath_prepend(str(DOCS / "examples"))
    pay = importlib.import_module("pay")

    orders, paid = 40, []
    with RunningService(fresh_postgres_url, workers=1) as service:
        api = f"{service.base_url}/api/v1"
        _, wallet = pay.post(f"{api}/wallets", {}, key="wallet")
        stopped = threading.Event()

        def kill_and_start() -> None:
            for _ in range(2):
                time.sleep(0.3)
                service.kill()
                service.start()
            stopped.set()

        killer = threading.Thread(target=kill_and_start)
        killer.start()
        number = 0
        while number < orders or not stopped.is_set():
            number += 1
            status, answer = pay.post(
                f"{api}/wallets/{wallet['id']}/operation",
                {"operation_type": "DEPOSIT", "amount": "1.00"},
                key=f"order-{number}",
            )
            assert status == 200
            paid.append(answer["new_balance"])
        killer.join()
        assert paid == [f"{count}.00" for count in range(1, number + 1)]
        # Given up on is not refused: what is wrong is told at once, and not tried again.
        began = time.monotonic()
        status, answer = pay.post(
            f"{api}/wallets/{wallet['id']}/operation",
            {"operation_type": "WITHDRAW", "amount": "100000.00"},
            key="too-much",
        )
        assert (status, answer["code"]) == (400, "insufficient_funds")
        assert time.monotonic() - began < 5
    with pytest.raises(TimeoutError, match="order-x"):
        pay.post(f"{api}/wallets", {}, key="order-x", limit=1)
