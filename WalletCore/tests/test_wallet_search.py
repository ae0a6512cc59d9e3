"""Wallets by how their owner or name begins: both stores find the same, without a scan of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import postgresql
from uuid_utils.compat import uuid7

from testkit.ledgers import memory_store, postgres_store
from WalletCore.domain.commands import CreateWallet
from WalletCore.folding import CAPITALS, SMALL_LETTERS, end_of_prefix, fold
from WalletCore.paging import PageRequest
from WalletCore.postgres import queries
from WalletCore.postgres.condition import HOT_WALLETS, first_id
from WalletCore.postgres.connect import connection_info, parse_url
from WalletCore.store import WalletFilter

WALLETS: Final = 100_000
FILL: Final = f"""
    INSERT INTO coffer.wallets (id, owner, name, currency, balance, held, shortfall, min_balance,
        version, entry_seq, status, metadata, created_at, updated_at)
    SELECT lpad(to_hex(w), 32, '0')::uuid, 'Owner ' || w, 'Wallet ' || (w % 10), 'USD', 0, 0, 0, 0,
        1, 0, 'active', '{{}}', now(), now() FROM generate_series(0, {WALLETS - 1}) w"""

TEXTS: Final = st.text(st.sampled_from("aAbBяЯéÉ%_\\ß\U0010ffff\ud7ff"), min_size=1, max_size=5)


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(connection_info(postgres_url), autocommit=True) as connection:
        yield connection


@given(text=TEXTS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(text=CAPITALS + SMALL_LETTERS)
@example(text="İSTANBUL ẞ ΑΣ")
def test_the_database_folds_as_python_does(connection: psycopg.Connection[Any], text: str) -> None:
    assert connection.execute("SELECT coffer.fold(%s)", [text]).fetchone() == (fold(text),)


@given(prefix=TEXTS, text=TEXTS)
@example(prefix="\ud7ff", text="\ue000")
def test_a_range_is_a_prefix(prefix: str, text: str) -> None:
    end = end_of_prefix(prefix)
    assert text.startswith(prefix) == (prefix <= text and (end is None or text < end))


def test_both_stores_find_the_same(fresh_postgres_url: str) -> None:
    ids = [uuid7() for _ in range(8)]
    with ExitStack() as stack:
        stores = [stack.enter_context(memory_store())]
        stores.append(stack.enter_context(postgres_store(fresh_postgres_url)))  # type: ignore[arg-type]
        for store in stores:
            for number, wallet_id in enumerate(ids):
                owner = ("Ольга", "50%_", None, "anna", "ANNA\\", "éa", "x", "")[number]
                name = ("anna", None, "ольга и Анна", "50", "", "É", str(ids[0]), "annA")[number]
                store.execute(CreateWallet(wallet_id, "USD", owner=owner, name=name))
        for search in (
            "ан",
            "an",
            "ANNA",
            "anna\\",
            "ол",
            "50",
            "50%",
            "5_",
            "É",
            "%",
            str(ids[0]),
        ):
            for limit in (1, 2, 50):
                pages = [pages_of(store, WalletFilter(search=search), limit) for store in stores]
                assert pages[0] == pages[1], search
        for store in stores:
            found = pages_of(store, WalletFilter(search=str(ids[0]).upper()), 50)
            assert [item["id"] for item in found] == [str(ids[0]), str(ids[6])]
        mine = WalletFilter(owner="anna", search="50")
        assert [len(pages_of(store, mine, 1)) for store in stores] == [1, 1]


def pages_of(store: Any, wanted: WalletFilter, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = store.wallets(wanted, PageRequest(cursor, limit))
        found += [{**item, "created_at": "", "updated_at": ""} for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


@pytest.mark.timeout(200)
def test_no_search_reads_all_wallets(fresh_postgres_url: str) -> None:
    with psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as connection:
        connection.execute(FILL.encode())
        connection.execute("VACUUM ANALYZE coffer.wallets")
        for search in ("owner 4711", "OWNER", "wallet 7", "nobody", str(uuid7())):
            wanted = WalletFilter(search=search)
            query = queries.found_wallets(search, wanted.search_id)
            written = query.compile(
                dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
                compile_kwargs={"literal_binds": True},
            )
            explain = f"EXPLAIN (FORMAT JSON) {written}".encode()
            row = connection.execute(explain).fetchone()
            assert row is not None
            kinds = {node["Node Type"] for node in nodes(row[0][0]["Plan"])}
            used = {node.get("Index Name") for node in nodes(row[0][0]["Plan"])} - {None}
            assert "Seq Scan" not in kinds, search
            assert used >= {"ix_wallets_folded_owner", "ix_wallets_folded_name"}, search
            # The key alone, but for its own condition, would be a walk over all wallets.
            walks = [n for n in nodes(row[0][0]["Plan"]) if n.get("Index Name") == "pk_wallets"]
            assert all("Index Cond" in node for node in walks), search


def test_few_and_many_that_are_found_make_the_same_pages(
    fresh_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_FOUND_WALLETS", 3)
    asked: list[bool] = []
    page_query = queries.wallets_page

    def wallets_page(*given: Any) -> Any:
        asked.append(given[3] is not None)
        return page_query(*given)

    monkeypatch.setattr(queries, "wallets_page", wallets_page)
    with postgres_store(fresh_postgres_url) as store:
        made = [uuid7() for _ in range(7)]
        for number, wallet_id in enumerate(made):
            kind = "few" if number < 3 else "many"
            store.execute(CreateWallet(wallet_id, "USD", owner=f"{kind} {number}", name=None))
        for search, wanted, gathered in (("few", made[:3], True), ("many", made[3:], False)):
            found = pages_of(store, WalletFilter(search=search), 2)
            assert [item["id"] for item in found] == [str(one) for one in wanted]
            assert set(asked) == {gathered}
            asked.clear()
        assert pages_of(store, WalletFilter(search="few", currency="EUR"), 2) == []


def test_hot_wallets_are_a_range_of_the_key(fresh_postgres_url: str) -> None:
    engine = create_engine(parse_url(fresh_postgres_url))
    wanted = {"first": first_id(1e9), "rows": 10, "wallets": 10}
    with engine.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        plan = connection.execute(text(f"EXPLAIN {HOT_WALLETS.text}"), wanted)
        told = "\n".join(row[0] for row in plan)
    engine.dispose()
    assert "Index Scan Backward" in told
    assert "Index Cond: (id >= " in told
    assert "Seq Scan" not in told
