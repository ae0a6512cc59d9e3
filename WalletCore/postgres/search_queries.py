"""Searching operations on PostgreSQL. However rare what is wanted is, a search does little.

Entries are walked backwards in the order of the answer, by the index on operation ids or, where a
reference is wanted, on references; after WALKED_ENTRIES a walk ends and the next page goes on
there. The planner has no choice of its own in this: the conditions that it would weigh stand
outside of the walk. Metadata that nothing recent has may be rare, and then the index on metadata
finds all that there is at once; metadata that many have is walked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import DBAPIError

from WalletCore.domain.model import Document, operation_document
from WalletCore.paging import Page, PageRequest
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.postgres.errors import QUERY_CANCELED
from WalletCore.postgres.locking import entry_of_row
from WalletCore.postgres.notifications import Read
from WalletCore.postgres.queries import ENTRY
from WalletCore.search import (
    LAST_PLACE,
    Place,
    SearchFilter,
    decode_place,
    encode_place,
    has_scalar,
    place_of,
    veiled,
)

WALKED_ENTRIES: Final = 10_000
"""How many entries one page looks at, at most."""

RARE_ENTRIES: Final = 2000
"""Up to so many entries with the wanted metadata are looked at wherever they are."""

RARE_TIMEOUT_MILLISECONDS: Final = 500
"""How long that may take: the index gives all that have it before the first one is looked at, some
10 million in this time."""

_COLUMNS: Final = ", ".join(f"e.{column.name}" for column in ENTRY)
_ORDER: Final = "ORDER BY e.operation_id DESC, e.wallet_id DESC"
_ORDER_OF_REFERENCE: Final = "ORDER BY e.reference DESC, e.operation_id DESC, e.wallet_id DESC"
_BEFORE: Final = (
    "(e.operation_id, e.wallet_id) < (CAST(:before_id AS uuid), CAST(:before_wallet_id AS uuid)) "
    "AND e.operation_id >= CAST(:first_id AS uuid)"
)
_BEFORE_OF_REFERENCE: Final = (
    "e.reference IS NOT NULL AND (e.reference, e.operation_id, e.wallet_id) "
    "< (:reference, CAST(:before_id AS uuid), CAST(:before_wallet_id AS uuid)) "
    "AND (e.reference, e.operation_id) >= (:reference, CAST(:first_id AS uuid))"
)
"""Of one reference. Were that said by "=", the other index would have the order as well, and for a
common reference the planner prefers it, and reads far more than WALKED_ENTRIES."""
_CURRENCY: Final = "(SELECT w.currency FROM coffer.wallets w WHERE w.id = e.wallet_id)"
_OWNER: Final = "(SELECT w.owner FROM coffer.wallets w WHERE w.id = e.wallet_id)"
_WANTED: Final = (
    "(abs(e.delta) BETWEEN :least AND :most "
    "AND (CAST(:type AS text) IS NULL OR e.operation_type = :type) "
    "AND (CAST(:since AS timestamptz) IS NULL OR e.created_at >= :since) "
    "AND (CAST(:until AS timestamptz) IS NULL OR e.created_at < :until) "
    "AND (CAST(:metadata AS jsonb) IS NULL OR e.metadata @> CAST(:metadata AS jsonb)) "
    f"AND (CAST(:currency AS text) IS NULL OR {_CURRENCY} = :currency) "
    f"AND (CAST(:owner AS text) IS NULL OR {_OWNER} = :owner))"
)
"""Everything but the reference. Currency and owner are the wallet's, a look-up, and come last."""


def _walk(bounds: str, order: str) -> TextClause:
    """The wanted ones of the next WALKED_ENTRIES, newest first, and the last of these if there are
    so many, wanted or not. Nothing is read beyond the ``rows`` that were found.
    """
    return text(
        f"SELECT {_COLUMNS}, {_CURRENCY}, e.wanted, e.place = {WALKED_ENTRIES} "  # noqa: S608
        f"FROM (SELECT {_COLUMNS}, {_WANTED} AS wanted, row_number() OVER ({order}) AS place "
        f"FROM (SELECT {_COLUMNS} FROM coffer.entries e WHERE {bounds} "
        f"{order} LIMIT {WALKED_ENTRIES}) AS e) AS e "
        f"WHERE e.wanted OR e.place = {WALKED_ENTRIES} {order} LIMIT :rows"
    )


WALK: Final = _walk(_BEFORE, _ORDER)
"""By uq_entries_operation_id_wallet_id."""

WALK_REFERENCE: Final = _walk(_BEFORE_OF_REFERENCE, _ORDER_OF_REFERENCE)
"""By ix_entries_reference_operation_id_wallet_id."""

IN_ORDER: Final = text("SELECT set_config('enable_sort', 'off', true)")
"""For the transaction of WALK_REFERENCE: with some 100,000 entries the planner would rather skip
through another index, wallet by wallet, and sort what it finds (6.6 ms instead of 0.4)."""

RARE: Final = text(
    "WITH held AS MATERIALIZED ("  # noqa: S608
    f"SELECT {_COLUMNS} FROM coffer.entries e WHERE e.metadata @> CAST(:metadata AS jsonb) "
    f"AND e.metadata <> '{{}}' LIMIT {RARE_ENTRIES + 1}) "
    "SELECT (SELECT count(*) FROM held), found.* FROM (SELECT) AS one LEFT JOIN LATERAL ("
    f"SELECT {_COLUMNS}, {_CURRENCY} FROM held e WHERE {_BEFORE} AND {_WANTED} "
    f"{_ORDER} LIMIT :rows) found ON true"
)
"""How many entries have this metadata, counted up to one more than RARE_ENTRIES, and those of them
that are wanted, newest first; one row without an entry if there are none. By ix_entries_metadata,
which knows no order: so the number of rows is limited before they are looked at."""

RARE_LIMITS: Final = text(
    "SELECT set_config('enable_seqscan', 'off', true), "
    f"set_config('statement_timeout', '{RARE_TIMEOUT_MILLISECONDS}', true)"
)
"""For the transaction of RARE. A LIMIT alone makes the planner hope to find that many on the way
through the table."""


def search_entries(
    read: Read, currencies: StoredCurrencies, wanted: SearchFilter, page: PageRequest
) -> Page:
    """See Store.search. ``read`` runs a function on a pooled connection and translates its
    failures.
    """
    place = LAST_PLACE if page.cursor is None else decode_place(page.cursor)
    place = min(place, wanted.end)
    given = parameters(wanted, place, page.limit + 1)
    if wanted.reference is None:
        rows = read(lambda connection: connection.execute(WALK, given).all())
    else:
        rows = read(lambda connection: _of_reference(connection, given))
    found = [row for row in rows if row[-2]]
    rest: Place | None = None
    if len(found) <= page.limit and rows and rows[-1][-1]:
        rest = place_of(entry_of_row(rows[-1]))
        if wanted.reference is None and has_scalar(wanted.metadata or {}):
            of_rest = parameters(wanted, rest, page.limit + 1)
            rare = read(lambda connection: _rare(connection, of_rest))
            if rare is not None:
                found += rare
                rest = None
        if rest is not None and wanted.owner is not None and not rows[-1][-2]:
            last = place_of(entry_of_row(found[-1])) if found else place
            rest = veiled(rest, place, last)
    operations = [_operation(row, currencies) for row in found[: page.limit]]
    if len(found) > page.limit:
        rest = place_of(entry_of_row(found[page.limit - 1]))
    return Page(operations, None if rest is None else encode_place(rest))


def parameters(wanted: SearchFilter, place: Place, rows: int) -> Mapping[str, Any]:
    """What the statements above take, to find ``rows`` that come after ``place``."""
    metadata = None if wanted.metadata is None else orjson.dumps(wanted.metadata).decode()
    return {
        "before_id": place[0],
        "before_wallet_id": place[1],
        "first_id": wanted.first_id,
        "reference": wanted.reference,
        "metadata": metadata,
        "least": wanted.least_minor,
        "most": wanted.most_minor,
        "currency": wanted.currency,
        "owner": wanted.owner,
        "type": wanted.operation_type and wanted.operation_type.value,
        "since": wanted.since,
        "until": wanted.until,
        "rows": rows,
    }


def _of_reference(connection: Connection, given: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The rows of WALK_REFERENCE."""
    connection = connection.execution_options(isolation_level="READ COMMITTED")
    with connection.begin():
        connection.execute(IN_ORDER)
        return connection.execute(WALK_REFERENCE, given).all()


def _rare(connection: Connection, given: Mapping[str, Any]) -> Sequence[Sequence[Any]] | None:
    """The rows of RARE; None if there is too much of this metadata for that."""
    connection = connection.execution_options(isolation_level="READ COMMITTED")
    try:
        with connection.begin():
            connection.execute(RARE_LIMITS)
            rows = connection.execute(RARE, given).all()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != QUERY_CANCELED:
            raise
        return None
    if rows[0][0] > RARE_ENTRIES:
        return None
    return [row[1:] for row in rows if row[1] is not None]


def _operation(row: Sequence[Any], currencies: StoredCurrencies) -> Document:
    """A row of an entry's columns and its wallet's currency, as an operation."""
    return operation_document(entry_of_row(row), currencies.stored(row[len(ENTRY)]))
