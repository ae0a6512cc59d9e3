"""Streams of notifications in this process: what is sent, the places, failures and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest
from uuid_utils.compat import uuid7

from RestAPI import streams as module
from RestAPI.streams import (
    HEARTBEAT_SECONDS,
    PAGE_NOTIFICATIONS,
    POLL_SECONDS,
    RETRY_MILLISECONDS,
    Stream,
    Streams,
)
from RestAPI.tests.event_stream import Interpreter, ServerEvent
from testkit.waiting import eventually
from WalletCore.cursor import decode_cursor
from WalletCore.domain.errors import TooManyStreams, Unavailable
from WalletCore.domain.notices import Notice
from WalletCore.inbox import FOLLOWING, Notification, NotificationFilter
from WalletCore.memory_inbox import MemoryInbox
from WalletCore.settings import Settings

ALL: Final = NotificationFilter()
LIMIT: Final = 2
SOON_SECONDS: Final = 2.0
"""Far more than it takes, and far less than a heartbeat."""


class Recorded(MemoryInbox):
    """An inbox that can be away, and counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.failing_reads = 0
        self.asked = 0

    def tell(self, *texts: str, user_id: str = "ann") -> None:
        self.record(
            [
                Notice(uuid7(), "coffer.message", None, user_id, datetime.now(UTC), "M", text, {})
                for text in texts
            ]
        )

    def top(self) -> int:
        self.asked += 1
        if self.away:
            raise Unavailable("It is away.")
        return super().top()

    def after(self, wanted: NotificationFilter, position: int, limit: int) -> list[Notification]:
        if self.away or self.failing_reads:
            self.failing_reads -= 1
            raise Unavailable("It is away.")
        return super().after(wanted, position, limit)


@pytest.fixture
def inbox() -> Recorded:
    return Recorded()


@pytest.fixture
def streams(inbox: Recorded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "FAILURE_PAUSE_SECONDS", 0.02)
    made = Streams(inbox, LIMIT)
    yield made
    made.close()


class Reading:
    """A stream as a client sees it."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.interpreter = Interpreter()
        self.parts: list[bytes] = []
        self._events = self.interpreter.feed(self._lines())

    def take(self, count: int) -> list[ServerEvent]:
        return [next(self._events) for _ in range(count)]

    def texts(self, count: int) -> list[str]:
        return [event.data["text"] for event in self.take(count)]

    def begin(self) -> str:
        self.parts.append(next(self.stream))
        list(self.interpreter.feed(self.parts[-1].decode().splitlines()))
        return self.interpreter.last_event_id

    def _lines(self) -> Iterator[str]:
        for part in self.stream:
            self.parts.append(part)
            yield from part.decode().removesuffix("\n").split("\n")


def pollers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "stream-poller"]


def test_a_stream_begins_with_its_place_and_brings_what_comes(
    inbox: Recorded, streams: Streams
) -> None:
    inbox.tell("before")
    reading = Reading(streams.open(ALL, None))
    assert decode_cursor(FOLLOWING, reading.begin(), int) == [1]
    assert reading.interpreter.retry_milliseconds == RETRY_MILLISECONDS
    assert reading.parts[0].startswith(b"retry: ")
    sent = module.STREAMED._value.get()
    inbox.tell("first", "second")
    first, second = reading.take(2)
    assert module.STREAMED._value.get() == sent + 2
    assert (first.type, first.data["text"], second.data["text"]) == (
        "notification",
        "first",
        "second",
    )
    assert first.data == inbox.one(inbox.after(ALL, 1, 1)[0].id)
    assert decode_cursor(FOLLOWING, second.id, int) == [3]


def test_it_goes_on_exactly_after_any_id(inbox: Recorded, streams: Streams) -> None:
    count = 2 * PAGE_NOTIFICATIONS + 1
    inbox.tell(*(str(number) for number in range(count)))
    whole = Reading(streams.open(ALL, 0)).take(count)
    assert [event.data["text"] for event in whole] == [str(number) for number in range(count)]
    for place in (0, 1, PAGE_NOTIFICATIONS - 1, PAGE_NOTIFICATIONS, count - 2):
        (position,) = decode_cursor(FOLLOWING, whole[place].id, int)
        stream = streams.open(ALL, position)
        assert Reading(stream).take(count - place - 1) == whole[place + 1 :]
        stream.close()


@pytest.mark.parametrize(
    ("count", "parts"), [(PAGE_NOTIFICATIONS, [100]), (PAGE_NOTIFICATIONS + 1, [100, 1])]
)
def test_a_part_holds_a_page(
    inbox: Recorded, streams: Streams, count: int, parts: list[int]
) -> None:
    inbox.tell(*("x" for _ in range(count)))
    reading = Reading(streams.open(ALL, 0))
    reading.take(count)
    assert [part.count(b"data:") for part in reading.parts[1:]] == parts


def test_only_what_is_wanted_comes(inbox: Recorded, streams: Streams) -> None:
    inbox.tell("no", user_id="bob")
    inbox.tell("yes")
    reading = Reading(streams.open(NotificationFilter(user_id="ann"), 0))
    assert reading.texts(1) == ["yes"]
    inbox.tell(*("no" for _ in range(PAGE_NOTIFICATIONS + 1)), user_id="bob")
    inbox.tell("yes again")
    assert reading.texts(1) == ["yes again"]


def test_two_streams_get_the_same(inbox: Recorded, streams: Streams) -> None:
    readings = [Reading(streams.open(ALL, None)) for _ in range(LIMIT)]
    inbox.tell("for both")
    assert [reading.texts(1) for reading in readings] == [["for both"]] * 2


def test_the_places_are_limited_and_given_back(streams: Streams) -> None:
    first, _ = (streams.open(ALL, None) for _ in range(LIMIT))
    for _ in range(2):
        with pytest.raises(TooManyStreams, match="order=oldest"):
            streams.open(ALL, None)
    first.close()
    first.close()
    assert list(first) == []
    streams.open(ALL, None)
    with pytest.raises(TooManyStreams):
        streams.open(ALL, None)


def test_no_places_no_streams(inbox: Recorded) -> None:
    with pytest.raises(TooManyStreams):
        Streams(inbox, 0).open(ALL, None)


@pytest.mark.parametrize(
    ("max_streams", "threads", "limit"), [(16, 64, 16), (16, 8, 4), (3, 7, 3), (4, 7, 3), (0, 9, 0)]
)
def test_at_most_half_as_many_streams_as_threads(
    max_streams: int, threads: int, limit: int
) -> None:
    settings = Settings(max_streams=max_streams, threads=threads)
    assert settings.stream_limit == limit
    # And each has a thread beside those of the requests.
    assert settings.server_threads == threads + limit


def test_the_store_is_asked_only_while_there_are_streams(inbox: Recorded, streams: Streams) -> None:
    before = pollers()
    assert before == []
    opened = [streams.open(ALL, 0) for _ in range(LIMIT)]
    assert len(pollers()) == 1
    eventually(lambda: inbox.asked > 3, "the poller")
    for stream in opened:
        stream.close()
    eventually(lambda: not pollers(), "the end of the poller", SOON_SECONDS)
    asked = inbox.asked
    time.sleep(5 * module.POLL_SECONDS)
    assert inbox.asked == asked
    inbox.tell("again")
    assert Reading(streams.open(ALL, 0)).texts(1) == ["again"]


def test_a_store_that_is_away_is_waited_for(inbox: Recorded, streams: Streams) -> None:
    reading = Reading(streams.open(ALL, None))
    reading.begin()
    inbox.away = True
    inbox.tell("while away")
    came: list[str] = []
    thread = threading.Thread(target=lambda: came.extend(reading.texts(1)), daemon=True)
    thread.start()
    time.sleep(0.2)
    assert came == []
    inbox.away = False
    thread.join(SOON_SECONDS)
    assert came == ["while away"]
    inbox.failing_reads = 3
    inbox.tell("read at the fourth try")
    assert reading.texts(1) == ["read at the fourth try"]


def test_a_stream_can_go_on_while_the_store_is_away_but_not_begin(
    inbox: Recorded, streams: Streams
) -> None:
    inbox.tell("kept")
    inbox.away = True
    for _ in range(LIMIT + 1):
        with pytest.raises(Unavailable) as raised:
            streams.open(ALL, None)
        assert raised.type is Unavailable
    reading = Reading(streams.open(ALL, 0))
    reading.begin()
    inbox.away = False
    assert reading.texts(1) == ["kept"]


def test_a_defect_of_the_store_ends_no_stream(
    inbox: Recorded, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(streams.open(ALL, None))
    reading.begin()
    with monkeypatch.context() as patched:
        patched.setattr(Recorded, "top", lambda _: 1 // 0)
        time.sleep(0.1)
    inbox.tell("still here")
    assert reading.texts(1) == ["still here"]


def test_silence_has_a_heartbeat_in_two_halves(
    inbox: Recorded, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.02)
    stream = streams.open(ALL, None)
    started = time.monotonic()
    parts = [next(stream) for _ in range(5)]
    assert parts[1:] == [b":", b"\n\n", b":", b"\n\n"]
    assert time.monotonic() - started >= 0.2
    inbox.tell("between the halves")
    reading = Reading(stream)
    assert reading.texts(1) == ["between the halves"]


def test_what_nobody_wants_is_no_sign_of_life(
    inbox: Recorded, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.1)
    stream = streams.open(NotificationFilter(user_id="ann"), None)
    next(stream)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.005):
            inbox.tell("no", user_id="bob")

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        assert next(stream) == b":"
    finally:
        stop.set()
        thread.join()


def test_a_stream_ends_after_its_time(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAM_SECONDS", 0.1)
    started = time.monotonic()
    assert len(list(streams.open(ALL, None))) == 1
    assert 0.1 <= time.monotonic() - started < SOON_SECONDS


def test_the_end_of_all_streams(inbox: Recorded, streams: Streams) -> None:
    stream = streams.open(ALL, None)
    next(stream)
    left: list[bytes] = []

    def serve() -> None:
        left.extend(stream)
        stream.close()

    thread = threading.Thread(target=serve)
    thread.start()
    started = time.monotonic()
    streams.close()
    assert time.monotonic() - started < SOON_SECONDS
    thread.join(SOON_SECONDS)
    assert (thread.is_alive(), left, pollers()) == (False, [], [])
    with pytest.raises(Unavailable, match="stopping"):
        streams.open(ALL, None)


def test_the_times_are_those_that_are_promised() -> None:
    assert (HEARTBEAT_SECONDS, POLL_SECONDS) == (15.0, 0.1)
