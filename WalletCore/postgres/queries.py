"""The reads, each one SQL statement with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    Select,
    Uuid,
    and_,
    any_,
    bindparam,
    func,
    literal,
    or_,
    select,
    text,
)

from WalletCore.domain.model import TRANSFERS, HoldStatus
from WalletCore.folding import end_of_prefix, fold
from WalletCore.postgres.notification_tables import inbox
from WalletCore.postgres.tables import entries, events, holds, messages, wallets
from WalletCore.store import OperationFilter, WalletFilter

TRIAL_BALANCE_TIMEOUT_SECONDS = 120
"""The trial balance reads every entry; nothing else may take that long."""

MAX_FOUND_WALLETS: Final = 5_000
"""Up to so many wallets of a search are gathered and put in order; of more a page is met soon on
the way through all of them."""

WRITABLE = text("SELECT current_setting('transaction_read_only') = 'off'")
"""False on a standby, and where an operator made the database read-only."""

TRIAL_BALANCE_LOCK = text(
    "SELECT pg_try_advisory_xact_lock(hashtextextended('coffer.trial_balance', 0))"
)

_WALLET = (
    wallets.c.id,
    wallets.c.owner,
    wallets.c.name,
    wallets.c.currency,
    wallets.c.balance,
    wallets.c.held,
    wallets.c.shortfall,
    wallets.c.min_balance,
    wallets.c.version,
    wallets.c.entry_seq,
    wallets.c.status,
    wallets.c.metadata,
    wallets.c.created_at,
    wallets.c.updated_at,
    wallets.c.max_balance,
)
ENTRY = (
    entries.c.wallet_id,
    entries.c.seq,
    entries.c.operation_id,
    entries.c.operation_type,
    entries.c.delta,
    entries.c.balance_after,
    entries.c.counterparty,
    entries.c.reference,
    entries.c.description,
    entries.c.metadata,
    entries.c.created_at,
    entries.c.related_id,
)
_HOLD = (
    holds.c.id,
    holds.c.wallet_id,
    holds.c.amount,
    holds.c.captured,
    holds.c.status,
    holds.c.reference,
    holds.c.description,
    holds.c.metadata,
    holds.c.expires_at,
    holds.c.created_at,
    holds.c.updated_at,
)
"""The columns of an entry, in the order in which ``entry_of_row`` takes them."""

WALLET = select(*_WALLET).where(wallets.c.id == bindparam("wallet_id"))
WALLET_CURRENCY = select(wallets.c.currency).where(wallets.c.id == bindparam("wallet_id"))
OPERATION = (
    select(*ENTRY, wallets.c.currency)
    .join(wallets, wallets.c.id == entries.c.wallet_id)
    .where(entries.c.operation_id == bindparam("operation_id"))
    .order_by(entries.c.delta)
)
"""Both sides of a movement between wallets, the one that gave first."""
TRANSFER = (
    select(*ENTRY, wallets.c.currency)
    .join(wallets, wallets.c.id == entries.c.wallet_id)
    .where(
        entries.c.related_id == bindparam("transfer_id"),
        entries.c.operation_type.in_([kind.value for kind in sorted(TRANSFERS)]),
    )
)
HOLD = (
    select(*_HOLD, wallets.c.currency)
    .join(wallets, wallets.c.id == holds.c.wallet_id)
    .where(holds.c.id == bindparam("hold_id"))
)
DUE_HOLDS = (
    select(holds.c.wallet_id, holds.c.id)
    .where(
        holds.c.status == "open",
        holds.c.expires_at <= func.now(),
        holds.c.wallet_id != func.all(bindparam("without", type_=ARRAY(Uuid))),
    )
    .order_by(holds.c.expires_at)
    .limit(bindparam("rows"))
)
"""An index of open holds alone, by their time."""
EVENT = (
    select(
        events.c.body,
        select(inbox.c.event_id).where(inbox.c.event_id == events.c.id).exists(),
        messages.c.status,
    )
    .select_from(events.outerjoin(messages, messages.c.id == events.c.id))
    .where(events.c.id == bindparam("event_id"))
)

_LAST_ENTRY = (
    select(entries.c.seq, entries.c.balance_after)
    .where(entries.c.wallet_id == bindparam("wallet_id"), entries.c.created_at <= bindparam("at"))
    .order_by(entries.c.created_at.desc(), entries.c.seq.desc())
    .limit(1)
    .subquery()
)
BALANCE_AT = (
    select(
        wallets.c.currency,
        func.coalesce(_LAST_ENTRY.c.seq, 0),
        func.coalesce(_LAST_ENTRY.c.balance_after, 0),
    )
    .select_from(wallets.outerjoin(_LAST_ENTRY, text("true")))
    .where(wallets.c.id == bindparam("wallet_id"))
)

TRIAL_BALANCE = text(
    """
    WITH moved AS (
        SELECT wallet_id, sum(delta) FILTER (WHERE delta > 0) AS came,
               sum(-delta) FILTER (WHERE delta < 0) AS went
        FROM coffer.entries WHERE counterparty = 'external' GROUP BY wallet_id)
    SELECT w.currency, coalesce(sum(m.came), 0), coalesce(sum(m.went), 0), sum(w.balance)
    FROM coffer.wallets w LEFT JOIN moved m ON m.wallet_id = w.id
    GROUP BY w.currency ORDER BY w.currency
    """
)
"""One statement, hence one snapshot: two would differ under load."""


def found_wallets(prefix: str, wallet_id: UUID | None) -> Select[Any]:
    """The ids of the wallets that a search finds, in any order: MAX_FOUND_WALLETS and one more.

    Without an order the indexes are used, however wrong the planner's guess: with one it walks
    over all wallets for what is rare.
    """
    return select(wallets.c.id).where(_found(prefix, wallet_id)).limit(MAX_FOUND_WALLETS + 1)


def wallets_page(
    wanted: WalletFilter, after: UUID | None, rows: int, found: Sequence[UUID] | None = None
) -> Select[Any]:
    """The wallets that pass the filter, in the order of their ids (the order of creation).

    ``found``: all that the search finds. Without it they are met on the way, which is for when
    there are many.
    """
    query = select(*_WALLET).order_by(wallets.c.id).limit(rows)
    if wanted.owner is not None:
        query = query.where(wallets.c.owner == wanted.owner)
    if wanted.currency is not None:
        query = query.where(wallets.c.currency == wanted.currency)
    if wanted.status is not None:
        query = query.where(wallets.c.status == wanted.status.value)
    if found is not None:
        query = query.where(wallets.c.id == any_(literal(list(found), ARRAY(Uuid()))))
    elif wanted.search is not None:
        query = query.where(_found(wanted.search, wanted.search_id))
    if after is not None:
        query = query.where(wallets.c.id > after)
    return query


def read_wallets(
    connection: Connection, wanted: WalletFilter, after: UUID | None, rows: int
) -> Sequence[Row[Any]]:
    """A page of the wallets that pass the filter."""
    found = None
    if wanted.search is not None:
        query = found_wallets(wanted.search, wanted.search_id)
        ids = connection.execute(query).scalars().all()
        found = ids if len(ids) <= MAX_FOUND_WALLETS else None
    return connection.execute(wallets_page(wanted, after, rows, found)).all()


def _found(prefix: str, wallet_id: UUID | None) -> ColumnElement[bool]:
    """Wallets whose owner or name begins with ``prefix``, or that one. As a range of each index
    instead of LIKE: no character means anything but itself, and any plan can use the index.
    """
    first = fold(prefix)
    end = end_of_prefix(first)
    found: list[ColumnElement[bool]] = []
    for column in (wallets.c.owner, wallets.c.name):
        folded = func.coffer.fold(column)
        begins: list[ColumnElement[bool]] = [folded.op("~>=~", is_comparison=True)(first)]
        if end is not None:
            begins.append(folded.op("~<~", is_comparison=True)(end))
        found.append(and_(*begins))
    if wallet_id is not None:
        found.append(wallets.c.id == wallet_id)
    return or_(*found)


def operations_page(
    wallet_id: UUID, wanted: OperationFilter, before: int | None, rows: int
) -> Select[Any]:
    """A wallet's entries, newest first. Times become bounds of ``seq``, each by one index look-up,
    because time never runs backwards inside a wallet; so every page is one range of the key.
    """
    mine = entries.c.wallet_id == wallet_id
    query = select(*ENTRY).where(mine).order_by(entries.c.seq.desc()).limit(rows)
    for moment, keep in (
        (wanted.since, entries.c.seq.__gt__),
        (wanted.until, entries.c.seq.__le__),
    ):
        if moment is not None:
            last_before = (
                select(entries.c.seq)
                .where(mine, entries.c.created_at < moment)
                .order_by(entries.c.created_at.desc(), entries.c.seq.desc())
                .limit(1)
                .scalar_subquery()
            )
            query = query.where(keep(func.coalesce(last_before, 0)))
    if wanted.operation_type is not None:
        query = query.where(entries.c.operation_type == wanted.operation_type.value)
    if wanted.reference is not None:
        query = query.where(entries.c.reference == wanted.reference)
    if before is not None:
        query = query.where(entries.c.seq < before)
    return query


def holds_page(
    wallet_id: UUID, status: HoldStatus | None, before: UUID | None, rows: int
) -> Select[Any]:
    """A wallet's holds, newest first: a range of the key."""
    query = select(*_HOLD).where(holds.c.wallet_id == wallet_id)
    if status is not None:
        query = query.where(holds.c.status == status.value)
    if before is not None:
        query = query.where(holds.c.id < before)
    return query.order_by(holds.c.id.desc()).limit(rows)
