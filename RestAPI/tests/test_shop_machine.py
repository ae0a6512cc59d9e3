"""Random log-ins, purchases and gifts over HTTP, compared with a model so naive that one can see
that it is right: in memory, and with two server processes on PostgreSQL.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from RestAPI.rate_limits import FAILED_LOGINS_BURST
from RestAPI.tests.shop_client import Shopper, shop_on, text_of
from testkit.case_clients import HttpClient
from testkit.ledgers import audit
from testkit.running import RunningService
from WalletCore.shop import START_PRICES

LARGER: Final = os.environ.get("COFFER_TEST_MACHINE_EXAMPLES")
EXAMPLES: Final = int(LARGER or "12")
PHASES: Final = tuple(Phase) if LARGER else (Phase.explicit, Phase.reuse, Phase.generate)
STEPS: Final = 30

NAMES: Final = ("ann", "bob", "Bob", "вера")
UNKNOWN: Final = ("nobody", "")
PASSWORDS: Final = ("one", "two")
ITEMS: Final = (*START_PRICES, "spaceship", "CUP")
AMOUNTS = st.one_of(
    st.integers(1, 300),
    st.sampled_from([0, -1, 999, 1000, 1001, 10**18, 10**19, 1.5, "5", None, True]),
)


@dataclass
class Person:
    """What somebody must have."""

    password: str
    shopper: Shopper
    coins: int = 1000
    bought: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)


class ShopMachine(RuleBasedStateMachine):
    """Does the same to the shop and to the model."""

    def __init__(self, anybody: Shopper, wrong_passwords: Iterator[int]) -> None:
        """``wrong_passwords`` counts them: after FAILED_LOGINS_BURST the answer would be 429."""
        super().__init__()
        self._anybody = anybody
        self._wrong_passwords = wrong_passwords
        self._suffix = f"-{uuid.uuid4().hex[:12]}"
        self._people: dict[str, Person] = {}
        self._keys: dict[tuple[str, str], tuple[Any, int]] = {}

    @rule(name=st.sampled_from(NAMES), password=st.sampled_from(PASSWORDS))
    def log_in(self, name: str, password: str) -> None:
        person = self._people.get(name)
        if person is not None and person.password != password:
            # One is left: with none, right passwords are not looked at either.
            if next(self._wrong_passwords) < FAILED_LOGINS_BURST - 1:
                answer = self._anybody.log_in(name + self._suffix, password)
                assert answer.status == 401
                assert text_of(answer)
            return
        answer = self._anybody.log_in(name + self._suffix, password)
        assert answer.status == 200
        shopper = self._anybody.user(name + self._suffix, password)
        if person is None:
            self._people[name] = Person(password, shopper)
        else:
            person.shopper = shopper

    @precondition(lambda self: self._people)
    @rule(data=st.data(), item=st.sampled_from(ITEMS), key=st.sampled_from(("", "", "k1", "k2")))
    def buy(self, data: st.DataObject, item: str, key: str) -> None:
        name = data.draw(st.sampled_from(sorted(self._people)))
        person = self._people[name]
        price = START_PRICES.get(item)
        answer = person.shopper.buy(item, **({"Idempotency-Key": key} if key else {}))
        if price is None:
            assert answer.status == 400
            assert text_of(answer)
            return
        if self._was_sent(name, key, item, answer.status):
            return
        done = price <= person.coins
        self._check(name, key, item, answer, done=done)
        if done:
            person.coins -= price
            person.bought[item] += 1

    @precondition(lambda self: self._people)
    @rule(
        data=st.data(),
        to=st.sampled_from((*NAMES, *UNKNOWN)),
        amount=AMOUNTS,
        key=st.sampled_from(("", "", "k1", "k2")),
    )
    def give(self, data: st.DataObject, to: str, amount: Any, key: str) -> None:
        name = data.draw(st.sampled_from(sorted(self._people)))
        person, other = self._people[name], self._people.get(to)
        headers = {"Idempotency-Key": key} if key else {}
        answer = person.shopper.give(to + self._suffix, amount, **headers)
        whole = isinstance(amount, int) and not isinstance(amount, bool)
        if other is None or to == name or not whole or not 1 <= amount <= 10**18:
            assert answer.status == 400
            assert text_of(answer)
            return
        if self._was_sent(name, key, (to, amount), answer.status):
            return
        done = amount <= person.coins
        self._check(name, key, (to, amount), answer, done=done)
        if done:
            person.coins -= amount
            other.coins += amount
            person.sent[to] += amount
            other.received[name] += amount

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        for person in self._people.values():
            info = person.shopper.info()
            history = info["coinHistory"]
            assert info.keys() == {"coins", "inventory", "coinHistory"}
            assert info["coins"] == person.coins >= 0
            assert {row["type"]: row["quantity"] for row in info["inventory"]} == person.bought
            assert self._by_name(history["received"], "fromUser") == person.received
            assert self._by_name(history["sent"], "toUser") == person.sent
        spent = sum(
            START_PRICES[item] * number
            for person in self._people.values()
            for item, number in person.bought.items()
        )
        assert sum(person.coins for person in self._people.values()) + spent == 1000 * len(
            self._people
        )

    def _by_name(self, rows: list[dict[str, Any]], member: str) -> dict[str, int]:
        found = {row[member].removesuffix(self._suffix): row["amount"] for row in rows}
        assert len(found) == len(rows), "grouped by the other user"
        return found

    def _was_sent(self, name: str, key: str, request: Any, status: int) -> bool:
        """Whether the key was used before; then the answer is the earlier one, or 409."""
        earlier = self._keys.get((name, key))
        if earlier is None:
            return False
        assert status == (earlier[1] if earlier[0] == request else 409)
        return True

    def _check(self, name: str, key: str, request: Any, answer: Any, *, done: bool) -> None:
        assert answer.status == (200 if done else 400), answer.body
        if done:
            assert answer.body == b""
        else:
            assert "too few coins" in text_of(answer)
        if key:
            self._keys[name, key] = request, answer.status


def search(make: Any) -> None:
    run_state_machine_as_test(
        make, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, phases=PHASES)
    )


def test_the_shop_in_memory_agrees_with_the_model() -> None:
    with shop_on() as (anybody, _):
        wrong_passwords = itertools.count()
        search(lambda: ShopMachine(anybody, wrong_passwords))


def test_the_shop_on_postgresql_agrees_with_the_model(fresh_postgres_url: str) -> None:
    with RunningService(fresh_postgres_url, workers=2, log_level="WARNING") as service:
        anybody = Shopper(HttpClient(service.base_url))
        wrong_passwords = itertools.count()
        search(lambda: ShopMachine(anybody, wrong_passwords))
    assert audit(fresh_postgres_url) == []
