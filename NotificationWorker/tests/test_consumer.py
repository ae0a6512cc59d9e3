"""Consuming from a real RabbitMQ: each event once, bad messages put aside, nothing lost."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import orjson
import pika
import psycopg
import pytest

from NotificationWorker import sweeper as module
from NotificationWorker.sweeper import SWEEP_INTERVAL_SECONDS
from NotificationWorker.tests.conftest import (
    DELIVERY_LIMIT,
    Broker,
    consuming,
    message_event,
    texts,
    wait_for_texts,
)
from testkit.programs import WORKER, RunningProgram
from testkit.proxy import Proxy, proxied_url, server_address
from testkit.waiting import eventually
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.inbox import LOCK
from WalletCore.recorder import MAX_EVENT_BYTES
from WalletCore.topology import PREFETCH_MESSAGES


def test_each_event_is_recorded_in_order_and_acknowledged(
    broker: Broker, fresh_postgres_url: str
) -> None:
    url = fresh_postgres_url
    wanted = [f"text {number}" for number in range(1200)]
    broker.publish(*(message_event(text) for text in wanted))
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, wanted)
    assert texts(url) == wanted
    # Everything is acknowledged: nothing comes back when the consumer has gone.
    assert broker.waiting() == 0


def test_redelivery_duplicates_and_two_workers_leave_one_notification_each(
    broker: Broker, fresh_postgres_url: str
) -> None:
    url = fresh_postgres_url
    events = [message_event(f"text {number}") for number in range(300)]
    with consuming(broker.url, broker.topology, url), consuming(broker.url, broker.topology, url):
        for _ in range(3):
            broker.publish(*events)
        wait_for_texts(url, [event["data"]["description"] for event in events])
        eventually(lambda: broker.waiting() == 0, "an empty queue")
    with consuming(broker.url, broker.topology, url):
        broker.publish(*events[:10], message_event("last"))
        eventually(lambda: texts(url)[-1] == "last", "the last one")
    assert len(texts(url)) == 301


BAD = [
    (b"\xff\xfe", "not JSON"),
    (b"{", "not JSON"),
    (b"[]", "not a CloudEvent"),
    (orjson.dumps({"hello": "world"}), "not a CloudEvent"),
    (orjson.dumps({**message_event(), "type": "somebody.elses"}), "unknown type"),
    (orjson.dumps({**message_event(), "id": "7"}), "id is not a UUID"),
    (orjson.dumps({**message_event(), "data": {}}), "data is not that of coffer.message"),
    (orjson.dumps(message_event("nul \x00")), "not storable"),
    (orjson.dumps(message_event("x" * MAX_EVENT_BYTES)), "too large"),
]


def test_bad_messages_go_to_the_dead_queue_with_their_reason_and_harm_no_other(
    broker: Broker, fresh_postgres_url: str
) -> None:
    url = fresh_postgres_url
    good = [message_event(f"text {number}") for number in range(len(BAD) + 1)]
    broker.publish(good[0])
    for (body, _), event in zip(BAD, good[1:], strict=True):
        broker.publish(body, event)
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, [event["data"]["description"] for event in good])
        eventually(lambda: broker.waiting(broker.topology.dead_queue) == len(BAD), "the dead")
        assert broker.waiting() == 0
        # A sweep finds them and leaves them.
        time.sleep(SWEEP_INTERVAL_SECONDS + 1)
    found = broker.dead()
    # What the database refuses is known later than what cannot be read.
    assert sorted(body for _, body in found) == sorted(body for body, _ in BAD)
    reasons = {body: reason for reason, body in found}
    for body, reason in BAD:
        assert reason in reasons[body]


def test_the_edge_of_the_size(broker: Broker, fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    length = MAX_EVENT_BYTES - len(orjson.dumps(message_event("")))
    broker.publish(message_event("x" * length), message_event("y" * (length + 1)))
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, ["x" * length])
        eventually(lambda: broker.waiting(broker.topology.dead_queue) == 1, "the dead one")


def test_what_the_delivery_limit_has_put_aside_is_recorded_by_a_sweep(
    broker: Broker, fresh_postgres_url: str
) -> None:
    url = fresh_postgres_url
    wanted = [f"text {number}" for number in range(20)]
    broker.publish(*(message_event(text) for text in wanted), b"bad")
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, wanted)
        eventually(lambda: broker.waiting(broker.topology.dead_queue) == 1, "the bad one")
    again = [f"again {number}" for number in range(20)]
    broker.publish(*(message_event(text) for text in again))
    for _ in range(DELIVERY_LIMIT + 1):
        # Take all, and go away without a word.
        taking = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel: Any = taking.channel()
        while channel.basic_get(broker.topology.queue)[0] is not None:
            pass
        taking.close()
    eventually(lambda: broker.waiting(broker.topology.dead_queue) == 21, "the dead queue")
    drained = module.DRAINED._value.get()
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, [*wanted, *again])
        eventually(lambda: broker.waiting(broker.topology.dead_queue) == 1, "only the bad one")
    assert module.DRAINED._value.get() == drained + 20
    assert [body for _, body in broker.dead()] == [b"bad"]


def test_a_database_that_is_away_costs_no_delivery(broker: Broker, fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    with (
        Proxy(server_address(url)) as proxy,
        consuming(broker.url, broker.topology, proxied_url(url, proxy)) as consumer,
    ):
        broker.publish(message_event("before"))
        wait_for_texts(url, ["before"])
        proxy.refuse()
        broker.publish(message_event("while away"))
        eventually(lambda: consumer.store_away, "the loss")
        time.sleep(2)
        assert consumer.connected
        proxy.restore()
        wait_for_texts(url, ["before", "while away"])
        eventually(lambda: not consumer.store_away, "back")
    assert broker.waiting() == broker.waiting(broker.topology.dead_queue) == 0


def test_a_stop_while_the_database_is_away_keeps_the_batch(
    broker: Broker, fresh_postgres_url: str
) -> None:
    url = fresh_postgres_url
    with Proxy(server_address(url)) as proxy:
        proxy.refuse()
        away = proxied_url(url, proxy)
        with consuming(broker.url, broker.topology, away) as consumer:
            broker.publish(message_event("kept"))
            eventually(lambda: consumer.store_away, "the loss")
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, ["kept"])


def test_a_stop_finishes_the_batch(broker: Broker, fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    with psycopg.connect(connection_info(url)) as blocking:
        blocking.execute(LOCK)
        with consuming(broker.url, broker.topology, url):
            broker.publish(message_event("under way"))
            time.sleep(0.3)
            threading.Timer(0.5, blocking.rollback).start()
    # consuming() has told it to stop and waited for it.
    assert texts(url) == ["under way"]
    assert broker.waiting() == 0


def test_no_more_than_the_prefetch_is_taken(broker: Broker, fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    with psycopg.connect(connection_info(url)) as blocking:
        blocking.execute(LOCK)
        with consuming(broker.url, broker.topology, url):
            broker.publish(*(message_event(str(n)) for n in range(PREFETCH_MESSAGES + 50)))
            eventually(lambda: broker.waiting() == 50, "a full prefetch")
            blocking.rollback()
            wait_for_texts(url, [str(n) for n in range(PREFETCH_MESSAGES + 50)])


@pytest.mark.parametrize("what", ["queue", "exchange"])
def test_a_queue_or_an_exchange_that_was_deleted_is_there_again(
    broker: Broker, fresh_postgres_url: str, what: str
) -> None:
    url = fresh_postgres_url
    with consuming(broker.url, broker.topology, url) as consumer:
        broker.publish(message_event("before"))
        wait_for_texts(url, ["before"])
        if what == "queue":
            broker.channel.queue_delete(broker.topology.queue)
            eventually(lambda: not consumer.connected, "it has noticed")
            eventually(lambda: consumer.connected, "it consumes again")
        else:
            broker.channel.exchange_delete(broker.topology.exchange)
            broker.declare()
        broker.publish(message_event("after"))
        wait_for_texts(url, ["before", "after"])


def test_a_broken_connection_is_made_anew(broker: Broker, fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    parameters = pika.URLParameters(broker.url)
    with Proxy((parameters.host, parameters.port)) as proxy:
        through = broker.url.replace(f":{parameters.port}", f":{proxy.port}")
        with consuming(through, broker.topology, url) as consumer:
            proxy.reset()
            broker.publish(message_event("after"))
            wait_for_texts(url, ["after"])
            proxy.refuse()
            eventually(lambda: not consumer.connected, "away")
            broker.publish(message_event("later"))
            proxy.restore()
            wait_for_texts(url, ["after", "later"])


def test_headers_that_cannot_be_read_cost_nobody_a_delivery(
    broker: Broker, fresh_postgres_url: str
) -> None:
    """A date far beyond the year 9999, as a sender makes it who counts in milliseconds."""
    url = fresh_postgres_url
    odd = pika.BasicProperties(headers={"when": OddDate(2030, 1, 1, tzinfo=UTC)})
    broker.publish(message_event("before"))
    broker.channel.basic_publish(
        broker.topology.exchange, "coffer.message", orjson.dumps(message_event("odd")), odd
    )
    broker.channel.basic_publish(broker.topology.exchange, "coffer.message", b"bad and odd", odd)
    broker.publish(message_event("after"))
    with consuming(broker.url, broker.topology, url):
        wait_for_texts(url, ["before", "odd", "after"])
        eventually(lambda: broker.waiting(broker.topology.dead_queue) == 1, "the bad one")
        time.sleep(SWEEP_INTERVAL_SECONDS + 1)
    assert broker.waiting(broker.topology.dead_queue) == 1


class OddDate(datetime):
    """Pika sends what calendar.timegm makes of it: the 20 millionth day of a month."""

    def utctimetuple(self) -> time.struct_time:
        return time.struct_time((9999, 1, 20_000_000, 0, 0, 0, 0, 1, 0))


def test_a_silent_broker_does_not_keep_a_worker_that_is_told_to_stop(
    broker: Broker, fresh_postgres_url: str
) -> None:
    parameters = pika.URLParameters(broker.url)
    with Proxy((parameters.host, parameters.port)) as proxy:
        through = broker.url.replace(f":{parameters.port}", f":{proxy.port}")
        settings = {"amqp_url": through, "amqp_prefix": broker.topology.prefix}
        settings["amqp_delivery_limit"] = str(DELIVERY_LIMIT)
        worker = RunningProgram(WORKER, fresh_postgres_url, **settings)
        try:
            worker.start()
            eventually(worker.is_ready, "the worker")
            proxy.black_hole()
            time.sleep(0.5)
            started = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - started < 10
        finally:
            proxy.restore()
            worker.close()
