"""The rules of a wallet's name, metadata and status, on plain values."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from WalletCore.domain.commands import UpdateWallet
from WalletCore.domain.errors import WalletClosed, WalletNotEmpty
from WalletCore.domain.model import WalletStatus, wallet_document
from WalletCore.domain.working_set import Accepted, Changes
from WalletCore.tests.ledger_values import NOW, ONE, assert_refused, make_ledger, make_wallet


@pytest.mark.parametrize(
    ("before", "change", "event_type"),
    [
        ({}, {"name": "x"}, "coffer.wallet.updated"),
        ({"name": "x"}, {"name": None}, "coffer.wallet.updated"),
        ({}, {"metadata": {"a": 1}}, "coffer.wallet.updated"),
        ({"metadata": {"a": 1}}, {"metadata": {}}, "coffer.wallet.updated"),
        ({"metadata": {"a": 1}}, {"metadata": {"a": True}}, "coffer.wallet.updated"),
        ({"metadata": {"a": [0]}}, {"metadata": {"a": [False]}}, "coffer.wallet.updated"),
        ({}, {"status": WalletStatus.FROZEN}, "coffer.wallet.frozen"),
        ({"status": "frozen"}, {"status": WalletStatus.ACTIVE}, "coffer.wallet.unfrozen"),
        ({"balance_minor": 0}, {"status": WalletStatus.CLOSED}, "coffer.wallet.closed"),
        ({"balance_minor": 0, "status": "frozen"}, {"status": "closed"}, "coffer.wallet.closed"),
        ({"status": "frozen"}, {"name": "x"}, "coffer.wallet.updated"),
        ({}, {"name": "x", "status": WalletStatus.FROZEN}, "coffer.wallet.frozen"),
    ],
)
def test_changes_of_a_wallet(
    before: dict[str, Any], change: dict[str, Any], event_type: str
) -> None:
    wallet = make_wallet(**_with_status(before))
    expected = copy.deepcopy(wallet)
    for name, value in _with_status(change).items():
        setattr(expected, name, value)
    expected.version, expected.updated_at = 6, NOW
    ledger = make_ledger(wallet)
    answer = ledger.decide(UpdateWallet(ONE, **_with_status(change)))
    assert wallet_document(wallet) == wallet_document(expected)
    assert repr(wallet.metadata) == repr(expected.metadata), "true is not 1"
    assert answer == Accepted(200, wallet_document(wallet))
    assert ledger.changes.changed == {ONE: wallet}
    assert not ledger.changes.entries
    [event] = ledger.changes.events
    assert (event.type, event.seq) == (event_type, 6)


def _with_status(fields: dict[str, Any]) -> dict[str, Any]:
    if "status" not in fields:
        return fields
    return {**fields, "status": WalletStatus(fields["status"])}


@pytest.mark.parametrize("status", list(WalletStatus))
def test_a_change_to_what_is_there_already_is_none(status: WalletStatus) -> None:
    wallet = make_wallet(balance_minor=0, status=status, name="x", metadata={"a": [1, None]})
    before = copy.deepcopy(wallet)
    ledger = make_ledger(wallet)
    command = UpdateWallet(ONE, name="x", metadata={"a": [1, None]}, status=status)
    for same in (command, UpdateWallet(ONE)):
        assert ledger.decide(same) == Accepted(200, wallet_document(before))
    assert wallet == before
    assert ledger.changes == Changes()


@pytest.mark.parametrize(
    "change",
    [{"name": "x"}, {"metadata": {"a": 1}}, {"status": "active"}, {"status": "frozen"}],
)
def test_a_closed_wallet_stays_as_it_is(change: dict[str, Any]) -> None:
    wallet = make_wallet(balance_minor=0, status=WalletStatus.CLOSED)
    assert_refused(UpdateWallet(ONE, **_with_status(change)), WalletClosed, wallet)


@pytest.mark.parametrize(
    "fields",
    [
        {"balance_minor": 1},
        {"balance_minor": -1, "min_balance_minor": -1},
        {"balance_minor": 0, "held_minor": 1, "min_balance_minor": -1},
    ],
)
def test_only_an_empty_wallet_is_closed(fields: dict[str, Any]) -> None:
    command = UpdateWallet(ONE, name="x", status=WalletStatus.CLOSED)
    assert_refused(command, WalletNotEmpty, make_wallet(**fields))
