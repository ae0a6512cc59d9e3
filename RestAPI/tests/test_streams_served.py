"""Streams of notifications over the application and over both servers, started for real."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from RestAPI.app import Application, create_app
from RestAPI.gunicorn_parts import SEND_TIMEOUT_SECONDS
from RestAPI.streams import HEARTBEAT_SECONDS, PROBE_SECONDS
from RestAPI.tests.event_stream import STREAM, EventReader, Interpreter
from RestAPI.tests.running import Server, running
from testkit.following import recording
from testkit.proxy import Proxy, proxied_url, server_address
from testkit.waiting import eventually
from WalletCore.cursor import encode_cursor
from WalletCore.inbox import FOLLOWING
from WalletCore.open_store import open_store
from WalletCore.settings import MEMORY_URL, Settings

SERVERS: Final = ("gunicorn", "granian")
THREADS: Final = 4
LIMIT: Final = 2
STOP_SECONDS: Final = 2.0
SLACK_SECONDS: Final = 3.0
"""What a busy machine may add."""


@pytest.fixture
def service() -> Iterator[Application]:
    settings = Settings(database_url=SecretStr(MEMORY_URL), max_streams=1)
    store = open_store(settings)
    app = create_app(settings, store)
    yield app
    app.streams.close()
    store.close()


def send(client: FlaskClient, text: str, user_id: str = "ann") -> None:
    sent = client.post("/api/v1/events", json={"user_id": user_id, "description": text})
    assert sent.status_code == 201


def oldest(client: FlaskClient) -> list[dict[str, object]]:
    items: list[dict[str, object]] = client.get("/api/v1/notifications?order=oldest").get_json()[
        "items"
    ]
    return items


def test_the_endpoint_streams(service: Flask) -> None:
    client = service.test_client()
    with client.get(f"{STREAM}?user_id=ann") as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers.getlist("Cache-Control") == ["no-store"]
        assert "Content-Length" not in answer.headers
        send(client, "for Bob", "bob")
        send(client, "for Ann")
        parts = answer.iter_encoded()
        lines = (line for part in parts for line in part.decode().removesuffix("\n").split("\n"))
        event = next(Interpreter().feed(lines))
        assert event.data == oldest(client)[1]
    # Polling goes on where the stream was.
    assert client.get(f"/api/v1/notifications?order=oldest&cursor={event.id}").get_json() == {
        "items": [],
        "next_cursor": event.id,
    }


def test_the_last_place_and_what_to_do_without_one(service: Flask) -> None:
    client = service.test_client()
    with client.get(STREAM):
        refused = client.get(STREAM)
        assert (refused.status_code, refused.get_json()["code"]) == (503, "too_many_streams")
        assert int(refused.headers["Retry-After"]) > 0
        assert "GET /api/v1/notifications?order=oldest" in refused.get_json()["detail"]
    for _ in range(3):
        # HEAD and a refusal take no place for longer than they take.
        with client.head(STREAM) as answer:
            assert answer.status_code == 200
        assert client.get(STREAM, headers={"Last-Event-ID": "x"}).status_code == 422
    with client.get(STREAM) as answer:
        assert answer.status_code == 200


def test_the_header_goes_before_the_query(service: Flask) -> None:
    client = service.test_client()
    for text in ("one", "two", "three"):
        send(client, text)
    eventually(lambda: len(oldest(client)) == 3, "the worker")

    def first(query: str, header: str | None) -> str:
        headers = {} if header is None else {"Last-Event-ID": header}
        with client.get(f"{STREAM}?{query}", headers=headers) as answer:
            lines = (line for part in answer.iter_encoded() for line in part.decode().split("\n"))
            text: str = next(Interpreter().feed(lines)).data["text"]
            return text

    at = {number: encode_cursor(FOLLOWING, number) for number in range(3)}
    assert first(f"last_event_id={at[1]}", None) == "two"
    assert first(f"last_event_id={at[1]}", at[2]) == "three"
    # An EventSource that has no id yet is not to send the header; some send it empty.
    assert first(f"last_event_id={at[0]}", "") == "one"


# -- over the servers ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"COFFER_WEB_SERVER": request.param, "COFFER_THREADS": str(THREADS)}
    with running(folder, **settings) as started:
        yield started


def tell(server: Server, text: str, user_id: str) -> None:
    body = {"user_id": user_id, "description": text}
    assert server.ask("POST", "/api/v1/events", body)[0] == 201


def open_streams(server: Server) -> float:
    """How many there are, by the metric."""
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    found = re.search(rb"^coffer_streams (\S+)$", server.send(request)[2], re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_what_is_recorded_arrives_and_goes_on_after_a_break(server: Server) -> None:
    with EventReader(server.port, "user_id=carol") as stream:
        stream.begin()
        for text in ("one", "two"):
            tell(server, text, "carol")
        tell(server, "other", "dave")
        one, two = stream.take(2)
    assert [one.data["text"], two.data["text"]] == ["one", "two"]
    tell(server, "three", "carol")
    with EventReader(server.port, "user_id=carol", last_event_id=one.id) as stream:
        assert [event.data["text"] for event in stream.take(2)] == ["two", "three"]
    status, page = server.ask(
        "GET", f"/api/v1/notifications?user_id=carol&order=oldest&cursor={one.id}"
    )
    assert (status, [item["text"] for item in page["items"]]) == (200, ["two", "three"])


def test_streams_take_no_thread_from_others_and_a_client_that_goes_frees_its_place(
    server: Server,
) -> None:
    limit = HEARTBEAT_SECONDS + PROBE_SECONDS + SLACK_SECONDS
    eventually(lambda: open_streams(server) == 0, "the places of the test before", limit)
    with ExitStack() as held:
        streams = [held.enter_context(EventReader(server.port)) for _ in range(LIMIT)]
        for stream in streams:
            stream.begin()
        status, problem = server.ask("GET", STREAM)
        assert (status, problem["code"]) == (503, "too_many_streams")
        for _ in range(3 * THREADS):
            tell(server, "hello", "erin")
        streams[0].close()
        eventually(lambda: open_streams(server) == LIMIT - 1, "the client's leaving", limit)
        EventReader(server.port).close()


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_streams(tmp_path: Path, name: str, number: signal.Signals) -> None:
    with running(tmp_path, COFFER_WEB_SERVER=name) as server, ExitStack() as held:
        streams = [held.enter_context(EventReader(server.port)) for _ in range(3)]
        for stream in streams:
            stream.begin()
        started = time.monotonic()
        server.process.send_signal(number)
        assert [stream.rest() for stream in streams] == [[], [], []]
        assert server.process.wait(20) == 0
        assert time.monotonic() - started < STOP_SECONDS + SLACK_SECONDS
        assert "Traceback" not in server.log.read_text()


def test_a_client_that_takes_nothing_loses_its_place(tmp_path: Path) -> None:
    with running(tmp_path, COFFER_MAX_STREAMS="1") as server, socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", server.port))
        stalled.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually(lambda: open_streams(server) == 1, "the stream")
        # What the kernel takes without a reader is some megabytes at most.
        for _ in range(800):
            tell(server, "\U0001f3e0" * 1000, "frank")
        # Each send that could pass on a part of its data begins its time anew.
        limit = 4 * SEND_TIMEOUT_SECONDS
        eventually(lambda: open_streams(server) == 0, "its place", limit)
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("name", SERVERS)
def test_a_stream_outlives_the_database(tmp_path: Path, fresh_postgres_url: str, name: str) -> None:
    with (
        Proxy(server_address(fresh_postgres_url)) as proxy,
        running(
            tmp_path,
            COFFER_DATABASE_URL=proxied_url(fresh_postgres_url, proxy),
            COFFER_WORKERS="1",
            COFFER_WEB_SERVER=name,
        ) as server,
        recording(fresh_postgres_url),
        EventReader(server.port) as stream,
    ):
        stream.begin()
        tell(server, "before", "gina")
        assert stream.take(1)[0].data["text"] == "before"
        proxy.refuse()
        assert server.ask("GET", "/api/v1/notifications")[0] == 503
        time.sleep(1)
        proxy.restore()
        eventually(lambda: server.ask("GET", "/health/ready")[0] == 200, "the database")
        # The committer notices its lost connection with the first request.
        body = {"user_id": "gina", "description": "after"}
        eventually(lambda: server.ask("POST", "/api/v1/events", body)[0] == 201, "a commit")
        assert stream.take(1)[0].data["text"] == "after"
