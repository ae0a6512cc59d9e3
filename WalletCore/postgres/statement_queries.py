"""Statements on PostgreSQL: where one begins and ends, and its slices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select, text

from WalletCore.domain.model import Entry
from WalletCore.domain.working_set import wallet_not_found
from WalletCore.postgres.currencies import StoredCurrencies
from WalletCore.postgres.locking import entry_of_row
from WalletCore.postgres.notifications import Read
from WalletCore.postgres.queries import ENTRY
from WalletCore.postgres.tables import entries
from WalletCore.statements import Statement

FRAME: Final = text(
    """
    SELECT w.currency, p.until, coalesce(o.seq, 0), coalesce(c.seq, 0),
           coalesce(o.balance_after, 0), coalesce(c.balance_after, 0)
    FROM coffer.wallets w
    CROSS JOIN LATERAL (
        SELECT least(CAST(:until AS timestamptz), greatest(
            CAST(:now AS timestamptz), w.updated_at + interval '1 microsecond')) AS until) p
    LEFT JOIN LATERAL (
        SELECT e.seq, e.balance_after FROM coffer.entries e
        WHERE e.wallet_id = w.id AND e.created_at < CAST(:since AS timestamptz)
        ORDER BY e.created_at DESC, e.seq DESC LIMIT 1) o ON true
    LEFT JOIN LATERAL (
        SELECT e.seq, e.balance_after FROM coffer.entries e
        WHERE e.wallet_id = w.id AND e.created_at < p.until
        ORDER BY e.created_at DESC, e.seq DESC LIMIT 1) c ON true
    WHERE w.id = :wallet_id
    """
)
"""The end of the period (see ``end_of_period``; ``least`` passes over NULL), and the last entries
before it begins and before it ends: two look-ups in one index, in one snapshot."""

SLICE: Final = (
    select(*ENTRY)
    .where(
        entries.c.wallet_id == bindparam("wallet_id"),
        entries.c.seq > bindparam("after_seq"),
        entries.c.seq <= bindparam("last_seq"),
    )
    .order_by(entries.c.seq)
)
"""One range of the primary key."""


def read_statement(
    read: Read,
    currencies: StoredCurrencies,
    wallet_id: UUID,
    since: datetime | None,
    until: datetime | None,
) -> Statement:
    """See Store.statement. ``read`` runs a function on a pooled connection and translates its
    failures.
    """
    wanted = {"wallet_id": wallet_id, "since": since, "until": until, "now": datetime.now(UTC)}
    row = read(lambda connection: connection.execute(FRAME, wanted).one_or_none())
    if row is None:
        raise wallet_not_found(wallet_id)
    code, end, after_seq, last_seq, opening_minor, closing_minor = row

    def read_slice(after_seq: int, last_seq: int) -> Sequence[Entry]:
        bounds = {"wallet_id": wallet_id, "after_seq": after_seq, "last_seq": last_seq}
        rows = read(lambda connection: connection.execute(SLICE, bounds).all())
        return [entry_of_row(row) for row in rows]

    return Statement(
        wallet_id=wallet_id,
        currency=currencies.stored(code),
        since=since,
        until=end,
        after_seq=after_seq,
        last_seq=last_seq,
        opening_minor=opening_minor,
        closing_minor=closing_minor,
        read_slice=read_slice,
    )
