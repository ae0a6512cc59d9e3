"""What a currency is worth never depends on what one process happens to be configured with."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import balance_of, deposit, keyed
from WalletCore.currencies import load_currencies
from WalletCore.domain.commands import CreateWallet
from WalletCore.paging import PageRequest
from WalletCore.postgres import currencies as stored_currencies
from WalletCore.postgres.connect import connection_info
from WalletCore.postgres.store import PostgresStore
from WalletCore.store import OperationFilter, WalletFilter


def opened(url: str, own: str) -> PostgresStore:
    return PostgresStore(url, load_currencies(own), waiting_limit=8)


def wallet_in(store: PostgresStore, code: str) -> UUID:
    wallet_id = uuid7()
    assert store.execute(CreateWallet(wallet_id, code)).status == 201
    assert store.execute(deposit(wallet_id, 5)).status == 200
    return wallet_id


def test_other_decimals_than_the_stored_ones_are_refused(fresh_postgres_url: str) -> None:
    opened(fresh_postgres_url, "GEM:2").close()
    with pytest.raises(ValueError, match="GEM has 2 decimals in this database, not 3"):
        opened(fresh_postgres_url, "GEM:3")


def test_a_currency_that_is_configured_no_more_stays(fresh_postgres_url: str) -> None:
    before = opened(fresh_postgres_url, "GEM:2")
    gem = wallet_in(before, "GEM")
    before.close()
    after = opened(fresh_postgres_url, "")
    try:
        assert after.wallet(gem)["balance"] == "5.00"
        assert after.execute(deposit(gem, 1)).status == 200
    finally:
        after.close()


def test_a_currency_of_a_newer_process_fails_nobody(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_currencies, "RELOAD_PAUSE_SECONDS", 0.0)
    old = opened(fresh_postgres_url, "")
    new = opened(fresh_postgres_url, "GEM:2")
    try:
        gem = wallet_in(new, "GEM")
        assert old.execute(deposit(gem, "0.25"), keyed("k")).status == 200
        assert balance_of(old, gem) == balance_of(new, gem)
        assert len(old.wallets(WalletFilter(), PageRequest()).items) == 1
        assert len(old.operations(gem, OperationFilter(), PageRequest()).items) == 2
        assert old.trial_balance()["balanced"] is True
    finally:
        old.close()
        new.close()


@pytest.mark.parametrize("statement", ["UPDATE coffer.currencies SET exponent = 0"])
def test_decimals_cannot_be_changed_by_hand(fresh_postgres_url: str, statement: str) -> None:
    opened(fresh_postgres_url, "GEM:2").close()
    with (
        psycopg.connect(connection_info(fresh_postgres_url)) as connection,
        pytest.raises(psycopg.Error, match="append-only"),
    ):
        connection.execute(statement)
