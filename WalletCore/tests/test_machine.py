"""Random commands against the pure domain, the store in memory and the one on PostgreSQL, each
compared with a model so naive that one can see that it is right.

``COFFER_TEST_MACHINE_EXAMPLES`` makes the search larger than the one of every day.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from uuid_utils.compat import uuid7

from testkit.ledgers import keyed, memory_store, postgres_store
from testkit.naive_model import EXPONENTS, MOST_MINOR, Model, ModelWallet
from WalletCore.domain.commands import (
    UNSET,
    CaptureHold,
    Command,
    CreateWallet,
    Deposit,
    ExpireHold,
    Group,
    Leg,
    OpenAccount,
    PlaceHold,
    Purchase,
    Reverse,
    Transfer,
    UpdateWallet,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.model import Document, WalletStatus
from WalletCore.store import IdempotencyKey
from WalletCore.tests.machine_subjects import DomainSubject, Sent, StoreSubject, Subject, minor_of

LARGER: Final = os.environ.get("COFFER_TEST_MACHINE_EXAMPLES")
EXAMPLES: Final = int(LARGER or "25")
PHASES: Final = tuple(Phase) if LARGER else (Phase.explicit, Phase.reuse, Phase.generate)
"""Making a failing example smaller takes minutes; that is for whoever looks into it."""
STEPS: Final = 40
MAX_BATCH: Final = 6

# -- The machine -------------------------------------------------------------------------------

EDGES: Final = (
    *("0", "0.00", "-1", "0.01", "0.001", "0.010", "1", "1.5", "10.005", "10.50", "99"),
    *("9999999999999999.99", "10000000000000000", "10000000000000000.01", "999999999999999999"),
    *("1000000000000000000", "1000000000000000001", "1E+15", "1E+18", "1E+30", "1E-30"),
)
AMOUNTS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(1, 20).map(str),
    st.decimals("0.001", "1000", places=3).map(str),
).map(Decimal)
LIMITS = st.sampled_from(
    ("0", "0", "0", "-5", "-100.00", "-1000000000000000", "-1E+16", "-1E+18", "1", "-0.0001")
).map(Decimal)
CEILINGS = st.sampled_from((None, "0", "50", "100.00", "1E+15", "1E+18", "-1", "0.0001")).map(
    lambda text: None if text is None else Decimal(text)
)
SMALL = st.one_of(st.integers(1, 12).map(Decimal), AMOUNTS)
MAX_LEGS: Final = 4
TEXT = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
METADATA = st.dictionaries(
    st.sampled_from(("a", 'quo"te', "back\\slash")), st.text(TEXT, max_size=4)
)
NAMES = st.none() | st.sampled_from(("", "name", "{a,b}", 'quo"te\\', "NULL", "\n\u20ac\U0001f600"))
KEYS = st.sampled_from(("none", "none", "new"))


class LedgerMachine(RuleBasedStateMachine):
    """Sends the same commands to every subject and to the model."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        super().__init__()
        self._subjects = subjects
        self._model = Model()
        self._sent: list[tuple[Command, IdempotencyKey]] = []
        self._holds: list[tuple[UUID, UUID]] = []
        self._operations: list[UUID] = []

    wallets = Bundle("wallets")

    @rule(
        target=wallets,
        currency=st.sampled_from((*EXPONENTS, "USD", "USD", "XXX")),
        limit=LIMITS,
        name=NAMES,
        metadata=METADATA,
        key=KEYS,
    )
    def create(
        self, currency: str, limit: Decimal, name: str | None, metadata: Document, key: str
    ) -> UUID:
        """Refused ones stay in the bundle: they are the unknown wallets of what follows."""
        wallet_id = uuid7()
        command = CreateWallet(wallet_id, currency, "o", name, limit, metadata)
        self._send([(command, self._key(key))])
        return wallet_id

    @rule(wallet=wallets, amount=AMOUNTS, out=st.booleans(), key=KEYS)
    def move(self, wallet: UUID, amount: Decimal, out: bool, key: str) -> None:
        self._send([(self._movement(wallet, amount, out), self._key(key))])

    @rule(wallet=wallets, key=KEYS)
    def empty(self, wallet: UUID, key: str) -> None:
        """Take out exactly what is there, or pay back exactly what is owed."""
        model = self._model.wallets.get(wallet)
        if model is not None and model.balance:
            amount = Decimal(abs(model.balance)).scaleb(-EXPONENTS[model.currency])
            self._send([(self._movement(wallet, amount, model.balance > 0), self._key(key))])

    @rule(
        wallet=wallets,
        name=NAMES | st.just(UNSET),
        metadata=METADATA | st.just(UNSET),
        status=st.sampled_from((*WalletStatus, *[UNSET] * 3, *[WalletStatus.ACTIVE] * 3)),
        key=KEYS,
    )
    def update(self, wallet: UUID, name: Any, metadata: Any, status: Any, key: str) -> None:
        self._send([(UpdateWallet(wallet, name, metadata, status), self._key(key))])

    @rule(wallet=wallets, low=LIMITS | st.just(UNSET), high=CEILINGS | st.just(UNSET), key=KEYS)
    def limit(self, wallet: UUID, low: Any, high: Any, key: str) -> None:
        command = UpdateWallet(wallet, min_balance=low, max_balance=high)
        self._send([(command, self._key(key))])

    @rule(
        wallets=st.lists(wallets, min_size=2, max_size=MAX_LEGS + 1),
        amounts=st.lists(SMALL, min_size=MAX_LEGS, max_size=MAX_LEGS),
        key=KEYS,
    )
    def transfer(self, wallets: list[UUID], amounts: list[Decimal], key: str) -> None:
        """From each wallet to the next one, so that later legs live on what earlier ones bring."""
        legs = tuple(
            Leg(uuid7(), source, target, amount)
            for source, target, amount in zip(wallets, wallets[1:], amounts, strict=False)
        )
        self._operations += [leg.operation_id for leg in legs]
        self._send([(Transfer(uuid7(), legs), self._key(key))])

    @rule(target=wallets, coins=st.integers(1, 50), key=KEYS)
    def open_account(self, coins: int, key: str) -> UUID:
        wallet_id, operation_id = uuid7(), uuid7()
        self._operations.append(operation_id)
        command = OpenAccount(str(wallet_id), "hash", wallet_id, operation_id, Decimal(coins))
        self._send([(command, self._key(key))])
        return wallet_id

    @rule(wallet=wallets, merchant=wallets, price=SMALL, key=KEYS)
    def purchase(self, wallet: UUID, merchant: UUID, price: Decimal, key: str) -> None:
        command = Purchase(wallet, merchant, uuid7(), uuid7(), "cup", price)
        self._operations.append(command.operation_id)
        self._send([(command, self._key(key))])

    @rule(
        wallets=st.lists(wallets, min_size=2, max_size=MAX_BATCH),
        amounts=st.lists(SMALL, min_size=MAX_BATCH, max_size=MAX_BATCH),
        kinds=st.lists(st.integers(0, 2), min_size=MAX_BATCH, max_size=MAX_BATCH),
        key=KEYS,
    )
    def group(
        self, wallets: list[UUID], amounts: list[Decimal], kinds: list[int], key: str
    ) -> None:
        """Movements that are done together or not at all."""
        commands: list[Any] = [
            Transfer(uuid7(), (Leg(uuid7(), source, target, amount),))
            if kind == 0
            else self._movement(source, amount, kind == 1)
            for source, target, amount, kind in zip(
                wallets, wallets[1:], amounts, kinds, strict=False
            )
        ]
        self._send([(Group(tuple(commands)), self._key(key))])

    @rule(wallet=wallets, amount=SMALL, key=KEYS)
    def hold(self, wallet: UUID, amount: Decimal, key: str) -> None:
        hold_id = uuid7()
        self._holds.append((wallet, hold_id))
        self._send([(PlaceHold(wallet, hold_id, amount, timedelta(hours=1)), self._key(key))])

    @rule(
        data=st.data(),
        kind=st.sampled_from(("capture", "capture", "void", "expire")),
        amount=st.none() | SMALL,
        final=st.booleans(),
        key=KEYS,
    )
    def resolve(
        self, data: st.DataObject, kind: str, amount: Decimal | None, final: bool, key: str
    ) -> None:
        if not self._holds:
            return
        wallet, hold_id = data.draw(st.sampled_from(self._holds[-MAX_BATCH:]))
        command: Command = CaptureHold(wallet, hold_id, uuid7(), amount, final)
        if isinstance(command, CaptureHold):
            self._operations.append(command.operation_id)
        if kind != "capture":
            command = (VoidHold if kind == "void" else ExpireHold)(wallet, hold_id)
        self._send([(command, self._key(key))])

    @rule(data=st.data(), amount=st.none() | SMALL, key=KEYS)
    def reverse(self, data: st.DataObject, amount: Decimal | None, key: str) -> None:
        if not self._operations:
            return
        original = data.draw(st.sampled_from(self._operations[-MAX_BATCH:]))
        sides = self._model.wallets_of(original)
        command = Reverse(original, sides, uuid7(), amount)
        self._operations.append(command.operation_id)
        self._send([(command, self._key(key))])

    @rule(data=st.data(), same=st.booleans())
    def repeat(self, data: st.DataObject, same: bool) -> None:
        """An earlier key again, with the same request or with another one."""
        if self._sent:
            command, key = data.draw(st.sampled_from(self._sent))
            self._send([(again(command), key if same else keyed(key.key, "another"))])

    @rule(
        wallets=st.lists(wallets, min_size=2, max_size=MAX_BATCH),
        amounts=st.lists(AMOUNTS, min_size=MAX_BATCH, max_size=MAX_BATCH),
        kinds=st.lists(st.integers(0, 3), min_size=MAX_BATCH, max_size=MAX_BATCH),
        key=KEYS,
    )
    def batch(
        self, wallets: list[UUID], amounts: list[Decimal], kinds: list[int], key: str
    ) -> None:
        """Several commands in one transaction; with a key, the first and the last are the same."""
        sent: list[Sent] = [
            (
                UpdateWallet(wallet, name=str(amount))
                if kind == 0
                else self._movement(wallet, amount, kind == 1),
                None,
            )
            for wallet, amount, kind in zip(wallets, amounts, kinds, strict=False)
        ]
        if (shared := self._key(key)) is not None:
            sent = [(sent[0][0], shared), *sent[1:], (again(sent[0][0]), shared)]
        self._send(sent)

    @invariant()
    def everything_agrees(self) -> None:
        for subject in self._subjects:
            seqs = subject.event_seqs()
            for wallet_id, model in self._model.wallets.items():
                check_wallet(subject, wallet_id, model, seqs.get(str(wallet_id), []))
            assert subject.balanced()

    def _key(self, choice: str) -> IdempotencyKey | None:
        return None if choice == "none" else keyed(str(uuid7()), "first")

    def _movement(self, wallet: UUID, amount: Decimal, out: bool) -> Command:
        command = (Withdraw if out else Deposit)(wallet, uuid7(), amount)
        self._operations.append(command.operation_id)
        return command

    def _send(self, sent: list[Sent]) -> None:
        expected = [self._model.send(command, key) for command, key in sent]
        self._sent += [(command, key) for command, key in sent if key is not None]
        for subject in self._subjects:
            # What needs a key's memory is not for the rules alone.
            mine = [
                index
                for index, (_, code, replayed) in enumerate(expected)
                if subject.knows_keys or not (replayed or code == "idempotency_key_reused")
            ]
            if not mine:
                continue
            answers = subject.send([sent[index] for index in mine])
            for index, (status, code, document) in zip(mine, answers, strict=True):
                assert (status, code) == expected[index][:2], (type(subject), sent[index])
                assert document.get("replayed", False) == expected[index][2]


def again(command: Command) -> Command:
    """The command as a repeated request makes it: with a new id for what it would create."""
    if isinstance(command, Deposit | Withdraw | CaptureHold | Reverse):
        return replace(command, operation_id=uuid7())
    return command


def check_wallet(
    subject: Subject, wallet_id: UUID, model: ModelWallet, event_seqs: list[int]
) -> None:
    """Compare one wallet with the model, and look at the invariants."""
    document = subject.wallet(wallet_id)
    entries = subject.entries(wallet_id)
    balance, available = minor_of(document["balance"]), minor_of(document["available"])
    assert document["currency"] == model.currency
    assert (document["name"], document["metadata"]) == (model.name, model.metadata)
    assert document["status"] == model.status
    assert [delta for _, delta, _ in entries] == model.deltas
    assert balance == model.balance == sum(model.deltas)
    assert minor_of(document["held"]) == sum(model.holds.values())
    assert available == model.free == balance - sum(model.holds.values()) - model.limit
    assert available >= 0
    assert model.ceiling is None or balance <= model.ceiling
    assert abs(balance) <= MOST_MINOR
    assert [seq for seq, _, _ in entries] == list(range(1, len(entries) + 1))
    assert [after for _, _, after in entries] == [
        sum(model.deltas[:count]) for count in range(1, len(entries) + 1)
    ]
    assert document["entry_seq"] == len(entries)
    assert document["version"] == model.changes
    assert event_seqs == list(range(1, model.changes + 1))


def search(make: Any, share: float = 1.0) -> None:
    """Run the machine over what ``make`` gives for each example."""
    run_state_machine_as_test(
        make,
        settings=settings(
            max_examples=max(1, int(EXAMPLES * share)), stateful_step_count=STEPS, phases=PHASES
        ),
    )


def test_the_domain_and_the_store_in_memory_agree_with_the_model() -> None:
    class Machine(LedgerMachine):
        def __init__(self) -> None:
            self._closing = memory_store()
            super().__init__([DomainSubject(), StoreSubject(self._closing.__enter__())])

        def teardown(self) -> None:
            self._closing.__exit__(None, None, None)

    search(Machine)


def test_the_store_on_postgresql_agrees_with_the_model(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        subject = StoreSubject(store)
        search(lambda: LedgerMachine([subject]), share=0.6)
