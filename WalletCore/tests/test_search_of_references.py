"""A search for a reference walks along the index that is made for it, however large the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.event import listen

from testkit.ledgers import postgres_store
from WalletCore.paging import PageRequest
from WalletCore.postgres.connect import connection_info, parse_url
from WalletCore.postgres.search_queries import IN_ORDER, WALK_REFERENCE, parameters
from WalletCore.search import LAST_PLACE, SearchFilter

ENTRIES: Final = 50_000
"""Where the planner has other ideas; with a million it has none."""
WALLETS: Final = 500
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
INDEX: Final = "ix_entries_reference_operation_id_wallet_id"

FILL: Final = (
    f"""
    INSERT INTO coffer.wallets (id, currency, balance, held, shortfall, min_balance, version,
        entry_seq, status, metadata, created_at, updated_at)
    SELECT lpad(to_hex(w), 32, '0')::uuid, 'USD', 0, 0, 0, 0, 1, 0, 'active', '{{}}', '{BEGUN}',
        '{BEGUN}' FROM generate_series(0, {WALLETS - 1}) w""",
    f"""
    INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, balance_after,
        counterparty, reference, metadata, created_at)
    SELECT lpad(to_hex(n % {WALLETS}), 32, '0')::uuid, n / {WALLETS} + 1,
        (lpad(to_hex({int(BEGUN.timestamp())}000 + n * 100), 12, '0') || '70008000'
            || lpad(to_hex(n), 12, '0'))::uuid, 'DEPOSIT', 1, n / {WALLETS} + 1, 'external',
        'order-' || n, '{{}}', '{BEGUN}'::timestamptz + n * interval '100 ms'
    FROM generate_series(0, {ENTRIES - 1}) n""",
    "VACUUM ANALYZE coffer.wallets, coffer.entries",
)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


@pytest.mark.parametrize("entries", [500, ENTRIES])
def test_a_reference_is_found_by_its_index_in_order(fresh_postgres_url: str, entries: int) -> None:
    wanted = SearchFilter(reference="order-321")
    with psycopg.connect(connection_info(fresh_postgres_url), autocommit=True) as connection:
        for statement in FILL:
            connection.execute(statement.replace(str(ENTRIES - 1), str(entries - 1)).encode())
    engine = create_engine(parse_url(fresh_postgres_url))
    with engine.begin() as connection:
        connection.execute(IN_ORDER)
        explain = text(f"EXPLAIN (FORMAT JSON) {WALK_REFERENCE.text}")
        given = parameters(wanted, LAST_PLACE, 51)
        ((document,),) = connection.execute(explain, given).all()
    engine.dispose()
    scans = {
        node["Index Name"]
        for node in nodes(document[0]["Plan"])
        if node.get("Relation Name") == "entries"
    }
    assert scans == {INDEX}
    sent: list[str] = []
    with postgres_store(fresh_postgres_url) as store:
        listen(
            store._engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: sent.append(statement),
        )
        page = store.search(wanted, PageRequest(None, 50))
        assert [item["reference"] for item in page.items] == ["order-321"]
        assert page.next_cursor is None
    # Holds that are due are asked for on the same connections.
    setting, walk = [statement for statement in sent if "coffer.holds" not in statement][-2:]
    assert "'enable_sort', 'off', true" in setting
    assert "coffer.entries" in walk
