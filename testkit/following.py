"""Short cuts for tests of those who follow the log."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from testkit.waiting import eventually
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.direct import RecordingSink
from WalletCore.postgres.follower import DeliveryFailed, Follower, Lag, LoggedEvent
from WalletCore.postgres.inbox import PostgresInbox
from WalletCore.postgres.leadership import Leader
from WalletCore.recorder import Recorder

JOIN_SECONDS: Final = 10.0

UNRECORDED: Final = (
    "SELECT count(*) FROM coffer.events e WHERE NOT EXISTS "
    "(SELECT FROM notifications.inbox i WHERE i.event_id = e.id)"
)


class FakeSink:
    """Keeps what it is sent, and confirms it at once, later or never."""

    def __init__(self, *, confirm: bool = True) -> None:
        self.received: list[LoggedEvent] = []
        self.batches: list[Future[None]] = []
        self.confirm = confirm
        self.fail_next = 0
        self.ready = threading.Event()
        self.ready.set()

    def send(self, events: Sequence[LoggedEvent]) -> Future[None]:
        """See WalletCore.postgres.follower.Sink."""
        done: Future[None] = Future()
        self.batches.append(done)
        if self.fail_next:
            self.fail_next -= 1
            done.set_exception(DeliveryFailed("the test says so"))
            return done
        self.received += events
        if self.confirm:
            done.set_result(None)
        return done

    def wait_until_ready(self, seconds: float) -> bool:
        """See WalletCore.postgres.follower.Sink."""
        return self.ready.wait(seconds)

    def gave_up(self) -> bool:
        """See WalletCore.postgres.follower.Sink."""
        return False

    def ids(self) -> list[str]:
        """The ids of what was received, in that order."""
        return [str(event.id) for event in self.received]


class Following:
    """A follower of its own thread, on the log at ``url``. A context manager."""

    def __init__(self, url: str, sink: Any, name: str = "test") -> None:
        self.lag = Lag()
        self._stop = threading.Event()
        self.leader = Leader(url, name)
        follower = Follower(name, sink, self._stop, self.lag)
        self._thread = threading.Thread(
            target=self.leader.run, args=(self._stop, follower.follow), daemon=True
        )

    def __enter__(self) -> Following:
        """Follow."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, having waited for what is under way."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        assert not self._thread.is_alive()


@contextmanager
def recording(url: str) -> Iterator[None]:
    """What a worker without a broker does, on a thread of this process."""
    inbox = PostgresInbox(url)
    try:
        with Following(url, RecordingSink(Recorder(inbox)), "worker"):
            yield
    finally:
        inbox.close()


def wait_until_recorded(url: str) -> None:
    """Return when every event of the log is in the inbox."""
    with psycopg.connect(connection_info(url), autocommit=True) as connection:
        eventually(
            lambda: connection.execute(UNRECORDED).fetchone() == (0,), "every event recorded"
        )


def log_ids(url: str) -> list[str]:
    """The ids of all events of the log, in the order of their positions."""
    with psycopg.connect(connection_info(url)) as connection:
        rows = connection.execute("SELECT id FROM coffer.events ORDER BY position").fetchall()
    return [str(row[0]) for row in rows]
