"""Real processes are killed and stopped under load, and the account must be right every time.

Every operation that was acknowledged is in the ledger once; every other one once or not at all, and
a retry with its key finds out which. The tests print what they counted (``pytest -s -n0``).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

import psycopg
import pytest

from testkit.ledgers import audit
from testkit.load import Account, Load, Reply, Session, operation, times_done
from testkit.running import RunningService
from testkit.services import PrivatePostgres, TestDatabases
from testkit.waiting import eventually
from WalletCore.postgres import migrate
from WalletCore.postgres.connect import (
    LOCK_TIMEOUT_SECONDS,
    START_WAIT_SECONDS,
    connection_info,
)
from WalletCore.postgres.partitions import RETRY_INTERVAL_SECONDS
from WalletCore.postgres.verify import verify

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

KILLS: Final = 3 if os.environ.get("CI") == "true" else 10
CRASHES: Final = 2
WALLETS: Final = 5
EXIT_LIMIT_SECONDS: Final = 30.0
AWAY_SECONDS: Final = 3.0
NEW_PROCESS_LIMIT_SECONDS: Final = START_WAIT_SECONDS / 2
"""Far less than a start may wait for its database: a process that is replaced must not."""
BETWEEN_FAULTS: Final = 60
"""Operations that are acknowledged before the next fault comes."""


def new_wallets(base_url: str) -> list[str]:
    session = Session(base_url)
    wallets = [session.new_wallet(balance=20) for _ in range(WALLETS)]
    session.close()
    return wallets


def settle_and_check(load: Load, url: str, title: str) -> Account:
    """Ask the ledger, then the keys, and compare the two; print the account and return it."""
    keys = [attempt.key for attempt in load.attempts]
    unknown = [attempt for attempt in load.attempts if attempt.state == "unknown"]
    before = times_done(url, keys)
    assert set(load.statuses()) <= {0, 200, 400, 503}, load.statuses()
    for attempt in load.attempts:
        expected = {"acknowledged": {1}, "refused": {0}, "unknown": {0, 1}}[attempt.state]
        assert before[attempt.key] in expected, attempt
    load.settle()
    # The key told the truth: what the ledger held already was replayed, the rest was done now.
    for attempt in unknown:
        assert attempt.recovered == (before[attempt.key] == 1), attempt
    after = times_done(url, keys)
    account = load.account(after, unknown=len(unknown))
    print(f"\n{title:<22}{Account.head()}\n{'':<22}{account.row()}")  # noqa: T201 - it is asked for
    assert (account.lost, account.duplicated) == (0, 0)
    assert sum(after.values()) == account.acknowledged
    assert account.acknowledged + account.refused == account.attempted
    assert list(verify(url))[-1].difference is None
    assert audit(url) == []
    return account


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_the_server_is_killed_under_load(fresh_postgres_url: str, web_server: str) -> None:
    with RunningService(fresh_postgres_url, web_server=web_server) as service:
        load = Load(service.base_url, new_wallets(service.base_url))
        load.start()
        for _ in range(KILLS):
            load.go_on(BETWEEN_FAULTS)
            service.kill()
            service.start()
        load.go_on(BETWEEN_FAULTS)
        load.stop()
        account = settle_and_check(load, fresh_postgres_url, f"SIGKILL x {KILLS}")
        assert account.unknown > 0


def test_one_process_is_killed_under_load_and_another_takes_its_place(
    fresh_postgres_url: str,
) -> None:
    with RunningService(fresh_postgres_url) as service:
        load = Load(service.base_url, new_wallets(service.base_url))
        load.start()
        for _ in range(KILLS):
            load.go_on(BETWEEN_FAULTS)
            victims = service.processes()
            service.kill_worker()
            eventually(
                lambda then=victims: (  # type: ignore[misc]
                    len(service.processes()) == len(then) and service.processes() != then
                ),
                "another process",
            )
        load.go_on(BETWEEN_FAULTS)
        load.stop()
        settle_and_check(load, fresh_postgres_url, f"one process x {KILLS}")


def test_postgresql_crashes_under_load() -> None:
    with PrivatePostgres() as postgres:
        migrate.upgrade(postgres.url)
        with RunningService(postgres.url) as service:
            load = Load(service.base_url, new_wallets(service.base_url))
            load.start()
            for _ in range(CRASHES):
                load.go_on(BETWEEN_FAULTS)
                postgres.stop()
                eventually(lambda: service.missing() == ["database"], "not ready")
                postgres.start()
                eventually(lambda: service.missing() == [], "ready by itself")
            load.go_on(BETWEEN_FAULTS)
            load.stop()
            # The service itself never went away: no connection broke, and it said 503.
            assert {200, 503} <= set(load.statuses()) <= {200, 400, 503}
            settle_and_check(load, postgres.url, f"PostgreSQL x {CRASHES}")
            assert "Traceback" not in service.log()


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_processes_are_replaced_while_the_database_is_away(web_server: str) -> None:
    with PrivatePostgres() as postgres:
        migrate.upgrade(postgres.url)
        with RunningService(postgres.url, web_server=web_server) as service:
            wallets = new_wallets(service.base_url)
            postgres.stop()
            eventually(lambda: service.missing() == ["database"], "not ready")
            first = service.processes()
            service.kill_worker()
            # The other one goes on.
            deadline = time.monotonic() + AWAY_SECONDS
            while time.monotonic() < deadline:
                eventually(lambda: service.missing() == ["database"], "the other process")
                time.sleep(0.2)
            # The new one serves: when the others are killed too, there are only new ones.
            for pid in set(first) & set(service.processes()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            eventually(
                lambda: service.missing() == ["database"] and not set(first) & living(service),
                "an answer of the new processes",
                NEW_PROCESS_LIMIT_SECONDS,
            )
            postgres.start()
            # A new process does not know of any partition before its next look.
            eventually(lambda: service.missing() == [], "ready again", 2 * RETRY_INTERVAL_SECONDS)
            session = Session(service.base_url)
            for _ in range(BETWEEN_FAULTS):
                reply = session.ask("POST", f"/wallets/{wallets[0]}/operation", operation(1))
                assert reply.status == 200
            session.close()
            assert list(verify(postgres.url))[-1].difference is None


def living(service: RunningService) -> set[int]:
    return set(service.processes())


@contextmanager
def locked(url: str, wallet_ids: list[str]) -> Iterator[None]:
    """Hold the wallets' rows, so that what moves their money is under way for as long."""
    with psycopg.connect(connection_info(url)) as connection:
        connection.execute(
            "SELECT FROM coffer.wallets WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE",
            (wallet_ids,),
        )
        yield


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_sigterm_lets_every_request_finish_that_is_under_way(
    fresh_postgres_url: str, web_server: str
) -> None:
    requests = 12
    with RunningService(fresh_postgres_url, web_server=web_server, threads=16) as service:
        (wallet_id, *_) = new_wallets(service.base_url)
        sessions = [Session(service.base_url) for _ in range(requests)]
        with ThreadPoolExecutor(requests) as pool:

            def send(session: Session) -> Reply:
                return session.ask("POST", f"/wallets/{wallet_id}/operation", operation(1))

            with locked(fresh_postgres_url, [wallet_id]):
                locked_at = time.monotonic()
                sent = [pool.submit(send, session) for session in sessions]
                eventually(lambda: waits_for_a_lock(fresh_postgres_url), "a request at the lock")
                eventually(service.has_read_everything, "all requests read")
                service.terminate()
                assert not any(future.done() for future in sent)
                held_seconds = time.monotonic() - locked_at
            replies = [future.result() for future in sent]
        assert service.wait(EXIT_LIMIT_SECONDS) == 0
        if held_seconds < LOCK_TIMEOUT_SECONDS:
            assert [reply.status for reply in replies] == [200] * requests
        with psycopg.connect(connection_info(fresh_postgres_url)) as connection:
            row = connection.execute(
                "SELECT balance FROM coffer.wallets WHERE id = %s", (wallet_id,)
            ).fetchone()
        assert row == (20 + sum(reply.status == 200 for reply in replies),)
        for session in sessions:
            session.close()


def waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(connection_info(url)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'coffer-committer' AND wait_event_type = 'Lock'"
        ).fetchone()
    return bool(row and row[0])


def test_sigterm_under_load_ends_in_time_and_loses_nothing(fresh_postgres_url: str) -> None:
    with RunningService(fresh_postgres_url) as service:
        load = Load(service.base_url, new_wallets(service.base_url))
        load.start()
        for _ in range(2):
            load.go_on(BETWEEN_FAULTS)
            started = time.monotonic()
            service.terminate()
            assert service.wait(EXIT_LIMIT_SECONDS) == 0
            assert time.monotonic() - started < EXIT_LIMIT_SECONDS
            service.start()
        load.go_on(BETWEEN_FAULTS)
        load.stop()
        account = settle_and_check(load, fresh_postgres_url, "SIGTERM x 2")
        # What was done was answered: no request under way lost its connection.
        assert account.recovered == 0, [
            (attempt.key, attempt.statuses) for attempt in load.attempts if attempt.recovered
        ]


def test_a_stop_reaches_a_process_that_is_only_starting(fresh_postgres_url: str) -> None:
    """Until it has handlers of its own it has those of gunicorn's master, which do nothing here:
    it would serve on until it is killed, and what it does then goes unanswered."""
    with RunningService(fresh_postgres_url) as service:
        before = set(service.processes())
        service.kill_worker()
        eventually(lambda: set(service.processes()) - before, "another process")
        (new,) = set(service.processes()) - before
        service.terminate()
        assert service.wait(EXIT_LIMIT_SECONDS) == 0
        assert f"Worker exiting (pid: {new})" in service.log()


def test_a_second_server_takes_over_while_the_first_one_stops(
    test_databases: TestDatabases,
) -> None:
    """As in a rolling update: clients of the one that stops find the other."""
    with (
        test_databases.migrated() as url,
        RunningService(url) as first,
        RunningService(url) as second,
    ):
        wallets = new_wallets(first.base_url)
        loads = [Load(service.base_url, wallets, threads=4) for service in (first, second)]
        for load in loads:
            load.start()
            load.go_on(BETWEEN_FAULTS)
        first.terminate()
        assert first.wait(EXIT_LIMIT_SECONDS) == 0
        loads[1].go_on(BETWEEN_FAULTS)
        for load in loads:
            load.stop()
        # What the first one left unknown, the second one knows.
        loads[0].base_url = second.base_url
        for load in loads:
            account = settle_and_check(load, url, "one of two")
            assert account.recovered == 0, [
                (attempt.key, attempt.statuses) for attempt in load.attempts if attempt.recovered
            ]
