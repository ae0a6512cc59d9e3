"""The shop under a steady load, and while people log in for the first time.

100,000 users are in place, each with some coins; every request is right, and has to be answered
with 200. The client, the server and PostgreSQL share the machine.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from uuid_utils.compat import uuid7

from benchmarks.cpu import CpuMeter
from benchmarks.measurements import PERCENT, Measurement
from benchmarks.options import Options
from benchmarks.paced import PACED_RATE, Paced, keep_pace
from benchmarks.paced_requests import PASSWORD
from benchmarks.programs import CannotMeasure
from benchmarks.stand import Server, Stand, check_ledger, make_database
from RestAPI.passwords import Passwords
from RestAPI.shop import START_COINS
from RestAPI.tokens import Tokens
from WalletCore.domain.commands import Command, OpenAccount
from WalletCore.domain.errors import CofferError
from WalletCore.open_store import open_store
from WalletCore.settings import MIN_JWT_SECRET_BYTES, Settings
from WalletCore.store import IdempotencyKey

STEADY: Final = ("shop_p99", "shop_right")
BUSY: Final = ("shop_busy_p99", "shop_busy_right")
"""With FIRST_LOG_INS_PER_SECOND beside it."""

NAMES: Final = (*STEADY, *BUSY)

FIRST_LOG_INS_PER_SECOND: Final = 50
TOKEN_SECONDS: Final = 86_400
MADE_AT_ONCE: Final = 5000


class Shop:
    """Its measurements, on a stand that is up."""

    def __init__(self, options: Options, stand: Stand, say: Callable[[str], None]) -> None:
        self._options = options
        self._stand = stand
        self._say = say
        self._secret = secrets.token_urlsafe(MIN_JWT_SECRET_BYTES)

    def round(self, number: int) -> Iterator[Measurement]:
        """One round on each web server."""
        for web_server in self._options.servers:
            for names in (STEADY, BUSY):
                if self._options.wants(*names):
                    yield from self._measured(number, web_server, names)

    def _measured(
        self, number: int, web_server: str, names: tuple[str, str]
    ) -> Iterator[Measurement]:
        url, users = self._site
        with self._stand.service(web_server, url, JWT_SECRET=self._secret) as server:
            meter = CpuMeter({"server": server.pid, "postgresql": self._stand.postgres_pid})
            with meter:
                paced, log_ins = self._load(server, users, busy=names is BUSY)
            check_ledger(server)
        details = paced.details | meter.details(int(paced.details["sent"]))
        if log_ins is not None:
            details |= {f"log_ins_{name}": value for name, value in log_ins.details.items()}
            details["log_ins_failed"] = log_ins.failed
        # Of those that were due: one that was never answered is not right either.
        due = PACED_RATE * self._options.shop_seconds
        right = max(0.0, due - paced.failed) / due * PERCENT
        p99 = details["p99_ms"]
        yield Measurement(number, web_server, names[0], p99, "ms", paced.failed, details)
        yield Measurement(number, web_server, names[1], right, "%", paced.failed)

    def _load(self, server: Server, users: Path, *, busy: bool) -> tuple[Paced, Paced | None]:
        """What the client told of the shop, and of first log-ins if it is ``busy`` with them."""
        seconds = self._options.shop_seconds
        found: list[Paced] = []

        def log_in() -> None:
            rate = FIRST_LOG_INS_PER_SECOND
            found.append(keep_pace(server.port, users, seconds, kind="first-log-ins", rate=rate))

        beside = threading.Thread(target=log_in)
        if busy:
            beside.start()
        paced = keep_pace(server.port, users, seconds, kind="shop", rate=PACED_RATE)
        if busy:
            beside.join()
            if not found:
                raise CannotMeasure("The client that logs in has failed.")
        return paced, found[0] if found else None

    @cached_property
    def _site(self) -> tuple[str, Path]:
        """The URL of a database with users, and the file of their names and tokens."""
        count = self._options.users
        self._say(f"Creating {count} users of the shop ...")
        url, file = make_database(self._stand.url, "shop"), self._stand.folder / "shop.users"
        passwords = Passwords()
        password_hash = passwords.hash(PASSWORD)
        passwords.close()
        tokens = Tokens(self._secret, ttl_seconds=TOKEN_SECONDS)
        accounts = [
            OpenAccount(f"user-{number}", password_hash, uuid7(), uuid7(), START_COINS)
            for number in range(count)
        ]
        _open(url, accounts)
        lines = (f"{one.username} {tokens.issue(one.username, one.wallet_id)}" for one in accounts)
        file.write_text("\n".join(lines))
        return url, file


def _open(url: str, accounts: list[OpenAccount]) -> None:
    """Keep them all. Raises CannotMeasure."""
    store = open_store(Settings(database_url=SecretStr(url), redis_url=None, amqp_url=None))
    try:
        for start in range(0, len(accounts), MADE_AT_ONCE):
            part: list[tuple[Command, IdempotencyKey | None]] = [
                (account, None) for account in accounts[start : start + MADE_AT_ONCE]
            ]
            for answer in store.execute_each(part):
                if isinstance(answer, CofferError) or answer.status >= 400:
                    raise CannotMeasure(f"A user was not created: {answer}")
    finally:
        store.close()
