"""Both servers, started for real: what reaches the application, and how they end."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from RestAPI.reading import MAX_BODY_BYTES
from RestAPI.tests.running import Server, read_answer, running

SERVERS = ("gunicorn", "granian")
OPERATION = b'{"operation_type": "DEPOSIT", "amount": "10.50"}'
HEAD = b"Host: localhost\r\nConnection: close\r\n"


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    with running(folder, COFFER_WEB_SERVER=request.param) as started:
        yield started


@pytest.fixture
def wallet(server: Server) -> bytes:
    status, made = server.ask("POST", "/api/v1/wallets")
    assert status == 201
    return f"/api/v1/wallets/{made['id']}".encode()


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", *headers, b"Content-Type: application/json"]
    return b"\r\n".join(lines) + b"\r\n" + HEAD + b"\r\n" + body


def code_of(body: bytes) -> str:
    code: str = json.loads(body)["code"]
    return code


def test_a_wallet_lives_through_http(server: Server, wallet: bytes) -> None:
    path = wallet.decode()
    assert server.ask("POST", f"{path}/operation", json.loads(OPERATION))[0] == 200
    status, document = server.ask("GET", f"{path}/balance")
    assert (status, document["balance"]) == (200, "10.50")
    assert server.ask("GET", "/health/ready") == (200, {"status": "ready", "missing": []})


def test_memory_serves_at_once(server: Server) -> None:
    # The contract is a second; the machine of a test run is shared.
    assert server.seconds_to_first_answer < 10


def test_a_body_in_chunks(server: Server, wallet: bytes) -> None:
    chunks = b"10\r\n" + OPERATION[:16] + b"\r\n%x\r\n" % len(OPERATION[16:]) + OPERATION[16:]
    status, _, body = server.send(
        post(wallet + b"/operation", chunks + b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    )
    assert (status, json.loads(body)["amount"]) == (200, "10.50")


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
def test_a_body_of_10_mb(server: Server, wallet: bytes, chunked: bool) -> None:
    size = 10_000_000
    if chunked:
        piece = b"%x\r\n" % MAX_BODY_BYTES + b"1" * MAX_BODY_BYTES + b"\r\n"
        body = piece * (size // MAX_BODY_BYTES) + b"0\r\n\r\n"
        request = post(wallet + b"/operation", body, b"Transfer-Encoding: chunked")
    else:
        request = post(wallet + b"/operation", b"1" * size, b"Content-Length: %d" % size)
    status, headers, answer = server.send(request)
    assert (status, code_of(answer)) == (413, "body_too_large")
    assert headers["content-type"] == "application/problem+json"


def test_a_broken_chunk(server: Server, wallet: bytes) -> None:
    request = post(wallet + b"/operation", b"zz\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked")
    status, _, _ = server.send(request)
    # Granian hands the application what came before the fault; that is no JSON.
    assert status in (400, 422)


def test_a_body_that_ends_early(server: Server, wallet: bytes) -> None:
    request = post(wallet + b"/operation", OPERATION[:20], b"Content-Length: %d" % len(OPERATION))
    with server.connect() as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with suppress(OSError, http.client.HTTPException):  # no answer is one, too
            assert read_answer(connection)[0] == 400
    assert server.ask("GET", wallet.decode())[1]["version"] == 1


def test_a_key_of_10_000_characters(server: Server, wallet: bytes) -> None:
    request = post(
        wallet + b"/operation",
        OPERATION,
        b"Content-Length: %d" % len(OPERATION),
        b"Idempotency-Key: " + b"k" * 10_000,
    )
    status, headers, body = server.send(request)
    assert (status, code_of(body)) == (422, "validation_failed")
    assert headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v1/wallets/%00",
        b"/api/v1/wallets/%ff%fe",
        b"/api/v1/wallets?owner=%ff",
        b"/api/v1/wallets?owner=%00",
        b"/api/v1//wallets",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/static/..%2f..%2fapp.py",
        b"/static/%00",
        b"/api/v1/wallets/%0d%0aX-Injected:%201",
    ],
)
def test_strange_paths_get_a_problem(server: Server, path: bytes) -> None:
    status, headers, body = server.send(b"GET " + path + b" HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert status in (404, 422)
    assert headers["content-type"] == "application/problem+json"
    assert "x-injected" not in headers
    assert json.loads(body)["status"] == status


def test_a_strange_host_does_no_harm(server: Server) -> None:
    for host in (b"a b", b"<script>", b"[", b"x" * 300, b""):
        request = b"GET /api/v1/ledger/trial-balance HTTP/1.1\r\nHost: " + host
        status, _, _ = server.send(request + b"\r\nConnection: close\r\n\r\n")
        assert status in (400, 403)


def test_gunicorn_answers_what_is_no_http_with_a_problem(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        _check_problems_of_the_server(server)


def _check_problems_of_the_server(server: Server) -> None:
    for request, status, code in (
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414, "uri_too_long"),
        (
            b"GET / HTTP/1.1\r\nX-Secret: " + b"s" * 100_000 + b"\r\n\r\n",
            431,
            "headers_too_large",
        ),
    ):
        answered, headers, body = server.send(request)
        assert (answered, code_of(body)) == (status, code)
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] in server.log.read_text()
        assert b"sss" not in body
    assert "sss" not in server.log.read_text()


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_the_request_under_way(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    with running(tmp_path, COFFER_WEB_SERVER=name) as server:
        body = b"{" + b" " * 40 + b"}"
        request = post(b"/api/v1/wallets", b"", b"Content-Length: %d" % len(body))
        with server.connect() as connection:
            connection.sendall(request + body[:10])
            time.sleep(0.5)
            server.process.send_signal(number)
            time.sleep(0.5)
            connection.sendall(body[10:])
            status, _, answer = read_answer(connection)
        assert (status, json.loads(answer)["version"]) == (201, 1)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()


def test_two_processes_count_together(tmp_path: Path, fresh_postgres_url: str) -> None:
    requests = 0
    with running(tmp_path, COFFER_DATABASE_URL=fresh_postgres_url, COFFER_WORKERS="2") as server:
        folder = tmp_path / "metrics" / str(server.port)
        with ThreadPoolExecutor(8) as clients:
            # Which process takes a connection is chance; go on until both have had some.
            while len(list(folder.glob("counter_*.db"))) < 2 or requests == 0:
                answers = clients.map(lambda _: server.ask("POST", "/api/v1/wallets"), range(40))
                assert {status for status, _ in answers} == {201}
                requests += 40
        status, _, body = server.send(b"GET /metrics HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert status == 200, body
        found = re.search(
            rb'coffer_http_requests_total{method="POST",rule="/api/v1/wallets",status="201"} (\S+)',
            body,
        )
        assert found is not None
        assert float(found[1]) == requests
        assert server.stop() == 0
        # Of the gauges of what lives only the master's own is left; it holds nothing.
        assert [path.name for path in folder.glob("gauge_live*")] == [
            f"gauge_livesum_{server.process.pid}.db"
        ]
