"""Publishing to a real RabbitMQ: confirmed, routed, declared anew, bounded in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
import pika
import pytest
from uuid_utils.compat import uuid7

from RestAPI import publisher as module
from RestAPI.publisher import Publisher
from testkit.proxy import Proxy
from testkit.waiting import eventually
from WalletCore.postgres.follower import DeliveryFailed, LoggedEvent
from WalletCore.topology import Topology

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RESULT_SECONDS = 20


@pytest.fixture
def topology(amqp_prefix: str) -> Topology:
    return Topology(amqp_prefix, delivery_limit=5)


@contextmanager
def publishing(url: str, topology: Topology) -> Iterator[Publisher]:
    publisher = Publisher(url, topology)
    try:
        yield publisher
    finally:
        publisher.close()


@pytest.fixture
def publisher(amqp_url: str, topology: Topology) -> Iterator[Publisher]:
    with publishing(amqp_url, topology) as found:
        assert found.wait_until_ready(RESULT_SECONDS)
        yield found


@pytest.fixture
def channel(amqp_url: str) -> Iterator[Any]:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    yield connection.channel()
    if connection.is_open:
        connection.close()


def event(
    number: int, *, traceparent: str | None = None, request_id: str | None = None
) -> LoggedEvent:
    event_id = uuid7()
    body = {"id": str(event_id), "number": number, "text": "zwölf"}
    if traceparent:
        body["traceparent"] = traceparent
    if request_id:
        body["requestid"] = request_id
    return LoggedEvent(
        number, event_id, "coffer.operation.completed", orjson.dumps(body).decode(), now()
    )


def now() -> datetime:
    return datetime.now(UTC)


def taken(channel: Any, queue: str, count: int) -> list[tuple[Any, Any, bytes]]:
    eventually(
        lambda: channel.queue_declare(queue, passive=True).method.message_count >= count, "messages"
    )
    return [channel.basic_get(queue, auto_ack=True) for _ in range(count)]


def test_messages_arrive_in_order_with_their_properties(
    publisher: Publisher, topology: Topology, channel: Any
) -> None:
    events = [
        event(
            n,
            traceparent=TRACEPARENT if n == 3 else None,
            request_id="find-me" if n in (3, 4) else None,
        )
        for n in range(1200)
    ]
    futures = [publisher.send(events[start : start + 400]) for start in (0, 400, 800)]
    for future in futures:
        assert future.result(RESULT_SECONDS) is None
    found = taken(channel, topology.queue, len(events))
    assert [orjson.loads(body)["number"] for _, _, body in found] == list(range(1200))
    for sent, (method, properties, body) in zip(events, found, strict=True):
        assert body == sent.body.encode()
        assert method.exchange == topology.exchange
        assert method.routing_key == properties.type == sent.type
        assert properties.message_id == str(sent.id)
        assert properties.app_id == "coffer"
        assert properties.content_type == "application/cloudevents+json"
        assert properties.delivery_mode == 2
        assert properties.timestamp == int(sent.created_at.timestamp())
    traced = [(p.headers or {}).get("traceparent") for _, p, _ in found[2:5]]
    assert traced == [None, TRACEPARENT, None]
    assert [p.correlation_id for _, p, _ in found[2:6]] == [None, "find-me", "find-me", None]


def test_the_queue_is_what_it_must_be(publisher: Publisher, topology: Topology) -> None:
    state = publisher.queue_state().result(RESULT_SECONDS)
    assert (state.messages, state.consumers) == (0, 0)
    publisher.send([event(1)]).result(RESULT_SECONDS)
    eventually(lambda: publisher.queue_state().result(RESULT_SECONDS).messages == 1, "the message")


def test_a_queue_that_was_deleted_is_declared_anew_and_nothing_is_confirmed_meanwhile(
    publisher: Publisher, topology: Topology, channel: Any
) -> None:
    returned = module.RETURNED._value.get()
    channel.queue_delete(topology.queue)
    with pytest.raises(DeliveryFailed, match="returned"):
        publisher.send([event(n) for n in range(10)]).result(RESULT_SECONDS)
    assert module.RETURNED._value.get() > returned
    eventually(publisher.is_ready, "ready again")
    publisher.send([event(5)]).result(RESULT_SECONDS)
    assert orjson.loads(taken(channel, topology.queue, 1)[0][2])["number"] == 5


def test_an_exchange_that_was_deleted_is_declared_anew(
    publisher: Publisher, topology: Topology, channel: Any
) -> None:
    channel.exchange_delete(topology.exchange)
    with pytest.raises(DeliveryFailed):
        publisher.send([event(1)]).result(RESULT_SECONDS)
    eventually(publisher.is_ready, "ready again")
    publisher.send([event(2)]).result(RESULT_SECONDS)


def test_a_connection_that_is_reset_fails_what_is_under_way_and_comes_back(
    amqp_url: str, topology: Topology
) -> None:
    with Proxy(address(amqp_url)) as proxy, publishing(through(amqp_url, proxy), topology) as it:
        assert it.wait_until_ready(RESULT_SECONDS)
        proxy.delay(0.3)
        future = it.send([event(1)])
        proxy.reset()
        with pytest.raises(DeliveryFailed):
            future.result(RESULT_SECONDS)
        proxy.restore()
        eventually(it.is_ready, "ready again")
        it.send([event(2)]).result(RESULT_SECONDS)


def test_a_broker_that_does_not_confirm_is_given_up(
    amqp_url: str, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_TIMEOUT_SECONDS", 0.5)
    with Proxy(address(amqp_url)) as proxy, publishing(through(amqp_url, proxy), topology) as it:
        assert it.wait_until_ready(RESULT_SECONDS)
        proxy.black_hole()
        started = time.monotonic()
        with pytest.raises(DeliveryFailed, match="no confirm within"):
            it.send([event(1)]).result(RESULT_SECONDS)
        assert time.monotonic() - started < 10
        assert not it.is_ready()
        proxy.restore()
        proxy.reset()
        assert it.wait_until_ready(RESULT_SECONDS)
        it.send([event(2)]).result(RESULT_SECONDS)


def test_without_a_broker_everything_fails_at_once() -> None:
    with publishing("amqp://guest:guest@127.0.0.1:1/%2F", Topology("none", 5)) as it:
        assert not it.wait_until_ready(0.2)
        started = time.monotonic()
        with pytest.raises(DeliveryFailed):
            it.send([event(1)]).result(RESULT_SECONDS)
        assert time.monotonic() - started < 1


def test_a_queue_with_other_arguments_is_reported(
    amqp_url: str, topology: Topology, channel: Any
) -> None:
    channel.queue_declare(topology.queue, durable=True, arguments={"x-queue-type": "quorum"})
    with publishing(amqp_url, topology) as it:
        assert not it.wait_until_ready(1)
        with pytest.raises(DeliveryFailed, match="PRECONDITION_FAILED"):
            it.send([event(1)]).result(RESULT_SECONDS)
        channel.queue_delete(topology.queue)
        assert it.wait_until_ready(RESULT_SECONDS)


def address(amqp_url: str) -> tuple[str, int]:
    parts = urlsplit(amqp_url)
    return parts.hostname or "127.0.0.1", parts.port or 5672


def through(amqp_url: str, proxy: Proxy) -> str:
    host, port = address(amqp_url)
    return amqp_url.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
