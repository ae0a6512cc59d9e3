"""A load client that keeps account: what it attempted, what was acknowledged, what it cannot know.

Every operation carries an Idempotency-Key, and the same text as its reference, so that the ledger
can be asked afterwards how often it was done; and the key settles what the client cannot know.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import orjson
import psycopg
from uuid_utils.compat import uuid7

from testkit.waiting import eventually
from WalletCore.postgres.connect import connection_info

REQUEST_TIMEOUT_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.01
"""Between two requests of a thread: what counts is the moment of a fault, not the number."""
PAUSE_AFTER_FAILURE_SECONDS: Final = 0.1
SETTLE_LIMIT_SECONDS: Final = 30.0
STOP_LIMIT_SECONDS: Final = 90.0

State: TypeAlias = Literal["attempted", "acknowledged", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said."""

    status: int
    document: dict[str, Any]
    replayed: bool


class Session:
    """One connection to the service, kept open. Belongs to one thread."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port or 80, timeout=REQUEST_TIMEOUT_SECONDS
        )

    def ask(self, method: str, path: str, body: object = None, key: str | None = None) -> Reply:
        """Send one request under /api/v1. Raises OSError or HTTPException, and then reconnects."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            self._connection.request(
                method,
                f"/api/v1{path}",
                None if body is None else orjson.dumps(body),
                headers,
            )
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        replayed = response.getheader("Idempotency-Replayed") == "true"
        return Reply(response.status, orjson.loads(content), replayed)

    def new_wallet(self, currency: str = "COIN", balance: int = 0) -> str:
        """The id of a new wallet that holds ``balance`` major units."""
        reply = self.ask("POST", "/wallets", {"currency": currency})
        assert reply.status == 201, reply
        wallet_id = str(reply.document["id"])
        if balance:
            reply = self.ask("POST", f"/wallets/{wallet_id}/operation", operation(balance))
            assert reply.status == 200, reply
        return wallet_id

    def history(self, wallet_id: str) -> list[dict[str, Any]]:
        """All operations of a wallet, oldest first."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            reply = self.ask("GET", f"/wallets/{wallet_id}/operations?limit=200{cursor}")
            assert reply.status == 200, reply
            found += reply.document["items"]
            if reply.document["next_cursor"] is None:
                return found[::-1]
            cursor = f"&cursor={reply.document['next_cursor']}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def operation(amount: int, reference: str | None = None) -> dict[str, object]:
    """The body of a deposit of ``amount`` major units, or of a withdrawal if it is negative."""
    kind = "DEPOSIT" if amount > 0 else "WITHDRAW"
    return {"operation_type": kind, "amount": str(abs(amount)), "reference": reference}


@dataclass(slots=True)
class Attempt:
    """One operation: its key, what it does, and what is known of it."""

    key: str
    wallet_id: str
    amount: int
    state: State = "attempted"
    statuses: list[int] = field(default_factory=list)
    """Every status that came back; 0 for a connection that broke."""
    recovered: bool = False
    """Unknown at first, and then found to have been done already."""


@dataclass(frozen=True, slots=True)
class Account:
    """The sums of a load, for a person to read."""

    attempted: int
    acknowledged: int
    refused: int
    unknown: int
    lost: int
    duplicated: int
    recovered: int

    def row(self) -> str:
        """The figures of a table's row."""
        return "".join(f"{getattr(self, name):>14,}" for name in self.__slots__)

    @classmethod
    def head(cls) -> str:
        """The table's head."""
        return "".join(f"{name:>14}" for name in cls.__slots__)


class Load:
    """Threads that move money at random as long as they may.

    ``amounts`` are those to choose from, in major units; negative ones are withdrawals.
    ``attempts`` grows while it runs. ``base_url`` is where ``settle`` asks.
    """

    def __init__(
        self,
        base_url: str,
        wallets: Sequence[str],
        *,
        threads: int = 8,
        amounts: Sequence[int] = (1, 2, 3, -1, -2, -30),
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.base_url = base_url
        self._wallets = wallets
        self._amounts = amounts
        self._pause_seconds = pause_seconds
        self._ended = threading.Event()
        self._sessions = [Session(base_url) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(threads)
        ]
        self.attempts: list[Attempt] = []

    def start(self) -> None:
        """Let the threads run."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every thread finish its request."""
        self._ended.set()
        for thread in self._threads:
            thread.join(STOP_LIMIT_SECONDS)
            assert not thread.is_alive()
        for session in self._sessions:
            session.close()

    def count(self, state: State) -> int:
        """How many attempts are in this state now."""
        return sum(attempt.state == state for attempt in self.attempts)

    def go_on(self, acknowledged: int) -> None:
        """Return when so many more operations have been acknowledged."""
        goal = self.count("acknowledged") + acknowledged
        eventually(lambda: self.count("acknowledged") >= goal, "operations", 60)

    def statuses(self) -> Counter[int]:
        """How often each status came back; 0 stands for a connection that broke."""
        return Counter(status for attempt in self.attempts for status in attempt.statuses)

    def settle(self) -> None:
        """Repeat every attempt of which nothing is known, with its key, until that tells."""
        session = Session(self.base_url)
        for attempt in self.attempts:
            if attempt.state == "unknown":
                eventually(
                    lambda repeated=attempt: self._try(session, repeated),  # type: ignore[misc]
                    f"the truth about {attempt.key}",
                    SETTLE_LIMIT_SECONDS,
                )
        session.close()

    def account(self, done: Counter[str], *, unknown: int) -> Account:
        """The sums, given how often each key was done, and how many were unknown before."""
        lost = sum(a.state == "acknowledged" and not done[a.key] for a in self.attempts)
        return Account(
            attempted=len(self.attempts),
            acknowledged=self.count("acknowledged"),
            refused=self.count("refused"),
            unknown=unknown,
            lost=lost,
            duplicated=sum(count > 1 for count in done.values()),
            recovered=sum(attempt.recovered for attempt in self.attempts),
        )

    def _run(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - nothing here is secret
        session = self._sessions[number]
        while not self._ended.is_set():
            attempt = Attempt(
                uuid7().hex, chance.choice(self._wallets), chance.choice(self._amounts)
            )
            self.attempts.append(attempt)
            known = self._try(session, attempt)
            time.sleep(self._pause_seconds if known else PAUSE_AFTER_FAILURE_SECONDS)

    def _try(self, session: Session, attempt: Attempt) -> bool:
        """Send it once; whether it is known now what became of it."""
        first = attempt.state == "attempted"
        attempt.state = "unknown"
        reply = None
        with suppress(OSError, http.client.HTTPException):
            reply = session.ask(
                "POST",
                f"/wallets/{attempt.wallet_id}/operation",
                operation(attempt.amount, attempt.key),
                attempt.key,
            )
        attempt.statuses.append(reply.status if reply else 0)
        if reply is None or reply.status >= 500:
            return False
        attempt.state = "acknowledged" if reply.status == 200 else "refused"
        attempt.recovered = reply.replayed and not first and reply.status == 200
        return True


def times_done(database_url: str, keys: Iterable[str]) -> Counter[str]:
    """How often the ledger holds the operation of each key."""
    with psycopg.connect(connection_info(database_url)) as connection:
        rows = connection.execute(
            "SELECT reference, count(*) FROM coffer.entries "
            "WHERE reference = ANY(%s) GROUP BY reference",
            (list(keys),),
        ).fetchall()
    return Counter(dict(rows))
