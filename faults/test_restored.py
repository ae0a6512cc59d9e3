"""A database that was dumped and restored into another cluster announces what it still had to."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

import psycopg
import pytest

from faults.stand import Stand
from testkit.ledgers import audit
from testkit.load import Load, Session
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.rabbit import PrivateRabbit
from testkit.running import RunningService
from testkit.services import PrivatePostgres
from testkit.waiting import eventually
from WalletCore.postgres import migrate
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.verify import verify

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TABLES: Final = (
    "coffer.wallets",
    "coffer.entries",
    "coffer.events",
    "coffer.currencies",
    "coffer.idempotency_keys",
    "coffer.messages",
    "coffer.followers",
    "coffer.log_origin",
    "notifications.inbox",
    "notifications.notifications",
)
SEQUENCES: Final = ("coffer.events_position_seq", "notifications.notifications_position_seq")
LOST_SECONDS: Final = 3


def copy(source_url: str, target_url: str) -> None:
    """All rows and sequences, in one snapshot, as pg_dump --data-only and pg_restore would; those
    come with no Python package.
    """
    with (
        psycopg.connect(connection_info(source_url)) as source,
        psycopg.connect(connection_info(target_url)) as target,
    ):
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for table in TABLES:
            if table in ("coffer.currencies", "coffer.log_origin"):
                target.execute(f"DELETE FROM {table}")
            with (
                source.cursor().copy(
                    f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)"
                ) as out,
                target.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as in_,
            ):
                for data in out:
                    in_.write(data)
        for sequence in SEQUENCES:
            row: Any = source.execute(f"SELECT last_value FROM {sequence}").fetchone()
            target.execute("SELECT setval(%s, %s)", (sequence, row[0]))


def test_what_was_not_announced_is_announced_once() -> None:
    with ExitStack() as stack:
        stand = stack.enter_context(Stand())
        with stand.load("the source of a dump"):
            pass
        (worker,) = stand.workers
        recorded = stand.count("SELECT count(*) FROM notifications.inbox")
        worker.stop()
        with RunningLoad(stand):
            eventually(lambda: stand.unrecorded() > 100, "events that nobody records")
        eventually(
            lambda: stand.relays[0].metric("coffer_relay_lag_events") == 0, "all of it published"
        )
        lacking = stand.unrecorded()
        target = stack.enter_context(PrivatePostgres())
        migrate.upgrade(target.url)
        # Transactions of the new cluster are far behind those of the old one.
        copy(stand.postgres.url, target.url)
        migrate.upgrade(target.url)
        rabbit = stack.enter_context(PrivateRabbit())
        settings = {"amqp_url": rabbit.url, "reconcile_after_seconds": LOST_SECONDS}
        relay = RunningProgram(RELAY, target.url, **settings)
        stack.callback(relay.close)
        relay.start()
        new_worker = RunningProgram(WORKER, target.url, **settings)
        stack.callback(new_worker.close)
        new_worker.start()
        restored = Restored(target.url)
        eventually(lambda: restored.unrecorded() == 0, "all of it recorded", 60)
        assert restored.recorded() == recorded + lacking
        # Nothing that the inbox had is published anew.
        assert relay.metric("coffer_relay_published_total") == lacking
        assert new_worker.metric("coffer_worker_recorded_total") == lacking
        # And what happens there from now on is announced as ever.
        with RunningService(target.url) as service, RunningLoad(service):
            eventually(lambda: restored.events() > recorded + lacking + 50, "more events")
        eventually(lambda: restored.unrecorded() == 0, "those as well", 60)
        assert restored.recorded() == restored.events()
        assert list(verify(target.url))[-1].difference is None
        assert audit(target.url) == []


class Restored:
    """Asks the restored database."""

    def __init__(self, url: str) -> None:
        self._url = url

    def unrecorded(self) -> int:
        return self._count(
            "SELECT count(*) FROM coffer.events e WHERE NOT EXISTS "
            "(SELECT FROM notifications.inbox i WHERE i.event_id = e.id)"
        )

    def recorded(self) -> int:
        return self._count("SELECT count(*) FROM notifications.inbox")

    def events(self) -> int:
        return self._count("SELECT count(*) FROM coffer.events")

    def _count(self, query: str) -> int:
        with psycopg.connect(connection_info(self._url)) as connection:
            row: Any = connection.execute(query).fetchone()
        return int(row[0])


class RunningLoad:
    """Operations as long as the block lasts."""

    def __init__(self, what: Stand | RunningService) -> None:
        base_url = what.service.base_url if isinstance(what, Stand) else what.base_url
        session = Session(base_url)
        self._load = Load(base_url, [session.new_wallet(balance=50)])
        session.close()

    def __enter__(self) -> None:
        self._load.start()

    def __exit__(self, *_: object) -> None:
        self._load.stop()
