"""The small HTTP server of relay and worker."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import orjson
import pytest

from WalletCore.monitor import Monitor


@pytest.fixture
def missing() -> list[str]:
    return []


@pytest.fixture
def monitor(missing: list[str]) -> Iterator[Monitor]:
    monitor = Monitor("127.0.0.1", 0, lambda: missing)
    yield monitor
    monitor.close()


def ask(monitor: Monitor, path: str, method: str = "GET") -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", monitor.port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    body, kind = answer.read(), answer.getheader("Content-Type", "")
    connection.close()
    return answer.status, body, kind


def test_it_is_alive_and_ready(monitor: Monitor, missing: list[str]) -> None:
    assert ask(monitor, "/health/live")[0] == 200
    status, body, kind = ask(monitor, "/health/ready")
    assert (status, orjson.loads(body)) == (200, {"status": "ready", "missing": []})
    assert kind == "application/json"
    missing.append("broker")
    status, body, _ = ask(monitor, "/health/ready")
    assert (status, orjson.loads(body)) == (503, {"status": "not ready", "missing": ["broker"]})
    assert ask(monitor, "/health/live")[0] == 200


def test_metrics_and_what_it_does_not_know(monitor: Monitor, missing: list[str]) -> None:
    status, body, kind = ask(monitor, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert b"coffer_" in body
    assert b"\ncoffer_ready 1.0\n" in body
    missing.append("broker")
    assert b"\ncoffer_ready 0.0\n" in ask(monitor, "/metrics")[1]
    assert ask(monitor, "/other")[0] == 404
    assert ask(monitor, "/metrics", "POST")[0] == 501


def test_a_client_that_says_nothing_holds_nobody_up(monitor: Monitor) -> None:
    with socket.create_connection(("127.0.0.1", monitor.port)):
        assert ask(monitor, "/health/live")[0] == 200


def test_a_port_that_is_taken(monitor: Monitor) -> None:
    with pytest.raises(OSError, match="in use"):
        Monitor("127.0.0.1", monitor.port, list)


def test_ipv6() -> None:
    if not socket.has_ipv6:
        return
    monitor = Monitor("::1", 0, list)
    connection = http.client.HTTPConnection("::1", monitor.port, timeout=5)
    connection.request("GET", "/health/live")
    assert connection.getresponse().status == 200
    connection.close()
    monitor.close()
