"""Concurrent operations against the running service: the sums, the entries and the refusals add up.

At least two server processes on one PostgreSQL, and real threads that all begin at the same moment.
With ``--base-url`` against the service that runs there.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import pytest

from testkit.ledgers import audit
from testkit.load import Reply, Session, operation
from testkit.running import RunningService
from testkit.services import TestDatabases
from WalletCore.postgres.verify import verify

pytestmark = [pytest.mark.highload, pytest.mark.timeout(300)]

ROUNDS: Final = 10
PROCESSES: Final = 2
THREADS: Final = 128
"""Per process: room for a whole crowd in one of them, so that nobody is refused as too much."""
MANY_WALLETS: Final = 10
NOT_ENOUGH: Final = 400


@pytest.fixture(scope="module")
def base_url(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[str]:
    """The service that was named, or one of our own, whose ledger is replayed at the end."""
    named = pytestconfig.getoption("--base-url")
    if named:
        yield named
        return
    databases: TestDatabases = request.getfixturevalue("test_databases")
    with databases.migrated() as url:
        with RunningService(url, workers=PROCESSES, threads=THREADS) as service:
            assert len(service.processes()) == PROCESSES
            yield service.base_url
        assert list(verify(url))[-1].difference is None
        assert audit(url) == []


class Crowd:
    """Threads with a connection each, which send their requests at the same moment."""

    def __init__(self, base_url: str, size: int) -> None:
        self.size = size
        self.session = Session(base_url)
        self._sessions = [Session(base_url) for _ in range(size)]
        self._pool = ThreadPoolExecutor(size)

    def send(self, amounts: list[int], wallets: list[str]) -> list[Reply]:
        """Amount i to wallet i, all at once; a negative amount is a withdrawal."""
        start = threading.Barrier(len(amounts))

        def send_one(index: int) -> Reply:
            body = operation(amounts[index], f"{index}")
            start.wait()
            return self._sessions[index].ask("POST", f"/wallets/{wallets[index]}/operation", body)

        return list(self._pool.map(send_one, range(len(amounts))))

    def close(self) -> None:
        self._pool.shutdown()
        for session in (self.session, *self._sessions):
            session.close()


@pytest.fixture(params=[10, 100])
def crowd(request: pytest.FixtureRequest, base_url: str) -> Iterator[Crowd]:
    crowd = Crowd(base_url, request.param)
    yield crowd
    crowd.close()


def check_wallet(session: Session, wallet_id: str, done: list[int], opening: int) -> None:
    """Compare a wallet and its history with ``opening`` and the amounts that were acknowledged."""
    wallet = session.ask("GET", f"/wallets/{wallet_id}").document
    history = session.history(wallet_id)
    expected = ([opening] if opening else []) + done
    assert int(wallet["balance"]) == sum(expected)
    assert Counter(moved(entry) for entry in history) == Counter(expected)
    assert [entry["seq"] for entry in history] == list(range(1, len(expected) + 1))
    assert wallet["version"] == len(expected) + 1
    balance = 0
    for entry in history:
        assert int(entry["previous_balance"]) == balance
        balance += moved(entry)
        assert int(entry["new_balance"]) == balance >= 0


def moved(entry: dict[str, Any]) -> int:
    amount = int(entry["amount"])
    return amount if entry["operation_type"] == "DEPOSIT" else -amount


def wallets_of_round(crowd: Crowd, many: bool, opening: int) -> list[str]:
    return [crowd.session.new_wallet(balance=opening) for _ in range(MANY_WALLETS if many else 1)]


def deposits(crowd: Crowd, share: int, chance: random.Random) -> tuple[int, list[int]]:
    return 0, [chance.randint(1, 9) for _ in range(crowd.size)]


def withdrawals(crowd: Crowd, share: int, chance: random.Random) -> tuple[int, list[int]]:
    """Twice as many as there is money for: exactly half of them must be refused."""
    return 3 * share // 2, [-3] * crowd.size


def mix(crowd: Crowd, share: int, chance: random.Random) -> tuple[int, list[int]]:
    return 10, [chance.choice((1, 2, 5, -1, -3, -8)) for _ in range(crowd.size)]


@pytest.mark.parametrize("many", [False, True], ids=["one wallet", "many wallets"])
@pytest.mark.parametrize("kind", [deposits, withdrawals, mix])
def test_concurrent_operations_add_up(
    crowd: Crowd,
    kind: Callable[[Crowd, int, random.Random], tuple[int, list[int]]],
    many: bool,
) -> None:
    chance = random.Random(0)
    for _ in range(ROUNDS):
        share = crowd.size // (MANY_WALLETS if many else 1)
        opening, amounts = kind(crowd, share, chance)
        wallets = wallets_of_round(crowd, many, opening)
        targets = [wallets[index % len(wallets)] for index in range(crowd.size)]
        replies = crowd.send(amounts, targets)
        done: dict[str, list[int]] = {wallet_id: [] for wallet_id in wallets}
        for reply, amount, wallet_id in zip(replies, amounts, targets, strict=True):
            if reply.status == 200:
                done[wallet_id].append(amount)
            else:
                assert amount < 0
                assert (reply.status, reply.document["code"]) == (NOT_ENOUGH, "insufficient_funds")
        for wallet_id in wallets:
            check_wallet(crowd.session, wallet_id, done[wallet_id], opening)
        refused = sum(reply.status == NOT_ENOUGH for reply in replies)
        if kind is deposits:
            assert refused == 0
        elif kind is withdrawals:
            # What is left is too little for one more.
            assert refused == sum(share - opening // 3 for _ in wallets)


def test_one_key_sent_by_everybody_at_once_is_done_once(crowd: Crowd) -> None:
    for number in range(ROUNDS):
        wallet_id = crowd.session.new_wallet()
        start = threading.Barrier(crowd.size)

        def send_one(
            session: Session,
            start: threading.Barrier = start,
            wallet_id: str = wallet_id,
            key: str = f"everybody {number}".replace(" ", "-"),
        ) -> Reply:
            start.wait()
            path = f"/wallets/{wallet_id}/operation"
            return session.ask("POST", path, operation(7), f"{key}-{wallet_id}")

        replies = list(crowd._pool.map(send_one, crowd._sessions))
        assert {reply.status for reply in replies} == {200}
        assert sum(not reply.replayed for reply in replies) == 1
        assert len({str(reply.document) for reply in replies}) == 1
        check_wallet(crowd.session, wallet_id, [7], 0)


def test_a_wallet_that_is_closed_and_filled_at_once_is_never_closed_with_money_in_it(
    base_url: str,
) -> None:
    with ExitStack() as stack:
        sessions = [Session(base_url) for _ in range(8)]
        for session in sessions:
            stack.callback(session.close)
        pool = stack.enter_context(ThreadPoolExecutor(len(sessions)))
        for _ in range(ROUNDS):
            wallet_id = sessions[0].new_wallet()
            start = threading.Barrier(len(sessions))

            def send_one(
                index: int, start: threading.Barrier = start, wallet_id: str = wallet_id
            ) -> Reply:
                start.wait()
                session = sessions[index]
                if index % 2:
                    return session.ask("PATCH", f"/wallets/{wallet_id}", {"status": "closed"})
                return session.ask("POST", f"/wallets/{wallet_id}/operation", operation(1))

            replies = list(pool.map(send_one, range(len(sessions))))
            filled = {reply.status for reply in replies[::2]}
            closed = {reply.status for reply in replies[1::2]}
            # Whoever comes first decides for all.
            assert (filled, closed) in (({200}, {409}), ({409}, {200}))
            wallet = sessions[0].ask("GET", f"/wallets/{wallet_id}").document
            assert (wallet["status"], wallet["balance"]) in (("active", "4"), ("closed", "0"))


def test_the_trial_balance_is_zero_after_all_this(base_url: str) -> None:
    session = Session(base_url)
    reply = session.ask("GET", "/ledger/trial-balance")
    session.close()
    assert reply.status == 200
    assert reply.document["balanced"] is True
