"""The inbox and the notifications, in memory and on PostgreSQL: the same tests for both."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import postgres_store
from testkit.notices import notice_of
from testkit.services import TestDatabases
from WalletCore.cursor import encode_cursor
from WalletCore.domain.errors import CursorInvalid, NotificationNotFound
from WalletCore.domain.notices import Notice
from WalletCore.inbox import NEWEST, Inbox, Notification, NotificationFilter, Notifications
from WalletCore.memory_inbox import MemoryInbox
from WalletCore.paging import Page, PageRequest
from WalletCore.postgres import notifications as postgres_notifications
from WalletCore.postgres.inbox import PostgresInbox

ALL: Final = NotificationFilter()
WORKERS: Final = 4
EVENTS: Final = 400
BATCH: Final = 20

Make = Callable[[], Inbox]


@dataclass(frozen=True)
class Side:
    """One of the two: ``inbox`` makes a worker's own."""

    inbox: Make
    read: Notifications

    def everything(self) -> list[Notification]:
        return self.read.after(ALL, 0, 100_000)

    def events(self) -> list[UUID]:
        return [notification.event_id for notification in self.everything()]


@pytest.fixture(params=["memory", "postgres"])
def side(request: pytest.FixtureRequest, test_databases: TestDatabases) -> Iterator[Side]:
    if request.param == "memory":
        memory = MemoryInbox()
        yield Side(lambda: memory, memory)
        return
    with ExitStack() as stack:
        url = stack.enter_context(test_databases.migrated())
        store = stack.enter_context(postgres_store(url))

        def inbox() -> Inbox:
            made = PostgresInbox(url)
            stack.callback(made.close)
            return made

        yield Side(inbox, store.notifications)


def of(user_id: str | None, wallet_id: UUID | None = None, **fields: Any) -> Notice:
    return notice_of(user_id=user_id, wallet_id=wallet_id, **fields)


def ids(notices: list[Notice]) -> list[UUID]:
    return [notice.event_id for notice in notices]


def events_on(page: Page) -> list[UUID]:
    return [UUID(item["event_id"]) for item in page.items]


# -- Recording ---------------------------------------------------------------------------------


def test_what_is_recorded_is_read(side: Side) -> None:
    wallet_id = uuid7()
    data = {"tags": ["gift", 2, None], "é": {"nested": True}, "quote": '"\\{}'}
    texts = {"title": 'A "title", {braces}', "text": "two\nlines, \\ and ,NULL"}
    told = of("alice", wallet_id, data=data, type="coffer.wallet.frozen", **texts)
    assert set(side.inbox().record([told])) == {told.event_id}
    (notification,) = side.everything()
    document = side.read.one(notification.id)
    assert document == {
        "id": str(notification.id),
        "event_id": str(told.event_id),
        "wallet_id": str(wallet_id),
        "user_id": "alice",
        "type": "coffer.wallet.frozen",
        **texts,
        "data": data,
        "created_at": document["created_at"],
        "read_at": None,
    }
    assert document["created_at"].endswith("Z")


def test_nobody_and_no_wallet(side: Side) -> None:
    side.inbox().record([of(None), of("NULL"), of("")])
    assert [(n.user_id, n.wallet_id) for n in side.everything()] == [
        (None, None),
        ("NULL", None),
        ("", None),
    ]


def test_redelivery_leaves_one(side: Side) -> None:
    first, second, third = of("alice"), of("bob"), of("carol")
    inbox = side.inbox()
    assert set(inbox.record([first, second])) == set(ids([first, second]))
    assert set(inbox.record([first, second])) == set()
    assert set(inbox.record([second, third, first])) == {third.event_id}
    # Another worker, too.
    assert set(side.inbox().record([third, second, first])) == set()
    assert side.events() == ids([first, second, third])


def test_twice_in_one_batch_leaves_the_first(side: Side) -> None:
    event_id = uuid7()
    batch = [of("a"), notice_of(event_id, text="first"), of("b"), notice_of(event_id, text="later")]
    assert len(set(side.inbox().record(batch))) == 3
    assert side.events() == ids(batch[:3])
    assert side.everything()[1].text == "first"


def test_an_empty_batch(side: Side) -> None:
    assert set(side.inbox().record([])) == set()
    assert side.everything() == []


def test_positions_follow_the_order_of_arrival(side: Side) -> None:
    inbox = side.inbox()
    batches = [[of("alice") for _ in range(size)] for size in (1, 500, 3)]
    for batch in batches:
        shuffled = random.sample(batch, len(batch))
        batch[:] = shuffled
        inbox.record(batch)
    assert side.events() == [event_id for batch in batches for event_id in ids(batch)]
    assert [n.position for n in side.everything()] == list(range(1, 505))
    assert side.read.top() == 504


def test_several_workers_with_the_same_events(side: Side) -> None:
    """Each takes all of them, in an order and in batches of its own."""
    notices = [of("alice") for _ in range(EVENTS)]
    start = threading.Barrier(WORKERS)

    def work(seed: int) -> list[UUID]:
        inbox, chance = side.inbox(), random.Random(seed)
        mine = chance.sample(notices, len(notices))
        start.wait()
        fresh: list[UUID] = []
        while mine:
            size = chance.randint(1, 2 * BATCH)
            fresh += inbox.record(mine[:size])
            del mine[:size]
        return fresh

    with ThreadPoolExecutor(WORKERS) as pool:
        fresh = [event_id for found in pool.map(work, range(WORKERS)) for event_id in found]
    # Each event was new to exactly one of them.
    assert sorted(fresh) == sorted(ids(notices)) == sorted(side.events())
    assert [n.position for n in side.everything()] == list(range(1, EVENTS + 1))


def test_who_reads_on_from_the_last_position_misses_nothing(side: Side) -> None:
    """Positions become visible in their order, whatever the workers do at once."""
    left = threading.Semaphore(0)
    start = threading.Barrier(WORKERS + 1)

    def work(seed: int) -> list[UUID]:
        inbox, chance = side.inbox(), random.Random(seed)
        recorded: list[UUID] = []
        start.wait()
        try:
            while len(recorded) < EVENTS:
                batch = [of("alice") for _ in range(chance.randint(1, BATCH))]
                recorded += inbox.record(batch)
        finally:
            left.release()
        return recorded

    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, seed) for seed in range(WORKERS)]
        start.wait()
        seen: list[Notification] = []
        ended = 0
        while True:
            # Whether all had ended is looked at before reading, so that the last look sees all.
            while left.acquire(blocking=False):
                ended += 1
            found = side.read.after(ALL, seen[-1].position if seen else 0, 50)
            seen += found
            if ended == WORKERS and not found:
                break
        recorded = [event_id for future in futures for event_id in future.result()]
    assert sorted(n.event_id for n in seen) == sorted(recorded)
    assert [n.position for n in seen] == list(range(1, len(recorded) + 1))


# -- Reading -----------------------------------------------------------------------------------


@pytest.fixture
def filled(side: Side) -> list[Notice]:
    """Notices of two wallets, two people and nobody, recorded in this order."""
    one, other = uuid7(), uuid7()
    notices = [
        of(user_id, wallet_id)
        for _ in range(3)
        for user_id in ("alice", "bob", None)
        for wallet_id in (one, other, None)
    ]
    side.inbox().record(notices)
    return notices


Listing = Callable[[NotificationFilter, PageRequest], Page]


def walked(listing: Listing, wanted: NotificationFilter, limit: int) -> list[UUID]:
    """Everything that a listing gives, page by page."""
    found: list[UUID] = []
    cursor = None
    while True:
        page = listing(wanted, PageRequest(cursor, limit))
        assert len(page.items) <= limit
        found += events_on(page)
        cursor = page.next_cursor
        if cursor is None or not page.items:
            return found


@pytest.mark.parametrize("limit", [1, 4, 26, 27, 28, 200])
def test_paging_both_ways(side: Side, filled: list[Notice], limit: int) -> None:
    assert walked(side.read.oldest_first, ALL, limit) == ids(filled)
    assert walked(side.read.newest_first, ALL, limit) == ids(filled)[::-1]


@pytest.mark.parametrize("unread", [None, True, False])
@pytest.mark.parametrize("user_id", [None, "alice", "nobody"])
@pytest.mark.parametrize("of_wallet", [False, True])
def test_filters(
    side: Side, filled: list[Notice], *, unread: bool | None, user_id: str | None, of_wallet: bool
) -> None:
    read = {filled[number].event_id for number in (0, 1, 9, 20)}
    for notification in side.everything():
        if notification.event_id in read:
            side.read.mark_read(notification.id)
    wallet_id = filled[0].wallet_id if of_wallet else None
    wanted = NotificationFilter(wallet_id, user_id, unread)
    expected = [
        notice.event_id
        for notice in filled
        if wallet_id in (None, notice.wallet_id)
        and user_id in (None, notice.user_id)
        and unread in (None, notice.event_id not in read)
    ]
    assert walked(side.read.oldest_first, wanted, 3) == expected
    assert walked(side.read.newest_first, wanted, 3) == expected[::-1]
    assert [n.event_id for n in side.read.after(wanted, 0, 100)] == expected
    assert [n.event_id for n in side.read.after(wanted, 5, 2)] == [
        event_id for event_id in expected if event_id in ids(filled[5:])
    ][:2]


def test_the_end_of_the_oldest_first_leads_on(side: Side, filled: list[Notice]) -> None:
    page = side.read.oldest_first(ALL, PageRequest(None, 200))
    for _ in range(2):
        page = side.read.oldest_first(ALL, PageRequest(page.next_cursor, 200))
        assert page.items == []
    later = of("alice")
    side.inbox().record([later])
    assert events_on(side.read.oldest_first(ALL, PageRequest(page.next_cursor))) == ids([later])


def test_newest_first_goes_on_beside_new_ones(side: Side, filled: list[Notice]) -> None:
    page = side.read.newest_first(ALL, PageRequest(None, 10))
    side.inbox().record([of("alice")])
    rest = side.read.newest_first(ALL, PageRequest(page.next_cursor, 200))
    assert events_on(page) + events_on(rest) == ids(filled)[::-1]
    assert rest.next_cursor is None


def test_an_empty_inbox(side: Side) -> None:
    assert side.read.newest_first(ALL, PageRequest()) == Page([], None)
    page = side.read.oldest_first(ALL, PageRequest())
    assert page.items == []
    assert page.next_cursor is not None
    assert side.read.top() == 0
    assert side.read.mark_all_read(ALL) == 0


def test_a_cursor_of_another_listing_is_refused(side: Side, filled: list[Notice]) -> None:
    newest = side.read.newest_first(ALL, PageRequest(None, 1)).next_cursor
    oldest = side.read.oldest_first(ALL, PageRequest(None, 1)).next_cursor
    for listing, cursor in (
        (side.read.newest_first, oldest),
        (side.read.oldest_first, newest),
        (side.read.newest_first, "nonsense"),
        (side.read.oldest_first, encode_cursor(NEWEST, "1")),
    ):
        with pytest.raises(CursorInvalid):
            listing(ALL, PageRequest(cursor))


# -- Marking -----------------------------------------------------------------------------------


def test_marking_one_as_read(side: Side, filled: list[Notice]) -> None:
    notification = side.everything()[4]
    marked = side.read.mark_read(notification.id)
    assert marked["read_at"] is not None
    assert marked["read_at"] >= marked["created_at"]
    # Again: it was read then.
    assert side.read.mark_read(notification.id) == marked
    assert side.read.one(notification.id) == marked
    assert [n.position for n in side.everything() if n.read_at is not None] == [5]


def test_what_is_not_there(side: Side, filled: list[Notice]) -> None:
    for ask in (side.read.one, side.read.mark_read):
        # The event's id is not the notification's.
        for unknown in (uuid7(), filled[0].event_id):
            with pytest.raises(NotificationNotFound):
                ask(unknown)


def test_marking_all_as_read(side: Side, filled: list[Notice]) -> None:
    wallet_id = filled[0].wallet_id
    first = side.everything()[0]
    read_at = side.read.mark_read(first.id)["read_at"]
    # Of alice's nine, one of them read: three of them are of that wallet.
    assert side.read.mark_all_read(NotificationFilter(wallet_id, "alice")) == 2
    assert side.read.mark_all_read(NotificationFilter(wallet_id, "alice")) == 0
    assert side.read.mark_all_read(NotificationFilter(user_id="alice")) == 6
    assert side.read.mark_all_read(NotificationFilter(user_id="nobody")) == 0
    assert side.read.mark_all_read(NotificationFilter(wallet_id=wallet_id)) == 6
    assert side.read.mark_all_read(ALL) == 27 - 3 - 6 - 6
    assert side.read.mark_all_read(ALL) == 0
    assert side.read.one(first.id)["read_at"] == read_at
    assert all(notification.read_at is not None for notification in side.everything())


def test_marking_in_slices(
    side: Side, filled: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_notifications, "MARK_SLICE_ROWS", 3)
    assert side.read.mark_all_read(NotificationFilter(user_id="bob")) == 9
    assert side.read.mark_all_read(ALL) == 18


def test_marking_beside_those_who_record_and_mark(side: Side) -> None:
    """Each notification is counted by one of those who mark it."""
    inbox = side.inbox()
    notices = [of("alice") for _ in range(EVENTS)]
    inbox.record(notices)
    start = threading.Barrier(3)

    def mark() -> int:
        start.wait()
        return side.read.mark_all_read(ALL)

    def record() -> int:
        start.wait()
        return len(side.inbox().record([of("bob") for _ in range(BATCH)]))

    with ThreadPoolExecutor(3) as pool:
        marking = [pool.submit(mark) for _ in range(2)]
        assert pool.submit(record).result() == BATCH
        marked = sum(future.result() for future in marking)
    assert EVENTS <= marked <= EVENTS + BATCH
    assert marked + side.read.mark_all_read(ALL) == EVENTS + BATCH
