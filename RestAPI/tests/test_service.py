"""Who asks, how the service is doing, and the commands that show it, on real servers."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from RestAPI.rates import quantile, rates_of
from RestAPI.status import MAX_POLLED_EVENTS, PATIENCE_SECONDS, Question, Status, report
from RestAPI.tests.keyed import API, BOOTSTRAP, SETTINGS, World
from RestAPI.tests.running import ROOT, Server, environment, free_port, running
from testkit.ledgers import memory_store, postgres_store
from WalletCore.keys import Scope
from WalletCore.settings import Settings

COMMAND_SECONDS = 90


def states(status: dict[str, Any]) -> dict[str, str]:
    return {part["name"]: part["state"] for part in status["parts"]}


# -- Who asks ----------------------------------------------------------------------------------


def test_a_key_learns_what_it_may_do(world: World) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    key = world.key(Scope.READ, owner="alice", expires_at=ends)
    answer = world.call("GET", f"{API}/access", key)
    assert answer.status_code == 200
    told = answer.get_json()
    assert datetime.fromisoformat(told.pop("expires_at")) == ends
    assert told == {
        "access": "keys",
        "key_id": key.split("_")[1],
        "name": "test",
        "scopes": ["wallets:read"],
        "owner": "alice",
        "default_currency": "USD",
    }


def test_an_admin_has_every_scope(world: World) -> None:
    told = world.call("GET", f"{API}/access", BOOTSTRAP).get_json()
    assert told["scopes"] == sorted(Scope)
    assert (told["key_id"], told["expires_at"]) == ("0" * 16, None)


# -- How it is doing ---------------------------------------------------------------------------


def test_status_counts_what_happens(world: World) -> None:
    before = world.call("GET", f"{API}/status", BOOTSTRAP).get_json()
    wallet = world.wallet("alice")
    assert world.call("GET", f"{API}/wallets/{wallet}", BOOTSTRAP).status_code == 200
    time.sleep(1.1)  # for so long an answer of the store counts
    now = world.call("GET", f"{API}/status", BOOTSTRAP).get_json()
    assert now["requests"]["count"] - before["requests"]["count"] == 3
    assert now["requests"]["failed"] == before["requests"]["failed"]
    assert now["requests"]["seconds"]["count"] - before["requests"]["seconds"]["count"] == 3
    assert now["requests"]["seconds"]["buckets"][-1] == {
        "le": "+Inf",
        "count": now["requests"]["seconds"]["count"],
    }
    assert now["operations"]["entries"] - before["operations"]["entries"] == 1
    assert now["batches"]["commands"] - before["batches"]["commands"] == 2
    assert now["hot_wallets"] == [{"wallet_id": wallet, "events": 2}]
    assert states(now)["database"] == "up"
    assert now["lag"]["of_newest"] == MAX_POLLED_EVENTS


def test_in_memory_one_process_is_everything() -> None:
    with memory_store() as store:
        found = Status(SETTINGS, lambda: store.condition(MAX_POLLED_EVENTS)).read()
    assert [(part.name, str(part.state)) for part in found.parts] == [
        ("database", "up"),
        ("cache", "none"),
        ("broker", "none"),
        ("relay", "none"),
        ("worker", "up"),
    ]


def away(url: str) -> Settings:
    """Settings with a cache and a broker where nobody answers."""
    return Settings(
        database_url=SecretStr(url),
        redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}"),
        amqp_url=SecretStr(f"amqp://127.0.0.1:{free_port()}"),
    )


def test_what_is_away_is_down_in_time(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        started = time.monotonic()
        status = Status(away(fresh_postgres_url), lambda: store.condition(MAX_POLLED_EVENTS))
        found = status.read()
        assert time.monotonic() - started < PATIENCE_SECONDS + 1
    assert {part.name: str(part.state) for part in found.parts} == {
        "database": "up",
        "cache": "down",
        "broker": "down",
        "relay": "down",
        "worker": "down",
    }
    lines, healthy = report(away(fresh_postgres_url), fresh_postgres_url)
    assert not healthy
    assert lines[0].startswith("   database  PostgreSQL ")
    assert lines[1].startswith("!! cache     away: ")
    assert lines[-1].startswith("   lag       none: every event is recorded")


def test_a_database_that_is_away_is_told_as_well() -> None:
    gone = f"postgresql://coffer:secret@127.0.0.1:{free_port()}/coffer"
    lines, healthy = report(Settings(database_url=SecretStr(gone)), gone)
    assert not healthy
    assert lines[0].startswith("!! database  away: ")
    assert "secret" not in "".join(lines)


def test_a_question_is_asked_once_in_a_while_and_by_one() -> None:
    asked: list[float] = []

    def ask() -> int:
        asked.append(time.monotonic())
        time.sleep(0.2)
        return len(asked)

    question = Question(ask, 0.5)
    first = question.answer()
    assert question.answer() is first
    assert first.result(5) == 1
    assert question.answer().result(5) == 1
    time.sleep(0.6)
    assert question.answer().result(5) == 2


# -- Rates -------------------------------------------------------------------------------------


def test_quantiles_are_bounds_of_buckets() -> None:
    counts = [(0.1, 50), (0.5, 99), (1.0, 100), (float("inf"), 100)]
    assert (quantile(counts, 0.5), quantile(counts, 0.99)) == (0.1, 0.5)
    assert quantile([(0.1, 0), (float("inf"), 3)], 0.5) is None
    assert quantile([(0.1, 0), (float("inf"), 0)], 0.5) is None


def test_a_service_that_began_anew_has_no_rates(world: World) -> None:
    now = world.call("GET", f"{API}/status", BOOTSTRAP).get_json()
    assert rates_of(now, now) is None


# -- The commands ------------------------------------------------------------------------------


def command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(COLUMNS="160", **settings),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def test_top_and_demo_show_a_running_service(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        url = url_of(server)
        shown = command("tools.demo", "--url", url, "--rate", "100", "--seconds", "6")
        assert (shown.returncode, shown.stderr) == (0, "")
        last = shown.stdout.splitlines()[-1]
        for what in (
            "deposit",
            "withdrawal",
            "transfer",
            "hold,",
            "hold left to expire",
            "capture",
            "void",
            "reversal",
            "purchase",
            "gift of coins",
        ):
            assert f" {what}" in last, what
        assert last.endswith("; 0 refused")
        assert server.ask("GET", f"{API}/ledger/trial-balance")[1]["balanced"] is True
        seen = command("RestAPI", "top", "--url", url, "--once", "--interval", "0.2")
        assert seen.returncode == 0, seen.stderr
        assert "requests/s" in seen.stdout
        assert "in memory" in seen.stdout
        server.ask("POST", f"{API}/wallets", {"owner": "somebody"})
        refused = command("tools.demo", "--url", url, "--seconds", "1")
        assert refused.returncode == 2
        assert "--add" in refused.stderr
        added = command("tools.demo", "--url", url, "--seconds", "1", "--add")
        assert added.returncode == 0, added.stderr


@pytest.mark.parametrize("module", [("RestAPI", "top"), ("tools.demo",)])
def test_where_nobody_answers_they_say_so(module: tuple[str, ...]) -> None:
    gone = command(*module, "--url", f"http://127.0.0.1:{free_port()}")
    assert gone.returncode == 2
    assert "Start it with make run" in gone.stderr
    assert "Traceback" not in gone.stderr


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    with running(tmp_path, COFFER_ACCESS="keys", COFFER_BOOTSTRAP_KEY=BOOTSTRAP) as server:
        top = ("RestAPI", "top", "--url", url_of(server), "--once", "--interval", "0.2")
        refused = command(*top)
        assert (refused.returncode, "COFFER_KEY" in refused.stderr) == (2, True)
        assert command(*top, COFFER_KEY=BOOTSTRAP).returncode == 0
        file = tmp_path / "key"
        file.write_text(BOOTSTRAP + "\n")
        assert command(*top, "--key-file", str(file)).returncode == 0
