"""What a failure must not leave behind on the connection on which money is written."""

from __future__ import annotations

import signal
import threading
from decimal import Decimal

import psycopg
import pytest

from testkit.ledgers import CURRENCIES, audit, balance_of, deposit, new_wallet, postgres_store
from testkit.notices import notice_of
from WalletCore.deciding import Submission, decide_batch, needs_of
from WalletCore.domain.errors import CofferError
from WalletCore.failures import StoreUnavailable
from WalletCore.postgres.connect import connection_info, read_engine
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.postgres.inbox import PostgresInbox
from WalletCore.postgres.transactions import PostgresTransactions

UNREADABLE = """UPDATE coffer.wallets SET metadata = '{"n": 1e400}' WHERE id = %s"""
"""PostgreSQL counts so far, JSON's readers do not; no request can bring it in."""


def test_a_wallet_that_cannot_be_read_harms_no_other(fresh_postgres_url: str) -> None:
    with postgres_store(fresh_postgres_url) as store:
        bad, good = new_wallet(store), new_wallet(store)
        with psycopg.connect(connection_info(fresh_postgres_url)) as owner:
            owner.execute(UNREADABLE, (bad,))
        for number in range(1, 4):
            with pytest.raises(CofferError, match="Nothing was changed"):
                store.execute(deposit(bad, 1))
            assert store.execute(deposit(good, 1)).status == 200
            assert balance_of(store, good) == Decimal(number)
    assert audit(fresh_postgres_url) == []


def test_an_error_of_ours_after_commit_is_not_taken_for_refused_data(
    fresh_postgres_url: str,
) -> None:
    """What is refused is done again in parts; this would then be done twice."""
    with postgres_store(fresh_postgres_url) as store:
        wallet_id = new_wallet(store)
    engine = read_engine(fresh_postgres_url)
    currencies = StoredCurrencies(engine, CURRENCIES)
    source = PostgresTransactions(fresh_postgres_url, currencies)
    submission = Submission(deposit(wallet_id, 1), None)

    def interrupt(*_: object) -> None:
        raise ValueError("anything")

    def commit() -> None:
        with source.begin() as transaction:
            loaded = transaction.load(needs_of(submission.command), [], skip_locked=False)
            _, changes, remembered = decide_batch(
                [submission], loaded, currencies, transaction.append
            )
            blocker.execute("LOCK TABLE coffer.events")
            timer.start()
            transaction.save(changes, remembered)

    before = signal.signal(signal.SIGURG, interrupt)
    timer = threading.Timer(0.5, signal.pthread_kill, (threading.get_ident(), signal.SIGURG))
    try:
        with psycopg.connect(connection_info(fresh_postgres_url)) as blocker:
            with pytest.raises(ValueError, match="anything"):
                commit()
            assert not source.is_open()  # with answers on it that nobody took
    finally:
        timer.join()
        signal.signal(signal.SIGURG, before)
        source.close()
        engine.dispose()


def test_the_inbox_goes_on_after_a_table_was_changed(fresh_postgres_url: str) -> None:
    """PostgreSQL refuses a prepared statement whose result has another type by now."""
    inbox = PostgresInbox(fresh_postgres_url)
    first, second = notice_of(user_id="a"), notice_of(user_id="a")
    try:
        assert inbox.record([first]) == {first.event_id}
        with psycopg.connect(connection_info(fresh_postgres_url)) as owner:
            owner.execute("ALTER TABLE notifications.notifications ALTER event_id TYPE text")
        with pytest.raises(StoreUnavailable, match="cached plan"):
            inbox.record([second])
        assert {str(id_) for id_ in inbox.record([second])} == {str(second.event_id)}
    finally:
        inbox.close()
