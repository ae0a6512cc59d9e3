"""What surrounds every request: ids, headers, log lines, metrics, and answers to failures."""

from __future__ import annotations

import json
import os
import re
import uuid
from typing import Any

import pytest
import structlog
from flask.testing import FlaskClient
from pydantic import SecretStr

from RestAPI.app import create_app
from WalletCore.currencies import load_currencies
from WalletCore.domain.errors import OutcomeUnknown, Overloaded, Unavailable
from WalletCore.open_store import open_store
from WalletCore.settings import MEMORY_URL, Settings
from WalletCore.store import Outcome

MEMORY = Settings(database_url=SecretStr(MEMORY_URL), redis_url=None, amqp_url=None)
SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
WALLET = f"/api/v1/wallets/{SOME_ID}"
ORDER = {"operation_type": "DEPOSIT", "amount": "1"}

EVERY_KIND = [
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/static/site.css"),
    ("GET", "/openapi.json"),
    ("GET", "/ping"),
    ("HEAD", "/ping"),
    ("POST", "/ping"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("POST", "/api/v1/wallets"),
    ("GET", "/api/v1/wallets"),
    ("GET", WALLET),
    ("GET", "/api/v1/wallets/x"),
    ("GET", "/nowhere"),
    ("DELETE", WALLET),
    ("OPTIONS", "/api/v1/wallets"),
    ("TRACE", "/api/v1/wallets"),
    ("GET", "/static/nothing.js"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_KIND)
def test_every_answer_has_its_id_and_its_headers(
    client: FlaskClient, method: str, path: str
) -> None:
    answer = client.open(path, method=method)
    answer.close()
    assert str(uuid.UUID(answer.headers["X-Request-Id"])) == answer.headers["X-Request-Id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = answer.headers["Content-Security-Policy"]
    page = path == "/" or path.startswith(("/docs", "/static"))
    assert policy.startswith("default-src 'self'" if page else "default-src 'none'")
    assert "unsafe" not in policy
    assert len(answer.headers.getlist("Content-Security-Policy")) == 1
    if not page:
        assert answer.headers["Cache-Control"] == "no-store"
    if answer.status_code >= 400:
        assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("given", ["a", "x" * 128, "trace:1/2+3=@host_-."])
def test_a_safe_request_id_is_kept(client: FlaskClient, given: str) -> None:
    for path in ("/ping", "/api/v1/wallets", "/nowhere"):
        answer = client.get(path, headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "ü", 'a"b'])
def test_any_other_request_id_is_replaced(client: FlaskClient, given: str) -> None:
    answer = client.get("/ping", environ_base={"HTTP_X_REQUEST_ID": given})
    assert uuid.UUID(answer.headers["X-Request-Id"]).version == 7


def test_ping_is_the_same_on_its_short_way(client: FlaskClient) -> None:
    assert client.get("/ping").get_json() == {"ping": "pong"}
    assert client.get("/ping").content_type == "application/json"
    head = client.head("/ping")
    assert (head.status_code, head.data) == (200, b"")
    assert client.post("/ping").status_code == 405


def test_wrong_methods_are_told_the_right_ones(client: FlaskClient) -> None:
    answer = client.delete("/api/v1/wallets")
    assert answer.status_code == 405
    assert {"GET", "HEAD", "POST"} == set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "path",
    ["/api/v1/wallets/", "//api/v1/wallets", "/api/v1//wallets", "/api/v2/wallets", "/x" * 999],
)
def test_a_path_that_is_none_is_no_redirect(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


def test_a_created_wallet_is_where_location_says(client: FlaskClient) -> None:
    made = client.post("/api/v1/wallets")
    found = client.get(made.headers["Location"])
    assert found.get_json() == made.get_json()


def test_a_replay_says_so_and_keeps_status_and_location(client: FlaskClient) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = client.post("/api/v1/wallets", headers=headers)
    again = client.post("/api/v1/wallets", headers=headers, json={})
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.data == first.data


def test_the_line_of_a_request_has_no_query_and_no_key(lines: list[Any]) -> None:
    headers = {"Idempotency-Key": "very-secret-key", "Authorization": "Bearer very-secret-key"}
    store = open_store(MEMORY)
    client = create_app(MEMORY, store).test_client()
    client.post("/api/v1/wallets?token=very-secret-key", headers=headers)
    client.get("/api/v1/wallets/%1b[31m%0aforged?owner=very-secret-key", headers=headers)
    client.get("/ping")
    store.close()
    requests = [line for line in lines if line["event"] == "request"]
    first, second, ping = requests
    assert (first["method"], first["rule"], first["status"]) == ("POST", "/api/v1/wallets", 422)
    assert second["rule"] == "/api/v1/wallets/<wallet_id>"
    assert second["path"] == "/api/v1/wallets/\\x1b[31m\\nforged"
    assert first["duration_ms"] >= 0
    assert first["log_level"] == "info"
    assert ping["log_level"] == "debug"
    assert "very-secret" not in json.dumps(lines, default=str)


def test_metrics_count_by_rule(client: FlaskClient) -> None:
    def counted(labels: str) -> float:
        text = client.get("/metrics").get_data(as_text=True)
        found = re.search(rf"coffer_http_requests_total{{{re.escape(labels)}}} (\S+)", text)
        return float(found[1]) if found else 0.0

    wallet = 'method="GET",rule="/api/v1/wallets/<wallet_id>",status="404"'
    nothing = 'method="(other)",rule="(none)",status="404"'
    before = counted(wallet), counted(nothing)
    for _ in range(3):
        client.get(f"/api/v1/wallets/{uuid.uuid4()}")
        client.open(f"/{uuid.uuid4()}", method=f"M{uuid.uuid4().hex.upper()}")
    assert (counted(wallet), counted(nothing)) == (before[0] + 3, before[1] + 3)
    answer = client.get("/metrics")
    assert answer.mimetype == "text/plain"
    for name in ("http_request_seconds", "batch_commands", "commit_seconds", "queue_commands"):
        assert f"coffer_{name}" in answer.get_data(as_text=True)


def test_nobody_who_reads_the_log_costs_no_answer() -> None:
    config = structlog.get_config()
    reader, writer = os.pipe()
    os.close(reader)
    store = open_store(MEMORY)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        structlog.configure(
            processors=[structlog.processors.JSONRenderer(serializer=json_line)],
            wrapper_class=structlog.make_filtering_bound_logger("debug"),
            logger_factory=structlog.BytesLoggerFactory(file=pipe),
        )
        try:
            with pytest.raises(BrokenPipeError):
                structlog.get_logger().info("nobody reads this")
            assert (
                create_app(MEMORY, store).test_client().post("/api/v1/wallets").status_code == 201
            )
            failed = broken(RuntimeError("nobody reads this")).get(WALLET)
        finally:
            structlog.configure(**config)
    assert (failed.status_code, failed.get_json()["code"]) == (500, "internal_error")
    store.close()


def json_line(event: Any, **_: Any) -> bytes:
    return json.dumps(event, default=repr).encode()


class BrokenStore:
    """A store that raises what it is given, for failures that a real one has no switch for."""

    currencies = load_currencies("COIN:0")

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.notifications = self

    def wallet(self, _wallet_id: object) -> Any:
        raise self.error

    def execute(
        self, _command: object, _key: object, _traceparent: object, *, dry_run: bool
    ) -> Outcome:
        assert not dry_run
        raise self.error

    def missing(self) -> list[str]:
        return ["database"]


def broken(error: Exception) -> FlaskClient:
    return create_app(MEMORY, BrokenStore(error)).test_client()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Unavailable, Overloaded, OutcomeUnknown])
def test_what_is_away_is_503_with_retry_after(kind: type[Unavailable]) -> None:
    client = broken(kind("Try again."))
    for answer in (client.get(WALLET), client.post(f"{WALLET}/operation", json=ORDER)):
        assert (answer.status_code, answer.get_json()["code"]) == (503, kind.code)
        assert answer.headers["Retry-After"] == "1"


def test_a_defect_tells_nothing_but_to_the_log(lines: list[Any]) -> None:
    client = broken(RuntimeError("SELECT password FROM users"))
    answer = client.get(WALLET, headers={"X-Request-Id": "find-me"})
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert "SELECT" not in answer.get_data(as_text=True)
    assert answer.headers["X-Request-Id"] == "find-me"
    (line,) = [line for line in lines if line["event"] == "request_failed"]
    assert line["request_id"] == "find-me"
    assert isinstance(line["exc_info"], RuntimeError)


def test_readiness_names_what_is_missing_and_liveness_does_not_ask() -> None:
    client = broken(RuntimeError())
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.headers["Retry-After"] == "1"
    assert ready.get_json() == {"status": "not ready", "missing": ["database"]}
    assert client.get("/health/live").get_json() == {"status": "alive"}


class AwayStore(BrokenStore):
    """One that cannot even say what is missing."""

    def missing(self) -> list[str]:
        raise Overloaded("Every connection for reads is busy; retry.")


def test_the_metrics_say_whether_everything_is_there_and_are_given_anyhow(
    client: FlaskClient,
) -> None:
    away = create_app(MEMORY, AwayStore(RuntimeError())).test_client()  # type: ignore[arg-type]
    for asked, ready in ((broken(RuntimeError()), 0), (client, 1), (away, 0)):
        answer = asked.get("/metrics")
        assert answer.status_code == 200
        assert f"\ncoffer_ready {ready}.0\n" in answer.get_data(as_text=True)
