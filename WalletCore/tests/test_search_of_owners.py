"""Searches that are limited to an owner: they tell nothing of what others have."""

from __future__ import annotations

import base64
import time
from decimal import Decimal

import orjson
import pytest
from uuid_utils.compat import uuid7

from testkit.ledgers import postgres_store
from WalletCore.domain.commands import CreateWallet, Deposit
from WalletCore.paging import PageRequest
from WalletCore.search import LAST_PLACE, Place, SearchFilter, veiled
from WalletCore.tests.test_search import shorten

REFERENCES = (None, "r")


@pytest.mark.parametrize("reference", REFERENCES)
def test_no_cursor_names_what_is_of_others(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch, reference: str | None
) -> None:
    shorten(monkeypatch, walked=3, rare=4)
    with postgres_store(fresh_postgres_url) as store:
        mine, theirs = uuid7(), uuid7()
        store.execute(CreateWallet(mine, "USD", owner="alice"))
        store.execute(CreateWallet(theirs, "USD", owner="bob"))
        own: list[str] = []
        foreign = {str(theirs)}
        for number in range(24):
            wallet, id_ = (mine, theirs)[number % 8 != 3], uuid7()
            store.execute(Deposit(wallet, id_, Decimal(1), reference="r"))
            if wallet == mine:
                own.append(str(id_))
            else:
                foreign.add(str(id_))
            time.sleep(0.002)  # a millisecond never has so many as a page looks at
        found: list[str] = []
        cursor: str | None = None
        pages = 0
        wanted = SearchFilter(reference=reference, owner="alice")
        while pages == 0 or cursor is not None:
            page = store.search(wanted, PageRequest(cursor, 2))
            found += [item["id"] for item in page.items]
            cursor, pages = page.next_cursor, pages + 1
            assert pages < 50
            if cursor is not None:
                named = orjson.loads(base64.urlsafe_b64decode(cursor + "=="))[1:]
                assert foreign.isdisjoint(named)
        assert found == own[::-1]


def test_a_veiled_place_is_between_what_was_found_and_the_rest() -> None:
    ids = sorted((uuid7() for _ in range(2)), reverse=True)
    time.sleep(0.002)
    last: Place = (uuid7(), LAST_PLACE[1])
    rest: Place = (ids[1], ids[0])
    hidden = veiled(rest, LAST_PLACE, last)
    assert rest < hidden < last
    assert veiled(rest, LAST_PLACE, hidden) == hidden
    # Where that would be no way forward, the rest itself is named.
    assert veiled(rest, hidden, hidden) == rest
