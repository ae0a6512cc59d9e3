"""Whatever is asked in whatever order, what must hold of wallets, holds and operations holds."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from WalletCore.domain.commands import (
    CaptureHold,
    Command,
    Deposit,
    ExpireHold,
    Leg,
    PlaceHold,
    Reverse,
    Transfer,
    UpdateWallet,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.errors import CofferError
from WalletCore.domain.ledger import Ledger
from WalletCore.domain.model import EXTERNAL, OperationType, Wallet, WalletStatus
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.tests.ledger_values import (
    COIN,
    NOBODY,
    ONE,
    ORIGINAL,
    THREE,
    TWO,
    make_ledger,
    make_original,
    make_wallet,
)

WALLETS: Final = (ONE, TWO, THREE)
HOLDS: Final = [UUID(int=3000 + number) for number in range(4)]
DEPOSITED: Final = UUID(int=402)
CLOSE_TO_ALL: Final = Decimal(MAX_AMOUNT_MINOR) / 100

wallet_ids = st.sampled_from([*WALLETS, ONE, TWO, NOBODY])
hold_ids = st.sampled_from(HOLDS)
amounts = st.integers(0, 6000).map(lambda cents: Decimal(cents) / 100) | st.sampled_from(
    [CLOSE_TO_ALL, CLOSE_TO_ALL - 50, Decimal(100), Decimal("0.001")]
)
maybe_amounts = st.none() | amounts
limits = st.integers(0, 20_000).map(lambda cents: Decimal(cents) / 100)
operation_ids = st.integers(10_000, 99_999).map(lambda number: UUID(int=number))
legs = st.builds(Leg, operation_ids, wallet_ids, wallet_ids, amounts)
commands = st.one_of(
    st.builds(Deposit, wallet_ids, operation_ids, amounts),
    st.builds(Withdraw, wallet_ids, operation_ids, amounts),
    st.builds(Transfer, operation_ids, st.lists(legs, min_size=1, max_size=5).map(tuple)),
    st.builds(
        PlaceHold,
        wallet_ids,
        hold_ids,
        amounts,
        st.sampled_from([timedelta(hours=1), timedelta(0)]),
    ),
    st.builds(
        CaptureHold,
        wallet_ids,
        hold_ids,
        operation_ids,
        maybe_amounts,
        st.booleans(),
        st.none() | wallet_ids,
    ),
    st.builds(VoidHold, wallet_ids, hold_ids),
    st.builds(ExpireHold, wallet_ids, hold_ids),
    st.builds(
        Reverse,
        st.sampled_from([ORIGINAL, DEPOSITED, NOBODY]),
        st.just((ONE, TWO)),
        operation_ids,
        maybe_amounts,
        st.booleans(),
    ),
    st.builds(
        UpdateWallet,
        wallet_ids,
        min_balance=limits.map(lambda limit: -limit),
        max_balance=st.none() | limits,
    ),
    st.builds(UpdateWallet, wallet_ids, status=st.sampled_from(list(WalletStatus))),
    st.builds(UpdateWallet, wallet_ids, status=st.just(WalletStatus.ACTIVE)),
)


def books(floor_minor: int, ceiling_minor: int | None) -> Ledger:
    """Three wallets, the last one in another currency; a transfer and a deposit of 40.00 that can
    be reversed.
    """
    transferred = make_original(
        (ONE, OperationType.TRANSFER_OUT, -4_000), (TWO, OperationType.TRANSFER_IN, 4_000)
    )
    deposited = make_original((ONE, OperationType.DEPOSIT, 4_000))
    ledger = make_ledger(
        make_wallet(ONE, min_balance_minor=floor_minor),
        make_wallet(TWO, balance_minor=0, max_balance_minor=ceiling_minor),
        make_wallet(THREE, currency=COIN),
    )
    ledger.originals.update({ORIGINAL: transferred, DEPOSITED: deposited})
    return ledger


def check_wallet(ledger: Ledger, wallet: Wallet) -> None:
    short_minor = max(0, -wallet.available_minor)
    assert wallet.shortfall_minor == short_minor
    holds = [hold for hold in ledger.holds.values() if hold.wallet_id == wallet.id]
    assert wallet.held_minor == sum(hold.remaining_minor for hold in holds)
    assert abs(wallet.balance_minor) <= MAX_AMOUNT_MINOR
    ceiling_minor = wallet.max_balance_minor
    assert ceiling_minor is None or wallet.balance_minor <= ceiling_minor
    if wallet.status is WalletStatus.CLOSED:
        assert (wallet.balance_minor, wallet.held_minor) == (0, 0)
    entries = [entry for entry in ledger.changes.entries if entry.wallet_id == wallet.id]
    assert [entry.seq for entry in entries] == list(range(4, wallet.entry_seq + 1))
    assert not entries or entries[-1].balance_after_minor == wallet.balance_minor
    events = [event.seq for event in ledger.changes.events if event.wallet_id == wallet.id]
    assert events == list(range(6, wallet.version + 1))
    assert (wallet.id in ledger.changes.changed) == bool(events)


def check_movements(ledger: Ledger) -> None:
    for hold in ledger.holds.values():
        assert 0 <= hold.captured_minor <= hold.amount_minor
    back: Counter[UUID | None] = Counter()
    for entry in ledger.changes.entries:
        if entry.operation_type is OperationType.REVERSAL_OUT:
            back[entry.related_id] -= entry.delta_minor
    for operation_id, original in ledger.originals.items():
        assert original.reversed_minor == back[operation_id] <= 4_000
    inside = [entry for entry in ledger.changes.entries if entry.counterparty != EXTERNAL]
    assert sum(entry.delta_minor for entry in inside) == 0
    for given_, taken in zip(inside[::2], inside[1::2], strict=True):
        assert given_.delta_minor == -taken.delta_minor < 0
        assert (given_.counterparty, taken.counterparty) == (
            *(str(taken.wallet_id), str(given_.wallet_id)),
        )
        assert given_.operation_id == taken.operation_id


@given(st.lists(commands, max_size=30), st.integers(-5_000, 0), st.none() | st.integers(0, 9_000))
def test_invariants_hold_after_every_command(
    sent: list[Command], floor_minor: int, ceiling_minor: int | None
) -> None:
    ledger = books(floor_minor, ceiling_minor)
    placed: set[UUID] = set()
    for command in sent:
        if isinstance(command, PlaceHold):
            if command.hold_id in placed:
                continue  # ids are never given twice
            placed.add(command.hold_id)
        before = copy.deepcopy((ledger.wallets, ledger.holds, ledger.originals, ledger.changes))
        answer = ledger.decide(command)
        if isinstance(answer, CofferError):
            after = (ledger.wallets, ledger.holds, ledger.originals, ledger.changes)
            assert after == before
        for wallet in ledger.wallets.values():
            check_wallet(ledger, wallet)
        check_movements(ledger)
