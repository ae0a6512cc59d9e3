"""Transfers, holds and reversals at the same moment, from several threads and processes.

Stores share nothing but the database, so two of them are two processes to it.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise
from typing import Final
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from testkit.ledgers import (
    audit,
    balance_of,
    capture,
    code_of,
    deposit,
    legs,
    memory_store,
    new_wallet,
    place_hold,
    postgres_store,
    reverse,
    transfer,
    void,
    withdraw,
)
from WalletCore.domain.commands import Command, Transfer
from WalletCore.postgres.verify import verify
from WalletCore.store import Outcome, Store

pytestmark = pytest.mark.timeout(120)

CROWD: Final = 100
ROUNDS: Final = 10
MOVERS: Final = 24
MOVES: Final = 100
SEED: Final = 20_261_124

MakeTransfer = Callable[[random.Random, list[UUID]], Transfer]


@pytest.fixture
def processes(fresh_postgres_url: str) -> Iterator[list[Store]]:
    """Two stores on one database, whose ledger is replayed at the end."""
    with postgres_store(fresh_postgres_url) as first, postgres_store(fresh_postgres_url) as second:
        yield [first, second]
    assert audit(fresh_postgres_url) == []
    assert list(verify(fresh_postgres_url))[-1].difference is None


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Iterator[list[Store]]:
    """The store in memory, or two on one database."""
    if request.param == "memory":
        with memory_store() as store:
            yield [store]
        return
    yield request.getfixturevalue("processes")


def at_once(stores: Sequence[Store], commands: Sequence[Command]) -> list[Outcome]:
    """The answers to ``commands``, each from a thread of its own, all sent at the same moment."""
    start = threading.Barrier(len(commands))

    def send(number: int, command: Command) -> Outcome:
        start.wait()
        return stores[number % len(stores)].execute(command)

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(send, range(len(commands)), commands))


def codes_of(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How often each code was answered; nothing for what was done."""
    return Counter(code_of(outcome) for outcome in outcomes)


def conflicts() -> float:
    """How often a batch of this process was done again after a deadlock."""
    return REGISTRY.get_sample_value("coffer_commit_retries_total", {"reason": "conflict"}) or 0.0


# -- Transfers ---------------------------------------------------------------------------------


def there_or_back(chance: random.Random, wallets: list[UUID]) -> Transfer:
    """Between the first two wallets, in either direction."""
    source, target = chance.sample(wallets[:2], 2)
    return transfer(source, target, chance.randint(1, 5))


def round_the_ring(chance: random.Random, wallets: list[UUID]) -> Transfer:
    """From any wallet to its neighbour."""
    place = chance.randrange(len(wallets))
    return transfer(wallets[place - 1], wallets[place], chance.randint(1, 5))


def of_many_legs(chance: random.Random, wallets: list[UUID]) -> Transfer:
    """Along a way through any wallets, some of them several times."""
    way = [*chance.choices(wallets, k=chance.randint(2, 30)), wallets[0]]
    moves = [(source, target, 1) for source, target in pairwise(way) if source != target]
    return legs(*(moves or [(wallets[0], wallets[1], 1)]))


@pytest.mark.highload
@pytest.mark.parametrize("make", [there_or_back, round_the_ring, of_many_legs])
def test_transfers_in_any_direction_never_deadlock_and_conserve_the_money(
    processes: list[Store], make: MakeTransfer
) -> None:
    wallets = [new_wallet(processes[0], balance=8) for _ in range(7)]
    random.Random(SEED).shuffle(wallets)  # not in the order of their ids
    before, start = conflicts(), threading.Barrier(MOVERS)

    def move(thread: int) -> Counter[str]:
        chance = random.Random(SEED + thread)
        store = processes[thread % len(processes)]
        start.wait()
        return codes_of([store.execute(make(chance, wallets)) for _ in range(MOVES)])

    with ThreadPoolExecutor(MOVERS) as pool:
        codes = sum(pool.map(move, range(MOVERS)), Counter[str]())
    assert codes.keys() <= {"", "insufficient_funds"}
    assert codes[""] > MOVES
    assert conflicts() == before
    balances = [balance_of(processes[0], wallet_id) for wallet_id in wallets]
    assert sum(balances) == 8 * len(wallets)
    assert min(balances) >= 0
    assert processes[1].trial_balance()["balanced"] is True


@pytest.mark.highload
def test_money_that_is_sent_by_many_is_sent_once(processes: list[Store]) -> None:
    """Only some of the transfers can be paid, whoever comes first."""
    for _ in range(ROUNDS):
        source, *targets = (new_wallet(processes[0]) for _ in range(3))
        processes[0].execute(deposit(source, 30))
        sent = [transfer(source, targets[number % 2]) for number in range(CROWD)]
        assert codes_of(at_once(processes, sent)) == {"": 30, "insufficient_funds": 70}
        assert balance_of(processes[0], source) == 0
        assert sum(balance_of(processes[0], target) for target in targets) == 30


# -- Holds -------------------------------------------------------------------------------------


@pytest.mark.highload
def test_a_hold_is_captured_or_voided_exactly_once(stores: list[Store]) -> None:
    wallet_id = new_wallet(stores[0], balance=CROWD)
    captured = 0
    for number in range(ROUNDS):
        placed = place_hold(wallet_id, 3)
        assert stores[0].execute(placed).status == 201
        # Who stands in front differs from round to round.
        sent: list[Command] = [
            capture(placed) if n % 2 == number % 2 else void(placed) for n in range(CROWD)
        ]
        outcomes = at_once(stores, sent)
        assert codes_of(outcomes) == {"": 1, "hold_already_resolved": CROWD - 1}
        assert {outcome.status for outcome in outcomes} == {200, 409}
        hold = stores[0].hold(placed.hold_id)
        winner = sent[[code_of(outcome) for outcome in outcomes].index("")]
        assert hold["status"] == ("voided" if winner == void(placed) else "captured")
        captured += hold["status"] == "captured"
        balance = stores[-1].balance(wallet_id)
        assert Decimal(balance["balance"]) == Decimal(balance["available"]) == CROWD - 3 * captured


@pytest.mark.highload
def test_captures_in_part_never_take_more_than_was_held(stores: list[Store]) -> None:
    source, target = new_wallet(stores[0], balance=CROWD), new_wallet(stores[0])
    placed = place_hold(source, 50)
    assert stores[0].execute(placed).status == 201
    sent = [capture(placed, 3, final=False, target_id=target) for _ in range(CROWD)]
    assert codes_of(at_once(stores, sent)) == {"": 16, "hold_exceeded": CROWD - 16}
    assert stores[0].hold(placed.hold_id)["remaining"] == "2.00"
    # The last part resolves it.
    last = [capture(placed, 2, final=False, target_id=target) for _ in range(CROWD)]
    assert codes_of(at_once(stores, last)) == {"": 1, "hold_already_resolved": CROWD - 1}
    assert [balance_of(stores[0], wallet) for wallet in (source, target)] == [50, 50]
    assert stores[0].wallet(source)["held"] == "0.00"


@pytest.mark.highload
def test_money_is_either_held_or_spent(stores: list[Store]) -> None:
    wallet_id = new_wallet(stores[0], balance=CROWD // 2)
    holds = [place_hold(wallet_id) for _ in range(CROWD // 2)]
    sent: list[Command] = [command for hold in holds for command in (hold, withdraw(wallet_id))]
    outcomes = at_once(stores, sent)
    assert codes_of(outcomes) == {"": CROWD // 2, "insufficient_funds": CROWD // 2}
    placed = [
        hold for hold, outcome in zip(holds, outcomes[::2], strict=True) if not code_of(outcome)
    ]
    wallet = stores[-1].wallet(wallet_id)
    assert Decimal(wallet["held"]) == Decimal(wallet["balance"]) == len(placed)
    assert wallet["available"] == "0.00"
    if placed:
        both = [command for hold in placed for command in (capture(hold), withdraw(wallet_id))]
        answers = at_once(stores, both)
        assert codes_of(answers) == {"": len(placed), "insufficient_funds": len(placed)}
    assert balance_of(stores[0], wallet_id) == 0


# -- Reversals ---------------------------------------------------------------------------------


@pytest.mark.highload
def test_reversals_in_part_never_pass_the_operation(stores: list[Store]) -> None:
    source, target = new_wallet(stores[0], balance=100), new_wallet(stores[0], balance=100)
    sent = transfer(source, target, 50)
    assert stores[0].execute(sent).status == 201
    operation_id = sent.legs[0].operation_id
    parts = [reverse(stores[0], operation_id, 3) for _ in range(CROWD)]
    assert codes_of(at_once(stores, parts)) == {"": 16, "reversal_exceeded": CROWD - 16}
    assert [balance_of(stores[0], wallet) for wallet in (source, target)] == [98, 102]
    rest = [reverse(stores[0], operation_id) for _ in range(CROWD)]
    assert codes_of(at_once(stores, rest)) == {"": 1, "not_reversible": CROWD - 1}
    assert [balance_of(stores[0], wallet) for wallet in (source, target)] == [100, 100]


@pytest.mark.highload
@pytest.mark.parametrize("make", [deposit, withdraw])
def test_an_operation_is_reversed_once(
    stores: list[Store], make: Callable[[UUID, int], Command]
) -> None:
    for _ in range(ROUNDS):
        wallet_id = new_wallet(stores[0], balance=100)
        operation = make(wallet_id, 7)
        assert stores[0].execute(operation).status == 200
        operation_id: UUID = operation.operation_id  # type: ignore[union-attr]
        sent = [reverse(stores[0], operation_id) for _ in range(CROWD)]
        assert codes_of(at_once(stores, sent)) == {"": 1, "not_reversible": CROWD - 1}
        assert balance_of(stores[-1], wallet_id) == 100
