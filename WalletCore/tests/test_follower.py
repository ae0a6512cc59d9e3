"""Following the log: every event in order, none lost, the place kept behind what is confirmed."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.following import FakeSink, Following, log_ids, recording, wait_until_recorded
from testkit.ledgers import deposit, new_wallet, postgres_store
from testkit.services import TestDatabases
from testkit.waiting import eventually
from WalletCore.postgres import follower as module
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.event_log import Window
from WalletCore.postgres.follower import BATCH_EVENTS, MAX_BATCHES_IN_FLIGHT, DeliveryFailed
from WalletCore.postgres.leadership import IDLE_SESSION_TIMEOUT_SECONDS, lock_name

INSERT: Final = (
    "INSERT INTO coffer.events (id, type, body, created_at) VALUES (%s, 'test', 'b', now())"
)
INSERT_MANY: Final = (
    "INSERT INTO coffer.events (id, type, body, created_at) "
    "SELECT id, 'test', 'b', now() FROM unnest(%s::uuid[]) AS v(id)"
)


def write(url: str, count: int = 1) -> None:
    ids = [str(uuid7()) for _ in range(count)]
    with psycopg.connect(connection_info(url)) as connection:
        connection.execute(INSERT_MANY, (ids,))


def record_all(url: str) -> None:
    with psycopg.connect(connection_info(url)) as connection:
        connection.execute(
            "INSERT INTO notifications.inbox (event_id) SELECT id FROM coffer.events "
            "ON CONFLICT DO NOTHING"
        )


def cursor_of(url: str, name: str = "test") -> str | None:
    with psycopg.connect(connection_info(url)) as connection:
        row = connection.execute(
            "SELECT cursor FROM coffer.followers WHERE name = %s", (name,)
        ).fetchone()
    return row[0] if row else None


def test_everything_arrives_in_order_and_the_place_is_kept(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    write(url, 30)
    sink = FakeSink()
    with Following(url, sink):
        eventually(lambda: len(sink.received) == 30, "what was there")
        for _ in range(3):
            write(url, 20)
        eventually(lambda: len(sink.received) == 90, "what came")
        eventually(lambda: cursor_of(url) is not None, "the place")
    assert sink.ids() == log_ids(url)
    # The next one goes on where that one was.
    write(url, 5)
    another = FakeSink()
    with Following(url, another):
        eventually(lambda: len(another.received) == 5, "the rest")
        time.sleep(0.1)
    assert sink.ids() + another.ids() == log_ids(url)


def test_nothing_committed_late_is_skipped_under_concurrency(fresh_postgres_url: str) -> None:
    url, writers, each = fresh_postgres_url, 6, 40

    def work(number: int) -> None:
        chance = random.Random(number)
        with psycopg.connect(connection_info(url)) as connection:
            for _ in range(each):
                connection.execute("SELECT pg_current_xact_id()")
                time.sleep(chance.random() * 0.004)
                connection.execute(INSERT, (uuid7(),))
                time.sleep(chance.random() * 0.004)
                if chance.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()

    sink = FakeSink()
    with Following(url, sink):
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(work, range(writers)))
        eventually(lambda: len(sink.received) >= len(log_ids(url)), "all of it")
        time.sleep(0.1)
    assert sorted(sink.ids()) == sorted(log_ids(url))


def test_what_was_not_confirmed_is_sent_again_from_there_on(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    sink = FakeSink()
    with Following(url, sink):
        write(url, 3)
        eventually(lambda: len(sink.received) == 3, "the first ones")
        sink.fail_next = 2
        write(url, 4)
        eventually(lambda: len(sink.received) == 7, "the others, at the third try")
    assert sink.ids() == log_ids(url)


def test_later_batches_of_a_failed_one_are_sent_again_too(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    write(url, 1)
    sink = FakeSink(confirm=False)
    with Following(url, sink):
        eventually(lambda: len(sink.batches) == 1, "one under way")
        write(url, 1)
        eventually(lambda: len(sink.batches) == 2, "two under way")
        sink.confirm = True
        sink.batches[0].set_exception(DeliveryFailed("lost"))
        eventually(lambda: len(sink.received) == 4, "both again")
        sink.batches[1].set_result(None)
    first, second = log_ids(url)
    assert sink.ids() == [first, second, first, second]


def test_what_is_under_way_is_bounded(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    write(url, BATCH_EVENTS * (MAX_BATCHES_IN_FLIGHT + 2))
    sink = FakeSink(confirm=False)
    with Following(url, sink) as following:
        eventually(lambda: len(sink.batches) == MAX_BATCHES_IN_FLIGHT, "as much as may be")
        eventually(lambda: following.lag.seconds() > 0, "a lag")
        time.sleep(0.3)
        assert len(sink.received) == BATCH_EVENTS * MAX_BATCHES_IN_FLIGHT
        sink.confirm = True
        for done in list(sink.batches):
            done.set_result(None)
        eventually(
            lambda: len(sink.received) == BATCH_EVENTS * (MAX_BATCHES_IN_FLIGHT + 2), "the rest"
        )
        eventually(lambda: following.lag.seconds() == 0, "no lag")
    assert sink.ids() == log_ids(url)


def test_the_place_is_not_kept_before_the_confirm(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    with Following(url, FakeSink()):
        eventually(lambda: cursor_of(url) is not None, "a place")
    before = cursor_of(url)
    write(url, 3)
    with Following(url, sink := FakeSink(confirm=False)):
        eventually(lambda: len(sink.received) == 3, "sent")
        time.sleep(0.2)
        assert cursor_of(url) == before
        sink.batches[0].set_result(None)
        eventually(lambda: cursor_of(url) != before, "the place")


def test_without_a_place_only_what_the_inbox_lacks_is_sent(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CATCH_UP_POSITIONS", 7)
    url = fresh_postgres_url
    write(url, 40)
    record_all(url)
    write(url, 25)
    sink = FakeSink()
    with Following(url, sink):
        eventually(lambda: len(sink.received) == 25, "what is lacking")
        write(url, 2)
        eventually(lambda: len(sink.received) == 27, "what comes")
    assert sink.ids() == log_ids(url)[40:]


def test_a_place_of_another_cluster_is_none(fresh_postgres_url: str) -> None:
    """As after a restore elsewhere; and ids of transactions that are still to come there."""
    url = fresh_postgres_url
    write(url, 10)
    record_all(url)
    with Following(url, FakeSink()):
        eventually(lambda: cursor_of(url) is not None, "a place")
    with psycopg.connect(connection_info(url)) as connection:
        # Events that were not recorded, with ids from the far future of this cluster.
        connection.execute(
            "INSERT INTO coffer.events (id, type, body, created_at, xid) "
            "SELECT id, 'test', 'b', now(), '999999999' FROM unnest(%s::uuid[]) AS v(id)",
            ([str(uuid7()) for _ in range(5)],),
        )
        connection.execute("UPDATE coffer.followers SET system_identifier = 'elsewhere'")
        connection.execute("UPDATE coffer.log_origin SET system_identifier = 'elsewhere'")
    sink = FakeSink()
    with Following(url, sink):
        eventually(lambda: len(sink.received) == 5, "what was not recorded")
        write(url, 2)
        eventually(lambda: len(sink.received) == 7, "what comes")
        time.sleep(0.1)
    assert sink.ids() == log_ids(url)[10:]
    # For readers of the whole log nothing is hidden, either.
    with postgres_store(url) as store:
        wallet_id = new_wallet(store)
        store.execute(deposit(wallet_id))
    with psycopg.connect(connection_info(url)) as connection:
        from WalletCore.postgres.connect import read_engine
        from WalletCore.postgres.event_log import read_log

        engine = read_engine(url)
        with engine.connect() as reading:
            rows, _ = read_log(reading, None, 100)
        engine.dispose()
    assert len(rows) == 19


def test_a_window_in_the_middle_goes_on_there(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    with Following(url, FakeSink()):
        eventually(lambda: cursor_of(url) is not None, "a place")
    write(url, BATCH_EVENTS + 10)
    sink = FakeSink(confirm=False)
    with Following(url, sink):
        eventually(lambda: len(sink.batches) == 2, "two batches")
        sink.batches[0].set_result(None)
        eventually(lambda: Window.decode(cursor_of(url) or "").after > 0, "the place")
    with Following(url, rest := FakeSink()):
        eventually(lambda: len(rest.received) == 10, "the rest")
    assert rest.ids() == log_ids(url)[BATCH_EVENTS:]


# -- Leadership --------------------------------------------------------------------------------


def test_one_leads_and_the_others_take_over(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    sinks = [FakeSink() for _ in range(3)]
    with Following(url, sinks[0]) as first:
        eventually(lambda: first.leader.leading, "the first leads")
        with Following(url, sinks[1]) as second, Following(url, sinks[2]) as third:
            write(url, 5)
            eventually(lambda: len(sinks[0].received) == 5, "the first one's work")
            assert not second.leader.leading
            assert not third.leader.leading
            end_session(url)
            eventually(
                lambda: sum(f.leader.leading for f in (first, second, third)) == 1, "one leads"
            )
            write(url, 5)
            eventually(lambda: len({i for s in sinks for i in s.ids()}) == 10, "all of it")
    assert sorted({i for s in sinks for i in s.ids()}) == sorted(log_ids(url))


def end_session(url: str) -> None:
    with psycopg.connect(connection_info(url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND "
            "granted AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(%s, 0)",
            (lock_name("test"),),
        )


def test_a_leader_that_waits_for_confirms_keeps_its_session(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    write(url, BATCH_EVENTS * MAX_BATCHES_IN_FLIGHT)
    sink = FakeSink(confirm=False)
    with Following(url, sink) as following:
        eventually(lambda: len(sink.batches) == MAX_BATCHES_IN_FLIGHT, "full")
        time.sleep(IDLE_SESSION_TIMEOUT_SECONDS + 1)
        assert following.leader.leading
        assert len(sink.batches) == MAX_BATCHES_IN_FLIGHT
        # The same while it waits for the broker to be there again.
        sink.ready.clear()
        sink.batches[0].set_exception(DeliveryFailed("lost"))
        time.sleep(IDLE_SESSION_TIMEOUT_SECONDS + 1)
        assert following.leader.leading
        sink.confirm = True
        sink.ready.set()
        eventually(lambda: following.lag.since is None, "all confirmed")


# -- Recording without a broker ----------------------------------------------------------------


def test_a_store_is_followed_and_its_events_become_processed(fresh_postgres_url: str) -> None:
    url = fresh_postgres_url
    with postgres_store(url) as store, recording(url):
        wallet_id = new_wallet(store, balance=5)
        wait_until_recorded(url)
        from WalletCore.paging import PageRequest

        events = store.events(PageRequest()).items
        assert [event["status"] for event in events] == ["Processed", "Processed"]
        from WalletCore.inbox import NotificationFilter

        page = store.notifications.newest_first(NotificationFilter(wallet_id), PageRequest())
        assert [item["title"] for item in page.items] == ["Deposit", "Wallet opened"]


def test_two_that_record_at_once_leave_one_notification_each(
    test_databases: TestDatabases,
) -> None:
    with test_databases.migrated() as url, postgres_store(url) as store:
        wallet_id = new_wallet(store)
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                store.execute(deposit(wallet_id))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        with recording(url), recording(url):
            time.sleep(1)
            end: Any = stop.set
            end()
            for thread in threads:
                thread.join()
            wait_until_recorded(url)
        with psycopg.connect(connection_info(url)) as connection:
            row = connection.execute(
                "SELECT count(*), count(DISTINCT event_id) FROM notifications.notifications"
            ).fetchone()
        assert row == (len(log_ids(url)),) * 2
