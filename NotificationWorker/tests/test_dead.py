"""``python -m NotificationWorker dead``, as it is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pika
import pytest

from NotificationWorker.dead_letters import DeadLetters
from NotificationWorker.tests.conftest import Broker, message_event
from testkit.waiting import eventually

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 30


def dead(broker: Broker, *arguments: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COFFER_")}
    answer = subprocess.run(
        [sys.executable, "-m", "NotificationWorker", "dead", *arguments],
        cwd=ROOT,
        env={
            **kept,
            "COFFER_AMQP_URL": broker.url,
            "COFFER_AMQP_PREFIX": broker.topology.prefix,
        },
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return answer.returncode, answer.stdout + answer.stderr


@pytest.fixture
def filled(broker: Broker) -> Broker:
    """A dead queue with three messages, m1 to m3."""
    letters = DeadLetters(broker.connection, broker.topology)
    for number in (1, 2, 3):
        properties = pika.BasicProperties(message_id=f"m{number}", type="coffer.message")
        letters.put(orjson.dumps(message_event(f"text {number}")), properties, f"reason {number}")
    letters.close()
    eventually(lambda: broker.waiting(broker.topology.dead_queue) == 3, "three messages")
    return broker


def dead_count(broker: Broker) -> int:
    return broker.waiting(broker.topology.dead_queue)


def test_list_shows_them_and_leaves_them(filled: Broker) -> None:
    for _ in range(3):
        code, output = dead(filled, "list")
        assert code == 0
        assert [f"m{n}" in output and f"reason {n}" in output for n in (1, 2, 3)] == [True] * 3
        assert "3 dead messages" in output
    eventually(lambda: dead_count(filled) == 3, "all of them")


def test_show_shows_one_whole(filled: Broker) -> None:
    code, output = dead(filled, "show", "m2")
    assert code == 0
    assert "x-coffer-reason: reason 2" in output
    assert '"description":"text 2"' in output
    assert "text 1" not in output
    eventually(lambda: dead_count(filled) == 3, "all of them")


def test_retry_sends_it_to_the_workers_without_the_reason(filled: Broker) -> None:
    assert dead(filled, "retry", "m2") == (0, "1 sent again.\n")
    eventually(lambda: dead_count(filled) == 2, "two left")
    _, properties, body = filled.channel.basic_get(filled.topology.queue, auto_ack=True)
    assert properties.message_id == "m2"
    assert set(properties.headers or {}) <= {"x-delivery-count"}
    assert orjson.loads(body)["data"]["description"] == "text 2"
    assert dead(filled, "retry", "--all") == (0, "2 sent again.\n")
    eventually(lambda: (dead_count(filled), filled.waiting()) == (0, 2), "all of them")


def test_purge_throws_away_what_it_is_told_and_asks_first(filled: Broker) -> None:
    code, output = dead(filled, "purge", "--all", stdin="n\n")
    assert (code, "Aborted" in output) == (1, True)
    assert dead_count(filled) == 3
    assert dead(filled, "purge", "m1", "--yes") == (0, "1 thrown away.\n")
    eventually(lambda: dead_count(filled) == 2, "two left")
    code, output = dead(filled, "purge", "--all", stdin="y\n")
    assert (code, "2 thrown away." in output) == (0, True)
    eventually(lambda: dead_count(filled) == 0, "none left")


def test_what_is_wrong_is_said(filled: Broker) -> None:
    assert dead(filled, "show", "m9")[0] == 2
    assert "no dead message m9" in dead(filled, "show", "m9")[1]
    assert "--all" in dead(filled, "retry")[1]
    assert "--all" in dead(filled, "purge", "m1", "--all", "--yes")[1]
    filled.channel.queue_delete(filled.topology.dead_queue)
    code, output = dead(filled, "list")
    assert code == 2
    assert "once a worker ran" in output
    filled.declare()


def test_without_a_broker(broker: Broker) -> None:
    broker.url = "amqp://guest:guest@127.0.0.1:1/"
    code, output = dead(broker, "list")
    assert code == 2
    assert "cannot be reached" in output
    broker.url = ""
    code, output = dead(broker, "list")
    assert code == 2
    assert "COFFER_AMQP_URL is not set" in output
