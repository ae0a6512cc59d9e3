"""The relay and `status` as processes, and what they say when they cannot run."""

from __future__ import annotations

import subprocess
import sys
import time

import pika
import psycopg
import pytest

from RestAPI.tests.running import ROOT, environment
from testkit.following import wait_until_recorded
from testkit.ledgers import deposit, new_wallet, postgres_store
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.proxy import Proxy
from testkit.waiting import eventually
from WalletCore.postgres.connect import connection_info

TIMEOUT_SECONDS = 60


def run(*arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and output of ``python -m`` with these arguments."""
    answer = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return answer.returncode, answer.stdout + answer.stderr


@pytest.mark.parametrize("program", [("RestAPI", "relay"), ("NotificationWorker",)])
def test_memory_is_refused_with_a_clear_word(program: tuple[str, ...]) -> None:
    code, output = run(*program, COFFER_DATABASE_URL="memory://")
    assert code == 2
    assert "memory:// keeps everything in the one process" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("program", [("RestAPI", "relay"), ("NotificationWorker",)])
def test_tables_that_are_missing_are_named(
    program: tuple[str, ...], empty_postgres_url: str
) -> None:
    code, output = run(*program, COFFER_DATABASE_URL=empty_postgres_url)
    assert code == 2
    assert "python -m RestAPI migrate" in output


def test_everything_from_the_service_to_the_notification(
    fresh_postgres_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    url = fresh_postgres_url
    settings = {"amqp_url": amqp_url, "amqp_prefix": amqp_prefix}
    relay = RunningProgram(RELAY, url, **settings)
    worker = RunningProgram(WORKER, url, **settings)
    try:
        relay.start()
        worker.start()
        eventually(lambda: relay.is_ready() and worker.is_ready(), "both")
        with postgres_store(url) as store:
            wallet_id = new_wallet(store)
            for _ in range(20):
                store.execute(deposit(wallet_id, 10))
            wait_until_recorded(url)
        eventually(lambda: relay.metric("coffer_relay_confirmed_total") == 21, "confirms")
        assert relay.metric("coffer_relay_leading") == 1
        eventually(lambda: relay.metric("coffer_relay_queue_consumers") == 1, "its worker")
        assert relay.metric("coffer_relay_queue_messages") == 0
        eventually(
            lambda: (
                0 <= time.time() - relay.metric("coffer_relay_housekeeping_timestamp_seconds") < 60
            ),
            "housekeeping",
        )
        assert relay.metric("coffer_relay_housekeeping_failures_total") == 0
        assert worker.metric("coffer_ready") == relay.metric("coffer_ready") == 1
        eventually(lambda: relay.metric("coffer_relay_lag_events") == 0, "no lag")
        assert worker.metric("coffer_worker_recorded_total") == 21
        assert worker.metric("coffer_worker_end_to_end_seconds_count") == 21
        told = [line for line in worker.events() if "has been sent to" in line["event"]]
        assert len(told) == 21
        last = told[-1]
        assert last["description"] == "Deposit of 10.00 USD, balance 200.00 USD"
        assert last["event"] == (
            f"Event {last['event_id']} has been sent to nobody: {last['description']}"
        )
        code, output = status(url, settings)
        assert code == 0, output
        for line in ("one leads, 0 stand by", "1: consuming", "every event is recorded"):
            assert line in output
        # A relay and a worker that are told to stop do so in time.
        assert (relay.stop(), worker.stop()) == (0, 0)
        code, output = status(url, settings)
        assert code == 1
        assert "none leads" in output
    finally:
        relay.close()
        worker.close()


def status(url: str, settings: dict[str, str]) -> tuple[int, str]:
    named = {f"COFFER_{name.upper()}": value for name, value in settings.items()}
    return run("RestAPI", "status", COFFER_DATABASE_URL=url, **named)


def test_status_names_what_is_away(fresh_postgres_url: str) -> None:
    code, output = run(
        "RestAPI",
        "status",
        COFFER_DATABASE_URL=fresh_postgres_url,
        COFFER_AMQP_URL="amqp://guest:guest@127.0.0.1:1/",
        COFFER_REDIS_URL="redis://127.0.0.1:1/0",
    )
    assert code == 1
    assert "broker    away" in output
    assert "cache     away" in output
    assert "guest" not in output
    code, output = run(
        "RestAPI", "status", COFFER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"
    )
    assert code == 1
    assert "database  away" in output


def test_a_relay_without_a_broker_says_so_and_keeps_house(fresh_postgres_url: str) -> None:
    with psycopg.connect(connection_info(fresh_postgres_url)) as connection:
        connection.execute(
            "INSERT INTO coffer.idempotency_keys VALUES "
            "('', 'old', decode(repeat('00', 32), 'hex'), 200, '{}', now() - interval '8 days')"
        )
    relay = RunningProgram(RELAY, fresh_postgres_url)
    try:
        relay.start()

        def forgotten() -> bool:
            with psycopg.connect(connection_info(fresh_postgres_url)) as asking:
                row = asking.execute("SELECT count(*) FROM coffer.idempotency_keys").fetchone()
            return row == (0,)

        eventually(forgotten, "the old key forgotten")
        assert any(line["event"] == "no_broker" for line in relay.events())
        assert relay.stop() == 0
    finally:
        relay.close()


def test_a_broker_that_comes_later_is_found(
    fresh_postgres_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    url = fresh_postgres_url
    address = pika.URLParameters(amqp_url)
    with Proxy((address.host, address.port)) as proxy:
        proxy.refuse()
        through = amqp_url.replace(f":{address.port}", f":{proxy.port}")
        relay = RunningProgram(RELAY, url, amqp_url=through, amqp_prefix=amqp_prefix)
        try:
            relay.start()
            eventually(lambda: relay.health() == ["broker"], "what is missing")
            with postgres_store(url) as store:
                new_wallet(store)
            eventually(lambda: relay.metric("coffer_relay_lag_events") == 1, "a lag")
            proxy.restore()
            eventually(relay.is_ready, "the broker")
            eventually(lambda: relay.metric("coffer_relay_confirmed_total") == 1, "the event")
            eventually(lambda: relay.metric("coffer_relay_lag_events") == 0, "no lag")
            assert relay.stop() == 0
        finally:
            relay.close()
