"""Whatever is killed, every event is recorded, once. `make faults` runs this in its long form."""

from __future__ import annotations

import time
from typing import Final

import pika
import psycopg
import pytest
from redis import Redis

from faults.stand import DELIVERY_LIMIT, FULL, LOAD_SECONDS, Stand
from testkit.programs import RunningProgram
from testkit.services import PrivateRedis
from testkit.waiting import eventually
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.inbox import LOCK
from WalletCore.topology import PREFETCH_MESSAGES, Topology

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

TAKEOVER_SECONDS: Final = 5.0
TOPOLOGY: Final = Topology("coffer", DELIVERY_LIMIT)


def test_each_api_process_is_killed() -> None:
    with Stand() as stand, stand.load("SIGKILL of each API process"):
        for _ in range(2 if FULL else 1):
            stand.service.kill()
            stand.service.start()
            time.sleep(LOAD_SECONDS / 8)
            stand.service.kill_worker()
            time.sleep(LOAD_SECONDS / 8)


def test_the_relay_is_killed_in_mid_batch() -> None:
    times = 10 if FULL else 3
    with Stand() as stand, stand.load(f"SIGKILL of the relay x {times}"):
        (relay,) = stand.relays
        for _ in range(times):
            before = relay.metric("coffer_relay_published_total")
            eventually(
                lambda then=before: (  # type: ignore[misc]
                    relay.metric("coffer_relay_published_total") > then
                ),
                "messages on their way",
            )
            relay.kill()
            relay.start()


def test_a_standby_takes_over_from_a_relay_that_is_killed() -> None:
    with Stand(relays=2) as stand, stand.load("SIGKILL of the leading relay of two"):
        leader = stand.leader()
        leader.kill()
        killed = time.monotonic()
        assert stand.leader() is not leader
        assert time.monotonic() - killed < TAKEOVER_SECONDS
        leader.start()


def test_a_standby_takes_over_from_a_relay_that_is_stopped() -> None:
    with Stand(relays=2) as stand, stand.load("SIGSTOP of the leading relay, SIGCONT"):
        leader = stand.leader()
        (standby,) = [relay for relay in stand.relays if relay is not leader]
        leader.pause()
        stopped = time.monotonic()
        eventually(lambda: standby.metric("coffer_relay_leading") == 1, "the other one leads")
        assert time.monotonic() - stopped < TAKEOVER_SECONDS
        time.sleep(LOAD_SECONDS / 4)
        leader.resume()
        eventually(lambda: leader.metric("coffer_relay_leading") == 0, "it has noticed")
        assert standby.metric("coffer_relay_leading") == 1


def test_the_worker_is_killed_with_a_full_prefetch_more_often_than_the_delivery_limit() -> None:
    times = DELIVERY_LIMIT + 2
    with Stand() as stand:
        (worker,) = stand.workers
        with (
            stand.load(f"SIGKILL of the worker x {times}, full prefetch"),
            psycopg.connect(connection_info(stand.postgres.url)) as blocking,
        ):
            for _ in range(times):
                # It gets its messages and cannot record them.
                blocking.execute(LOCK)
                eventually(
                    lambda: stand.unrecorded() >= 2 * PREFETCH_MESSAGES, "a full prefetch", 60
                )
                worker.kill()
                blocking.rollback()
                if worker is stand.workers[0]:
                    worker.start(wait=False)
                time.sleep(0.2)
            eventually(lambda: worker.health() == [], "the worker", 60)


def waiting(stand: Stand) -> set[int]:
    """The sessions of workers that have messages and wait for the lock to record them."""
    rows = stand.asked(
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = 'coffer-worker' AND wait_event_type = 'Lock'"
    )
    return {row[0] for row in rows}


def test_what_the_delivery_limit_has_put_aside_is_recorded() -> None:
    """The limit is passed for certain: nothing is recorded in between."""
    with Stand() as stand:
        (worker,) = stand.workers
        with psycopg.connect(connection_info(stand.postgres.url)) as blocking:
            blocking.execute(LOCK)
            with stand.load("delivery limit passed, dead queue drained"):
                # A killed one's session waits on for a while; each has to be another one.
                seen: set[int] = set()
                for _ in range(DELIVERY_LIMIT + 2):
                    eventually(lambda: stand.unrecorded() >= PREFETCH_MESSAGES, "prefetch", 60)
                    eventually(lambda: waiting(stand) - seen, "it has messages", 60)
                    seen.update(waiting(stand))
                    time.sleep(0.5)
                    worker.kill()
                    worker.start()
                blocking.rollback()
        eventually(lambda: worker.metric("coffer_worker_drained_total") > 0, "the sweeper", 60)


def test_rabbitmq_is_killed() -> None:
    times = 10 if FULL else 2
    with Stand() as stand, stand.load(f"SIGKILL of RabbitMQ x {times}"):
        for _ in range(times):
            stand.rabbit.kill()
            time.sleep(0.5)
            stand.rabbit.start()
            eventually(stand.is_ready, "relay and worker again", 60)
            time.sleep(LOAD_SECONDS / 10)


def test_rabbitmq_is_away() -> None:
    seconds = 60 if FULL else 6
    with Stand() as stand, stand.load(f"RabbitMQ stopped for {seconds} s"):
        stand.rabbit.kill()
        time.sleep(seconds)
        stand.rabbit.start()


def test_rabbitmqs_data_folder_is_wiped() -> None:
    with Stand() as stand:
        with stand.load("RabbitMQ's data folder wiped"):
            worker = stop_worker_with_messages_in_the_queue(stand)
            stand.rabbit.wipe()
            stand.rabbit.start()
            worker.resume()
        assert stand.relays[0].metric("coffer_relay_republished_total") > 0


def stop_worker_with_messages_in_the_queue(stand: Stand) -> RunningProgram:
    """More than a worker has taken already, so that they are lost with the queue."""
    (worker,) = stand.workers
    worker.pause()
    eventually(lambda: stand.unrecorded() >= 3 * PREFETCH_MESSAGES, "messages", 60)
    return worker


def test_the_queue_and_then_the_exchange_are_deleted() -> None:
    with Stand() as stand:
        with stand.load("queue deleted, then the exchange"):
            connection = pika.BlockingConnection(pika.URLParameters(stand.rabbit.url))
            channel = connection.channel()
            worker = stop_worker_with_messages_in_the_queue(stand)
            channel.queue_delete(TOPOLOGY.queue)
            time.sleep(LOAD_SECONDS / 8)
            channel.exchange_delete(TOPOLOGY.exchange)
            time.sleep(LOAD_SECONDS / 8)
            worker.resume()
            connection.close()
        assert stand.relays[0].metric("coffer_relay_republished_total") > 0


def test_postgresql_crashes() -> None:
    times = 3 if FULL else 2
    with Stand() as stand, stand.load(f"PostgreSQL stopped -m immediate x {times}"):
        for _ in range(times):
            stand.postgres.stop()
            time.sleep(0.5)
            stand.postgres.start()
            eventually(lambda: stand.service.missing() == [], "the service", 60)
            eventually(stand.is_ready, "relay and worker", 60)
            time.sleep(LOAD_SECONDS / 8)


def test_redis_is_killed_and_flushed() -> None:
    with (
        PrivateRedis() as redis,
        Stand(redis_url=redis.url) as stand,
        stand.load("Redis killed and flushed"),
    ):
        redis.kill()
        time.sleep(LOAD_SECONDS / 8)
        redis.start()
        time.sleep(LOAD_SECONDS / 8)
        with Redis.from_url(redis.url) as client:
            client.flushall()


@pytest.mark.parametrize("link", ["AMQP", "PostgreSQL"])
def test_a_link_is_reset_and_black_holed(link: str) -> None:
    with Stand(proxied=True) as stand, stand.load(f"{link} link reset, then black-holed"):
        proxy = stand.amqp_proxy if link == "AMQP" else stand.database_proxy
        for _ in range(3):
            proxy.reset()
            time.sleep(LOAD_SECONDS / 12)
        proxy.black_hole()
        time.sleep(25 if FULL else 3)
        proxy.restore()
        proxy.reset()


def test_several_of_each_and_one_of_each_killed() -> None:
    with Stand(relays=2, workers=3) as stand, stand.load("2 relays, 3 workers, one of each killed"):
        leader = stand.leader()
        for program in (stand.workers[0], leader, stand.workers[1]):
            program.kill()
            time.sleep(LOAD_SECONDS / 8)
            program.start()


def test_without_a_broker_the_worker_is_killed() -> None:
    times = 10 if FULL else 3
    with Stand(broker=False, workers=2) as stand, stand.load(f"no broker, worker killed x {times}"):
        for number in range(times):
            worker = stand.workers[number % 2]
            worker.kill()
            time.sleep(LOAD_SECONDS / (4 * times))
            worker.start()
