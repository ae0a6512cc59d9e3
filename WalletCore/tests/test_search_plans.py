"""Among a million operations every search is a bounded walk, whatever is wanted; and where a
statement begins and ends is two look-ups."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, TextClause, create_engine, text

from testkit.ledgers import postgres_store
from testkit.services import TestDatabases
from WalletCore.domain.model import OperationType
from WalletCore.paging import PageRequest
from WalletCore.postgres import search_queries
from WalletCore.postgres.connect import connection_info, parse_url
from WalletCore.postgres.search_queries import (
    RARE,
    RARE_ENTRIES,
    WALK,
    WALK_REFERENCE,
    WALKED_ENTRIES,
    parameters,
)
from WalletCore.postgres.statement_queries import FRAME
from WalletCore.postgres.store import PostgresStore
from WalletCore.search import LAST_PLACE, SearchFilter

pytestmark = [pytest.mark.highload, pytest.mark.timeout(300)]

ENTRIES: Final = 1_000_000
WALLETS: Final = 1000
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The first operation; another one follows every 100 ms."""

FILL: Final = (
    f"""
    INSERT INTO coffer.wallets (id, owner, name, currency, balance, held, shortfall, min_balance,
        version, entry_seq, status, metadata, created_at, updated_at)
    SELECT lpad(to_hex(w), 32, '0')::uuid, NULL, NULL,
        CASE WHEN w = 7 THEN 'COIN' ELSE 'USD' END, 0, 0, 0, 0, 1, 0, 'active', '{{}}',
        '{BEGUN}', '{BEGUN}' FROM generate_series(0, {WALLETS - 1}) w""",
    f"""
    INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, balance_after,
        counterparty, reference, description, metadata, created_at)
    SELECT lpad(to_hex(n % {WALLETS}), 32, '0')::uuid, n / {WALLETS} + 1,
        (lpad(to_hex({int(BEGUN.timestamp())}000 + n * 100), 12, '0') || '70008000'
            || lpad(to_hex(n), 12, '0'))::uuid,
        CASE WHEN n = 1234 THEN 'WITHDRAW' ELSE 'DEPOSIT' END,
        CASE WHEN n = 1234 THEN -5000 WHEN n = 4321 THEN 1000000 ELSE 1 + n % 100 END,
        0, 'external', CASE WHEN n % 2 = 0 THEN 'r-' || n WHEN n % 4 = 1 THEN 'often' END, NULL,
        CASE WHEN n % 2 = 0 THEN '{{}}'::jsonb ELSE jsonb_build_object(
            'order', 'A-' || n, 'channel', 'web', 'year', n / 100000) END,
        '{BEGUN}'::timestamptz + n * interval '100 ms'
    FROM generate_series(0, {ENTRIES - 1}) n""",
    "VACUUM ANALYZE coffer.wallets, coffer.entries",
)

MOST_SECONDS: Final = 1.0
"""It takes some hundredths; a machine may be slow, and a read's limit is 5 s."""
PLANS_CHANGE_AFTER_CALLS: Final = 15

CONDITIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "reference": {"reference": "r-500000"},
    "often": {"reference": "often"},
    "order": {"metadata": {"order": "A-5001"}},
    "channel": {"metadata": {"channel": "web"}},
    "year": {"metadata": {"year": 1}},
    "type": {"operation_type": OperationType.WITHDRAW},
    "currency": {"currency": "COIN"},
    "amount": {"currency": "USD", "least_minor": 999_999},
    "since": {"since": BEGUN + timedelta(seconds=ENTRIES / 20)},
    "until": {"until": BEGUN + timedelta(seconds=ENTRIES / 15)},
}


@pytest.fixture(scope="module")
def url(test_databases: TestDatabases) -> Iterator[str]:
    with test_databases.migrated() as url:
        with psycopg.connect(connection_info(url), autocommit=True) as connection:
            for statement in FILL:
                connection.execute(statement.encode())
        yield url


@pytest.fixture(scope="module")
def store(url: str) -> Iterator[PostgresStore]:
    with postgres_store(url) as store:
        yield store


@pytest.fixture(scope="module")
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(parse_url(url))
    yield engine
    engine.dispose()


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def explained(engine: Engine, statement: TextClause, given: Mapping[str, Any]) -> list[Any]:
    """The nodes of the plan, with what was really done."""
    explain = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
    with engine.connect() as connection:
        if statement is RARE:
            connection.execute(search_queries.RARE_LIMITS)
        ((document,),) = connection.execute(explain, given).all()
    return list(nodes(document[0]["Plan"]))


def looked_at(node: Mapping[str, Any]) -> int:
    """The rows that a scan of entries read, in all of its loops."""
    gone = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + gone) * node["Actual Loops"])


def wanted_of(names: tuple[str, ...]) -> SearchFilter:
    found: dict[str, Any] = {}
    for name in names:
        found |= CONDITIONS[name]
    return SearchFilter(**found)


@pytest.mark.parametrize("size", range(4))
def test_no_search_reads_more_than_it_may(engine: Engine, size: int) -> None:
    for names in combinations(CONDITIONS, size):
        wanted = wanted_of(names)
        place = min(LAST_PLACE, wanted.end)
        walk = WALK if wanted.reference is None else WALK_REFERENCE
        for node in explained(engine, walk, parameters(wanted, place, 51)):
            assert node["Node Type"] not in ("Seq Scan", "Sort"), names
            if node.get("Relation Name") == "entries":
                assert node["Node Type"] == "Index Scan", names
                assert looked_at(node) <= WALKED_ENTRIES, names
        if wanted.metadata is not None:
            for node in explained(engine, RARE, parameters(wanted, place, 51)):
                assert node["Node Type"] != "Seq Scan", names
                if node.get("Relation Name") == "entries":
                    assert node["Node Type"] == "Bitmap Heap Scan", names
                    assert looked_at(node) <= RARE_ENTRIES + 1, names


def test_each_condition_uses_its_index(engine: Engine) -> None:
    for names, statement, index in (
        ((), WALK, "uq_entries_operation_id_wallet_id"),
        (("type", "amount", "since"), WALK, "uq_entries_operation_id_wallet_id"),
        (("reference", "type"), WALK_REFERENCE, "ix_entries_reference_operation_id_wallet_id"),
        (("often", "order"), WALK_REFERENCE, "ix_entries_reference_operation_id_wallet_id"),
        (("order",), RARE, "ix_entries_metadata"),
        (("channel",), RARE, "ix_entries_metadata"),
    ):
        wanted = wanted_of(names)
        given = parameters(wanted, min(LAST_PLACE, wanted.end), 51)
        used = {node.get("Index Name") for node in explained(engine, statement, given)}
        assert used - {None, "pk_wallets"} == {index}, names


@pytest.mark.parametrize("at", [BEGUN, BEGUN + timedelta(hours=3), None])
def test_where_a_statement_begins_and_ends_is_a_look_up_each(
    engine: Engine, at: datetime | None
) -> None:
    given = {"wallet_id": UUID(int=5), "since": at, "until": at, "now": datetime.now(UTC)}
    scans = [n for n in explained(engine, FRAME, given) if n.get("Relation Name") == "entries"]
    assert len(scans) == (1 if at is None else 2)
    for scan in scans:
        assert scan["Node Type"] == "Index Scan"
        assert scan["Index Name"] == "ix_entries_wallet_id_created_at_seq"
        assert looked_at(scan) <= 1


def seqs(store: PostgresStore, wanted: SearchFilter) -> tuple[list[str], int]:
    """The ids of everything that is found, and how many pages that takes."""
    found: list[str] = []
    page, pages = store.search(wanted, PageRequest(limit=200)), 1
    while True:
        found += [item["id"] for item in page.items]
        if page.next_cursor is None:
            return found, pages
        page, pages = store.search(wanted, PageRequest(page.next_cursor, 200)), pages + 1


def ids(*numbers: int) -> list[str]:
    begun = int(BEGUN.timestamp()) * 1000
    return [str(UUID(f"{begun + n * 100:012x}70008000{n:012x}")) for n in numbers]


def test_what_is_rare_is_found_in_the_end(store: PostgresStore) -> None:
    """However far back, by going on; at once where an index knows it."""
    walks = ENTRIES // WALKED_ENTRIES
    assert seqs(store, wanted_of(("type",))) == (ids(1234), walks + 1)
    assert seqs(store, wanted_of(("amount",))) == (ids(4321), walks + 1)
    assert seqs(store, wanted_of(("order",))) == (ids(5001), 1)
    assert seqs(store, wanted_of(("reference",))) == (ids(500_000), 1)
    assert seqs(store, wanted_of(("reference", "type"))) == ([], 1)
    assert seqs(store, wanted_of(("order", "type"))) == ([], 1)
    assert seqs(store, SearchFilter(metadata={"order": "A-5001", "channel": "web"}))[1] == 1


def test_what_is_common_but_old_is_walked_for(store: PostgresStore) -> None:
    """More of this metadata than may be looked at wherever they are, none of them recent."""
    page = store.search(wanted_of(("year",)), PageRequest(limit=50))
    assert page.items == []
    assert page.next_cursor is not None
    found, _ = seqs(store, SearchFilter(metadata={"year": 1}, until=BEGUN + timedelta(hours=3)))
    assert found == ids(*range(107_999, 99_999, -2))


def test_a_search_stays_fast(store: PostgresStore) -> None:
    for name in CONDITIONS:
        # After some calls the driver prepares a statement, and PostgreSQL a plan for any values.
        for _ in range(PLANS_CHANGE_AFTER_CALLS):
            started = time.monotonic()
            store.search(wanted_of((name,)), PageRequest())
            assert time.monotonic() - started < MOST_SECONDS, name
