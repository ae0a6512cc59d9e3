"""Recording: each event once, told in the log on one line, one bad one harming no other."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import pytest
import structlog
from prometheus_client import REGISTRY
from uuid_utils.compat import uuid7

from testkit.notices import example_events, notice_of, noticed
from testkit.waiting import eventually
from WalletCore.domain.notices import BadEvent, Notice
from WalletCore.failures import DataRefused, StoreUnavailable
from WalletCore.inbox import NotificationFilter
from WalletCore.memory_inbox import MemoryInbox
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.inbox import LOCK, PostgresInbox
from WalletCore.recorder import MAX_EVENT_BYTES, MAX_LOGGED_CHARACTERS, Recorder, read_event
from WalletCore.settings import Settings
from WalletCore.telemetry import configure_logging

EVERYTHING: Final = NotificationFilter()
NUL: Final = "a\x00b"


class Lines(io.TextIOWrapper):
    """A stream that remembers the log's lines."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)

    def all(self) -> list[dict[str, Any]]:
        assert isinstance(self.buffer, io.BytesIO)
        return [json.loads(line) for line in self.buffer.getvalue().splitlines()]

    def texts(self) -> list[str]:
        return [line["event"] for line in self.all()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged. Configuring is for a whole process, so everything is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    config = structlog.get_config()
    stream = Lines()
    configure_logging(Settings(), stream)
    yield stream
    structlog.configure(**config)
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


class PickyInbox(MemoryInbox):
    """Refuses a batch with a text in it that PostgreSQL cannot keep, and counts the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def record(self, notices: Sequence[Notice]) -> set[UUID]:
        self.sizes.append(len(notices))
        if any("\x00" in notice.text for notice in notices):
            raise DataRefused("NUL")
        return super().record(notices)


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"coffer_worker_{name}_total") or 0.0


def recorded_in(inbox: MemoryInbox) -> list[UUID]:
    return [notification.event_id for notification in inbox.after(EVERYTHING, 0, 1000)]


# -- Reading -----------------------------------------------------------------------------------


def test_the_largest_message_and_one_byte_more() -> None:
    event = example_events()["coffer.message"]
    size = len(orjson.dumps(event))
    event["data"]["description"] += "x" * (MAX_EVENT_BYTES - size)
    body = orjson.dumps(event)
    assert len(body) == MAX_EVENT_BYTES
    assert read_event(body).text.endswith("xxx")
    with pytest.raises(BadEvent, match=r"too large: 262145 bytes, at most 262144"):
        read_event(body + b" ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"specversion": NaN}',
        b'{"a": "\xed\xa0\x80"}',
        b"1 2",
    ],
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(BadEvent, match="not JSON"):
        read_event(body)


# -- Recording ---------------------------------------------------------------------------------


def test_nothing_is_no_batch() -> None:
    inbox = PickyInbox()
    assert Recorder(inbox).record([]) == {}
    assert inbox.sizes == []


def test_redelivery_and_doubles_are_counted_and_told_once(lines: Lines) -> None:
    inbox = MemoryInbox()
    recorder = Recorder(inbox)
    first, second = notice_of(), notice_of()
    before = counted("recorded"), counted("duplicates")
    assert recorder.record([first, second, first]) == {}
    assert recorder.record([second, first]) == {}
    assert recorded_in(inbox) == [first.event_id, second.event_id]
    assert (counted("recorded"), counted("duplicates")) == (before[0] + 2, before[1] + 3)
    assert [line["event_id"] for line in lines.all()] == [
        str(first.event_id),
        str(second.event_id),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 500])
@pytest.mark.parametrize("place", [0, "middle", "last"])
def test_one_that_cannot_be_stored_harms_no_other(
    size: int, place: int | str, lines: Lines
) -> None:
    bad = {"middle": size // 2, "last": size - 1}.get(str(place), 0)
    notices = [notice_of(text=NUL if number == bad else "good") for number in range(size)]
    inbox = PickyInbox()
    refused = Recorder(inbox).record(notices)
    assert list(refused) == [bad]
    assert isinstance(refused[bad], DataRefused)
    good = [notice.event_id for notice in notices if notice.text == "good"]
    assert recorded_in(inbox) == good
    assert len(lines.all()) == size - 1
    # Bisecting, not one by one.
    assert len(inbox.sizes) <= 2 * size.bit_length() + 1


def test_several_that_cannot_be_stored_are_named_by_their_places(lines: Lines) -> None:
    bad = [0, 3, 4, 9]
    notices = [notice_of(text=NUL if number in bad else "good") for number in range(10)]
    inbox = PickyInbox()
    assert sorted(Recorder(inbox).record(notices)) == bad
    assert len(recorded_in(inbox)) == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"text": NUL},
        {"title": NUL},
        {"user_id": NUL},
        {"data": {"description": NUL}},
        {"data": {NUL: 1}},
        {"text": "\ud800"},
        # Beyond what an index takes, and too random to be compressed below it.
        {"user_id": "".join(uuid7().hex for _ in range(500))},
    ],
)
def test_postgresql_and_what_it_cannot_keep(fields: dict[str, Any], postgres_url: str) -> None:
    """Not a database that is away: the worker would wait for it for ever."""
    inbox = PostgresInbox(postgres_url)
    recorder = Recorder(inbox)
    good = [notice_of() for _ in range(4)]
    bad = notice_of(**fields)
    try:
        refused = recorder.record([*good[:2], bad, *good[2:]])
        assert list(refused) == [2]
        assert inbox.record([*good, bad][:4]) == set()
        # And the connection is good for more.
        assert recorder.record([notice_of()]) == {}
    finally:
        inbox.close()


def test_data_nested_deeper_than_can_be_written(postgres_url: str) -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    inbox = PostgresInbox(postgres_url)
    try:
        assert list(Recorder(inbox).record([notice_of(), notice_of(data={"a": deep})])) == [1]
    finally:
        inbox.close()


def test_a_database_that_is_away_is_told_as_that() -> None:
    inbox = PostgresInbox("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StoreUnavailable):
        Recorder(inbox).record([notice_of()])
    inbox.close()


def test_a_worker_waits_for_one_that_has_not_committed(fresh_postgres_url: str) -> None:
    """So it is on PostgreSQL that positions become visible in order: by one lock."""
    inbox = PostgresInbox(fresh_postgres_url)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    info = connection_info(fresh_postgres_url)
    with (
        psycopg.connect(info) as other,
        psycopg.connect(info, autocommit=True) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute(LOCK)
        told = notice_of()
        future = pool.submit(inbox.record, [told])
        eventually(lambda: watching.execute(waiting).fetchone() == (1,), "a worker that waits")
        assert not future.done()
        other.rollback()
        assert future.result(timeout=10) == {told.event_id}
    inbox.close()


def test_an_inbox_finds_its_database_again(fresh_postgres_url: str) -> None:
    inbox = PostgresInbox(fresh_postgres_url)
    first, second = notice_of(), notice_of()
    inbox.record([first])
    inbox.close()
    assert inbox.record([first, second]) == {second.event_id}
    inbox.close()


def test_what_is_recorded_stays_so_whatever_becomes_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = MemoryInbox()
    recorder = Recorder(inbox)

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(recorder, "_tell", broken)
    assert recorder.record([notice_of()]) == {}
    assert len(recorded_in(inbox)) == 1


# -- The line ----------------------------------------------------------------------------------


def test_the_line_of_the_log(lines: Lines) -> None:
    told = noticed("coffer.operation.completed", new_balance="30.00")
    Recorder(MemoryInbox()).record([told])
    (line,) = lines.all()
    text = "Deposit of 10.50 USD, balance 30.00 USD"
    assert line.pop("timestamp")
    assert line == {
        "event": f"Event {told.event_id} has been sent to alice: {text}",
        "level": "info",
        "event_id": str(told.event_id),
        "user_id": "alice",
        "description": text,
        "type": "coffer.operation.completed",
        "request_id": told.request_id,
    }
    assert told.request_id is not None


def test_a_request_id_that_is_no_text_or_endless_harms_nothing(lines: Lines) -> None:
    event = example_events()["coffer.operation.completed"]
    for given in (7, {"a": 1}, None, "x" * (MAX_LOGGED_CHARACTERS + 1)):
        told = read_event(orjson.dumps({**event, "id": str(uuid7()), "requestid": given}))
        Recorder(MemoryInbox()).record([told])
    shown = [line["request_id"] for line in lines.all()]
    assert shown == [None, None, None, "x" * MAX_LOGGED_CHARACTERS + "…"]


def test_an_event_that_concerns_nobody(lines: Lines) -> None:
    told = notice_of(user_id=None)
    Recorder(MemoryInbox()).record([told])
    (line,) = lines.all()
    assert line["event"] == f"Event {told.event_id} has been sent to nobody: hello"
    assert line["user_id"] is None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("two\nlines", r"two\nlines"),
        ("a\r\tb", r"a\r\tb"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\u202eevil\u2028", r"\u202eevil\u2028"),
        ("\x00", r"\x00"),
        ("é ü 漢 🎁", "é ü 漢 🎁"),
        ("no \\ change", "no \\ change"),
    ],
)
def test_control_characters_stay_on_one_line(given: str, shown: str, lines: Lines) -> None:
    told = notice_of(text=given, user_id=given)
    Recorder(MemoryInbox()).record([told])
    assert lines.texts() == [f"Event {told.event_id} has been sent to {shown}: {shown}"]


def test_endless_texts_are_cut_off(lines: Lines) -> None:
    """Looking for secrets in a quarter of a megabyte would stop the worker for minutes."""
    longest, endless = "x" * MAX_LOGGED_CHARACTERS, "x" * (MAX_LOGGED_CHARACTERS + 1)
    whole, cut = notice_of(text=longest), notice_of(text=endless, user_id="y" * MAX_EVENT_BYTES)
    inbox = MemoryInbox()
    Recorder(inbox).record([whole, cut, notice_of(text="x" * MAX_EVENT_BYTES)])
    texts = lines.texts()
    assert texts[0] == f"Event {whole.event_id} has been sent to alice: {longest}"
    user = "y" * MAX_LOGGED_CHARACTERS
    assert texts[1] == f"Event {cut.event_id} has been sent to {user}…: {longest}…"
    assert max(len(json.dumps(line)) for line in lines.all()) < 5 * MAX_LOGGED_CHARACTERS
    # What is kept is whole.
    assert inbox.after(EVERYTHING, 0, 3)[1].text == endless


def test_secrets_are_masked(lines: Lines) -> None:
    Recorder(MemoryInbox()).record([notice_of(text="your password: hunter2")])
    (line,) = lines.all()
    assert "hunter2" not in json.dumps(line)
    assert line["event"].endswith("your password: ***")
