"""Traces of real processes: from the request through commit, relay and broker to the worker."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson
import psycopg
import pytest

from RestAPI.tests.running import ROOT, environment
from testkit.collector import Collector, ReceivedSpan, collecting
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.running import RunningService, free_port
from testkit.waiting import eventually
from WalletCore.otlp import CLOSE_WAIT_SECONDS
from WalletCore.postgres.connect import connection_info
from WalletCore.settings import Settings

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER: Final = "00f067aa0ba902b7"
TRACEPARENT: Final = f"00-{TRACE}-{CALLER}-01"
SERVER_KIND, CLIENT_KIND, PRODUCER_KIND, CONSUMER_KIND = 2, 3, 4, 5
STOP_SECONDS: Final = 10.0
AMOUNT: Final = "734512.25"


def ask(base_url: str, path: str, body: object, **headers: str) -> dict[str, Any]:
    """POST ``body``; the answer, which must be good."""
    address = base_url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        given = {"Content-Type": "application/json", **headers}
        connection.request("POST", f"/api/v1{path}", orjson.dumps(body), given)
        response = connection.getresponse()
        answer: dict[str, Any] = orjson.loads(response.read())
        assert response.status < 300, answer
        return answer
    finally:
        connection.close()


def deposit(base_url: str, wallet_id: str, traceparent: str | None = None) -> dict[str, Any]:
    body = {"operation_type": "DEPOSIT", "amount": AMOUNT, "reference": "secret-reference"}
    headers = {} if traceparent is None else {"traceparent": traceparent}
    return ask(base_url, f"/wallets/{wallet_id}/operation?dry_run=false", body, **headers)


def event_traceparents(url: str) -> list[str | None]:
    """Those of the whole log, oldest first."""
    with psycopg.connect(connection_info(url)) as connection:
        rows = connection.execute("SELECT body FROM coffer.events ORDER BY position").fetchall()
    return [orjson.loads(row[0]).get("traceparent") for row in rows]


@contextmanager
def everything(
    collector: Collector, url: str, amqp_url: str, prefix: str
) -> Iterator[RunningService]:
    """Server, relay and worker, with traces."""
    traced = {"otlp_endpoint": collector.url}
    broker = {"amqp_url": amqp_url, "amqp_prefix": prefix}
    programs = [RunningProgram(kind, url, **traced, **broker) for kind in (RELAY, WORKER)]
    try:
        for program in programs:
            program.start()
        eventually(lambda: all(program.is_ready() for program in programs), "both")
        with RunningService(url, workers=1, **traced) as service:
            yield service
    finally:
        for program in programs:
            program.close()


def test_one_deposit_is_one_trace_in_all_processes(
    fresh_postgres_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    url = fresh_postgres_url
    with (
        collecting() as collector,
        everything(collector, url, amqp_url, amqp_prefix) as service,
    ):
        wallet = ask(service.base_url, "/wallets", {"currency": "USD"})["id"]
        recorded = f"record {amqp_prefix}.notifications"
        eventually(lambda: collector.spans(name=recorded), "the wallet's own trace")
        deposit(service.base_url, wallet, TRACEPARENT)
        eventually(lambda: collector.spans(name=recorded, trace_id=TRACE), "the worker's span")
        eventually(lambda: len(collector.spans(trace_id=TRACE)) == 4, "all four")
        spans = {span.service: span for span in collector.spans(trace_id=TRACE, kind=SERVER_KIND)}
        (request,) = spans.values()
        assert request.service == "coffer-server"
        assert request.parent_id == CALLER
        rule = "/api/v1/wallets/<wallet_id>/operation"
        assert request.name == f"POST {rule}"
        assert request.attributes.pop("coffer.request_id")
        assert request.attributes == {
            "http.request.method": "POST",
            "http.route": rule,
            "http.response.status_code": 200,
            "url.path": f"/api/v1/wallets/{wallet}/operation",
            "url.scheme": "http",
        }
        others = {
            (span.service, span.kind): span
            for span in collector.spans(trace_id=TRACE)
            if span is not request
        }
        assert set(others) == {
            ("coffer-server", CLIENT_KIND),
            ("coffer-relay", PRODUCER_KIND),
            ("coffer-worker", CONSUMER_KIND),
        }
        for span in others.values():
            assert span.parent_id == request.span_id
            assert span.links == (request.own,)
            assert span.seconds > 0
        commit = others["coffer-server", CLIENT_KIND]
        assert commit.attributes["db.system.name"] == "postgresql"
        assert commit.attributes["coffer.batch.commands"] == 1
        for side in (others["coffer-relay", PRODUCER_KIND], others["coffer-worker", CONSUMER_KIND]):
            assert side.attributes["messaging.system"] == "rabbitmq"
            assert side.attributes["messaging.batch.message_count"] == 1
        # The event carries the request's span, and the wallet's has a trace that began here.
        first, second = event_traceparents(url)
        assert second == f"00-{TRACE}-{request.span_id}-01"
        assert first is not None
        (created,) = collector.spans(name="POST /api/v1/wallets")
        assert (created.trace_id, created.parent_id) == (first.split("-")[1], "")
        told = str(collector.spans())
        assert "secret-reference" not in told
        assert AMOUNT.partition(".")[0] not in told


def test_a_batch_has_links_to_every_request_and_each_trace_leads_to_the_end(
    fresh_postgres_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    url = fresh_postgres_url
    traces = {f"00-{number:032x}-{number:016x}-01": f"{number:032x}" for number in range(1, 11)}
    with (
        collecting() as collector,
        everything(collector, url, amqp_url, amqp_prefix) as service,
    ):
        wallet = ask(service.base_url, "/wallets", {"currency": "USD"})["id"]
        with psycopg.connect(connection_info(url)) as holder:
            # While somebody else has the wallet, all ten come together.
            holder.execute("SELECT 1 FROM coffer.wallets WHERE id = %s FOR UPDATE", (wallet,))
            threads = [
                threading.Thread(target=deposit, args=(service.base_url, wallet, traceparent))
                for traceparent in traces
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.3)
        for thread in threads:
            thread.join()

        def followable() -> bool:
            """Whether each of the traces has its request, commit, publish and record."""
            return all(
                {span.kind for span in collector.spans(trace_id=trace)}
                >= {SERVER_KIND, PRODUCER_KIND, CONSUMER_KIND}
                and len(collector.spans(trace_id=trace)) == 4
                for trace in traces.values()
            )

        eventually(followable, "all ten traces in all processes")
        asked = set(traces.values())
        requests = {s.own for s in collector.spans(kind=SERVER_KIND) if s.trace_id in asked}
        for service_name in ("coffer-server", "coffer-relay", "coffer-worker"):
            batches = [
                span
                for span in collector.spans(service=service_name)
                if span.kind != SERVER_KIND and "committed" not in span.name
                if any(name.endswith(("commands", "message_count")) for name in span.attributes)
            ]
            assert requests <= {link for span in batches for link in span.links}
            assert any(len(span.links) > 1 for span in batches), service_name
            by_id = {span.own: span for span in batches}
            assert_parts_lead_to(by_id, collector.spans(service=service_name))


def assert_parts_lead_to(
    batches: dict[tuple[str, str], ReceivedSpan], spans: list[ReceivedSpan]
) -> None:
    """What a trace has of a batch with others links to it, and is linked from there."""
    parts = [span for span in spans if span.own not in batches and span.kind != SERVER_KIND]
    assert parts
    for part in parts:
        (link,) = part.links
        assert (part.trace_id, part.parent_id) in batches[link].links


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_a_caller_that_does_not_sample_and_a_server_of_two_processes(
    fresh_postgres_url: str, web_server: str
) -> None:
    not_sampled = TRACEPARENT[:-1] + "0"
    with collecting() as collector:
        settings = {"otlp_endpoint": collector.url, "web_server": web_server}
        with RunningService(fresh_postgres_url, workers=2, **settings) as service:
            wallet = ask(service.base_url, "/wallets", {"currency": "USD"})["id"]
            deposit(service.base_url, wallet, not_sampled)
            deposit(service.base_url, wallet, "00-not-a-traceparent")
        # What was there is sent while the server stops.
        assert len(collector.spans(kind=SERVER_KIND)) == 2
        assert collector.spans(trace_id=TRACE) == []
        paths = {span.attributes["url.path"] for span in collector.spans(kind=SERVER_KIND)}
        assert not paths & {"/ping", "/health/ready"}
    created, quiet, own = event_traceparents(fresh_postgres_url)
    assert created is not None
    assert quiet is not None
    assert own is not None
    assert quiet.startswith(f"00-{TRACE}-")
    assert quiet.endswith("-00")
    assert CALLER not in quiet
    assert created.endswith("-01")
    assert own.endswith("-01")


def test_with_a_ratio_of_zero_nothing_begins_here_and_what_a_caller_wants_is_recorded(
    fresh_postgres_url: str,
) -> None:
    with collecting() as collector:
        settings = {"otlp_endpoint": collector.url, "trace_ratio": 0}
        with RunningService(fresh_postgres_url, workers=1, **settings) as service:
            wallet = ask(service.base_url, "/wallets", {"currency": "USD"})["id"]
            deposit(service.base_url, wallet, TRACEPARENT)
        assert {span.trace_id for span in collector.spans()} == {TRACE}


def test_a_collector_that_is_away_harms_nothing(fresh_postgres_url: str) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    service = RunningService(fresh_postgres_url, workers=1, otlp_endpoint=away, log_level="WARNING")
    with service:
        wallet = ask(service.base_url, "/wallets", {"currency": "USD"})["id"]
        for _ in range(300):
            deposit(service.base_url, wallet)
        eventually(lambda: "traces_not_sent" in service.log(), "the line about it", 20)
        began = time.monotonic()
        service.terminate()
        assert service.wait(STOP_SECONDS) == 0
        # The store needs next to nothing; the collector is given no more than its time.
        assert time.monotonic() - began < CLOSE_WAIT_SECONDS + 3
        lines = [line for line in service.log().splitlines() if line.startswith("{")]
        told = [orjson.loads(line)["event"] for line in lines]
        assert told == ["access_is_open", "traces_not_sent"]


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import sys\n"
        "from RestAPI.wsgi import application\n"
        "import RestAPI.relay, NotificationWorker.worker\n"
        "app = application.open()\n"
        "from RestAPI.edge import Edge\n"
        "assert type(app.wsgi_app) is Edge\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
        "application.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(COFFER_DATABASE_URL="memory://", COFFER_LOG_LEVEL="ERROR"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("wrong", ["collector:4318", "ftp://collector", "http://", "http://c/?a=b"])
def test_an_endpoint_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="the address of a collector"):
        Settings(otlp_endpoint=wrong)


@pytest.mark.parametrize(("ratio", "good"), [(0, True), (1, True), (-0.1, False), (1.1, False)])
def test_the_edges_of_the_ratio(ratio: float, good: bool) -> None:
    if good:
        assert Settings(trace_ratio=ratio).trace_ratio == ratio
    else:
        with pytest.raises(ValueError, match="trace_ratio"):
            Settings(trace_ratio=ratio)
