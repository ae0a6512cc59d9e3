"""A whole Coffer with servers of its own: PostgreSQL, RabbitMQ, service, relays and workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from testkit.event_contract import check_database
from testkit.ledgers import audit
from testkit.load import Account, Load, Session, times_done
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.proxy import Proxy, proxied_url, server_address
from testkit.rabbit import PrivateRabbit
from testkit.running import RunningService
from testkit.services import RUN_FOLDER_VARIABLE, PrivatePostgres
from testkit.waiting import eventually
from WalletCore.postgres import migrate
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.verify import verify

SECONDS_VARIABLE: Final = "COFFER_TEST_FAULT_SECONDS"
LOAD_SECONDS: Final = float(os.environ.get(SECONDS_VARIABLE, "4"))
"""How long the load goes on at least; `make faults` says 20."""
FULL: Final = LOAD_SECONDS >= 20
"""Whether everything is done as often as the proof wants it."""

FULL_RATE: Final = 300.0
"""Operations that are acknowledged a second, over all of a scene of the long form."""

RECOVERY_LIMIT_SECONDS: Final = 90.0
DELIVERY_LIMIT: Final = 3
RECONCILE_SECONDS: Final = 3
WALLETS: Final = 20
FIRST_BALANCE: Final = 1000
THREADS: Final = 14
PAUSE_SECONDS: Final = 0.006


class Stand:
    """Everything that runs, with ``relays`` and ``workers`` so many. A context manager."""

    def __init__(
        self,
        *,
        relays: int = 1,
        workers: int = 1,
        broker: bool = True,
        proxied: bool = False,
        redis_url: str | None = None,
        **settings: object,
    ) -> None:
        self._stack = ExitStack()
        self._proxied = proxied
        self._service_settings: dict[str, Any] = (
            {} if redis_url is None else {"redis_url": redis_url}
        )
        self._settings: dict[str, object] = {
            "reconcile_after_seconds": RECONCILE_SECONDS,
            "amqp_delivery_limit": DELIVERY_LIMIT,
            **settings,
        }
        self._counts = (relays, workers)
        self._broker = broker
        self.relays: list[RunningProgram] = []
        self.workers: list[RunningProgram] = []

    def __enter__(self) -> Stand:
        """Start everything."""
        with ExitStack() as starting:
            self.postgres = starting.enter_context(PrivatePostgres())
            migrate.upgrade(self.postgres.url)
            database_url = self._connect(starting)
            self.service = starting.enter_context(
                RunningService(self.postgres.url, **self._service_settings)
            )
            for programs, arguments, count in (
                (self.relays, RELAY, self._counts[0]),
                (self.workers, WORKER, self._counts[1]),
            ):
                for _ in range(count):
                    program = RunningProgram(arguments, database_url, **self._settings)
                    starting.callback(program.close)
                    programs.append(program)
                    program.start()
            eventually(self.is_ready, "relays and workers", RECOVERY_LIMIT_SECONDS)
            self._stack = starting.pop_all()
        return self

    def _connect(self, starting: ExitStack) -> str:
        """Start the broker, and the proxies if there are to be any; the URL of the database as
        relays and workers are given it.
        """
        database_url = self.postgres.url
        if self._proxied:
            self.database_proxy = starting.enter_context(Proxy(server_address(database_url)))
            database_url = proxied_url(database_url, self.database_proxy)
        if self._broker:
            self.rabbit = starting.enter_context(PrivateRabbit())
            amqp_url = self.rabbit.url
            if self._proxied:
                address = urlsplit(amqp_url)
                target = (address.hostname or "127.0.0.1", address.port or 5672)
                self.amqp_proxy = starting.enter_context(Proxy(target))
                amqp_url = amqp_url.replace(f":{address.port}/", f":{self.amqp_proxy.port}/")
            self._settings = {"amqp_url": amqp_url, **self._settings}
        return database_url

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self._stack.close()

    def is_ready(self) -> bool:
        """Whether every relay and worker has what it needs."""
        return all(program.is_ready() for program in (*self.relays, *self.workers))

    def leader(self) -> RunningProgram:
        """The relay that leads."""
        leader = eventually(self._leader, "a relay that leads")
        if leader is None:
            raise AssertionError("eventually gives what is true")
        return leader

    def _leader(self) -> RunningProgram | None:
        for relay in self.relays:
            if relay.health() is not None and relay.metric("coffer_relay_leading") == 1:
                return relay
        return None

    def asked(self, query: str) -> list[Any]:
        """The rows of a query."""
        with psycopg.connect(connection_info(self.postgres.url)) as connection:
            return connection.execute(query).fetchall()

    def count(self, query: str) -> int:
        """The one number that a query gives."""
        return int(self.asked(query)[0][0])

    def unrecorded(self) -> int:
        """How many events of the log are not in the inbox."""
        return self.count(
            "SELECT count(*) FROM coffer.events e WHERE NOT EXISTS "
            "(SELECT FROM notifications.inbox i WHERE i.event_id = e.id)"
        )

    @contextmanager
    def load(self, title: str) -> Iterator[Load]:
        """Load for LOAD_SECONDS at least, with whatever the block does in the middle of it; then
        everything must be recorded once. Prints and keeps a row of the table.
        """
        session = Session(self.service.base_url)
        wallets = [session.new_wallet(balance=FIRST_BALANCE) for _ in range(WALLETS)]
        session.close()
        load = Load(self.service.base_url, wallets, threads=THREADS, pause_seconds=PAUSE_SECONDS)
        started = time.monotonic()
        load.start()
        try:
            time.sleep(LOAD_SECONDS / 4)
            yield load
            recovery = self._recover(title)
            time.sleep(max(LOAD_SECONDS / 4, started + LOAD_SECONDS - time.monotonic()))
        finally:
            load.stop()
        self._conclude(load, title, time.monotonic() - started, recovery)

    def _recover(self, title: str) -> float:
        """The seconds until all that is in the log now is recorded; the load goes on meanwhile."""
        began = time.monotonic()
        top = eventually(self._top, f"{title}: the log", RECOVERY_LIMIT_SECONDS)
        query = (
            f"SELECT count(*) FROM coffer.events e WHERE position <= {top} AND NOT EXISTS "
            "(SELECT FROM notifications.inbox i WHERE i.event_id = e.id)"
        )
        eventually(
            lambda: self.count(query) == 0, f"{title}: what was lost", RECOVERY_LIMIT_SECONDS
        )
        return time.monotonic() - began

    def _top(self) -> int:
        return self.count("SELECT max(position) FROM coffer.events")

    def _conclude(self, load: Load, title: str, seconds: float, recovery: float) -> None:
        eventually(
            lambda: self.unrecorded() == 0, f"{title}: every event recorded", RECOVERY_LIMIT_SECONDS
        )
        keys = [attempt.key for attempt in load.attempts]
        unknown = load.count("unknown")
        load.settle()
        eventually(lambda: self.unrecorded() == 0, f"{title}: what was settled recorded")
        account = load.account(times_done(self.postgres.url, keys), unknown=unknown)
        rate = account.acknowledged / seconds
        row = f"{title:<44}{account.row()}{rate:>12,.0f}{recovery:>12.1f}"
        # Shown at the end, whichever process of pytest-xdist it was.
        with (Path(os.environ[RUN_FOLDER_VARIABLE]) / "faults.txt").open("a") as file:
            file.write(f"{row}\n")
        assert (account.lost, account.duplicated) == (0, 0)
        if FULL:
            assert rate >= FULL_RATE, "This machine is too busy for what the long form is to prove."
        self.check()

    def check(self) -> None:
        """The log and the inbox agree, and the ledger is right."""
        assert self.unrecorded() == 0
        assert (
            self.count(
                "SELECT count(*) FROM notifications.inbox i WHERE NOT EXISTS "
                "(SELECT FROM coffer.events e WHERE e.id = i.event_id)"
            )
            == 0
        )
        events = self.count("SELECT count(*) FROM coffer.events")
        assert self.count("SELECT count(*) FROM notifications.notifications") == events
        assert (
            self.count("SELECT count(DISTINCT event_id) FROM notifications.notifications") == events
        )
        assert list(verify(self.postgres.url))[-1].difference is None
        check_database(self.postgres.url)
        # It has a query for walletseq as well.
        assert audit(self.postgres.url) == []


def head() -> str:
    """The head of the table."""
    return f"{'':<44}{Account.head()}{'ops/s':>12}{'recovery s':>12}"
