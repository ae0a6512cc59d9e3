"""Reading the event log without ever skipping a row that was committed late.

Positions are drawn before COMMIT, so that a lower one may appear after a higher one was read: a
cursor of the kind "position > last" loses rows under concurrency. Here a cursor is a window between
two snapshots: the rows visible in B and not in A, in the order of their positions; then the window
moves on to what came after B. Inside a wallet the order is always that of ``walletseq``.

Only snapshots that were really taken will do: what is visible in one includes everything that its
transactions waited for. A cut at some transaction id does not, because a transaction takes its id
before it waits for a wallet, and may write after one with a higher id.

A log that was dumped and restored into another cluster has ids of transactions that mean nothing
there. ``coffer.adopt_log()`` notices, and notes up to which position the log came from elsewhere:
that part is visible in every snapshot.

https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from WalletCore.cursor import MAX_CURSOR_CHARACTERS, decode_cursor, encode_cursor
from WalletCore.domain.errors import CursorInvalid

PARTITION_DAYS_AHEAD_WANTED: Final = 30
"""Partitions of the log are made this many days ahead; a missing one would stop all money."""

MAX_SNAPSHOT_CHARACTERS: Final = 1000
"""A snapshot that names more running transactions than fit in here (some 100) is not used: the next
one is shorter. So a cursor, which holds two, stays below its limit."""

LISTING: Final = "log"
"""The cursors of GET /events: a place in the log, and the cluster in which it means something."""

NOTHING: Final = "1:1:"
"""A snapshot in which no transaction is visible; the first real id is 3."""

_SNAPSHOT = re.compile(r"([0-9]{1,19}):([0-9]{1,19}):((?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)", re.ASCII)

NOW = text("SELECT pg_current_snapshot()::text")

TOP = text("SELECT coalesce(max(position), 0) FROM coffer.events")
"""Asked after a snapshot was taken, at least the highest position visible in it."""

ADOPT = text("SELECT coffer.adopt_log()")
"""True once after the log came from another cluster; money waits for a moment then."""

ORIGIN = text("SELECT system_identifier FROM coffer.log_origin")
"""The cluster that the log is in."""

_ADOPTED = "(SELECT adopted_position FROM coffer.log_origin)"

_CANDIDATES = (
    "(SELECT position, xid FROM coffer.events WHERE xid >= CAST(:first_xid AS xid8)"
    " UNION ALL"
    " SELECT position, xid FROM coffer.events WHERE xid = ANY(CAST(:running AS xid8[]))"
    ") AS candidates"
)
"""What may lie in a window: rows of transactions from A's xmax on, and of those that A names as
running. Two ranges of one index that has both columns; one condition for both cost 108 ms with an
old open transaction. Nothing smaller bounds the positions: a snapshot's xmax follows the last
transaction that has ended, so that younger ones may have drawn theirs long before it was taken."""

# An expression, so that no plan uses the index on positions for it, which finds nearly all.
_NOT_ADOPTED = f"position + 0 > {_ADOPTED}"

BOUNDS = text(
    f"SELECT min(position), max(position) FROM {_CANDIDATES} "  # noqa: S608 - our constants
    "WHERE xid < CAST(:end_xid AS xid8) "
    f"AND pg_visible_in_snapshot(xid, CAST(:until AS pg_snapshot)) AND {_NOT_ADOPTED}"
)
"""Where the window between two known snapshots lies."""

BOUNDS_NOW = text(
    "SELECT pg_current_snapshot()::text, min(position), max(position) "  # noqa: S608
    f"FROM {_CANDIDATES} WHERE {_NOT_ADOPTED}"
)
"""The same up to now. The snapshot is the one in which this statement itself sees the rows."""

_OF_WINDOW = (
    " FROM coffer.events e WHERE e.position > :after AND e.position <= :top "
    f"AND (e.position <= {_ADOPTED} "
    "OR pg_visible_in_snapshot(e.xid, CAST(:until AS pg_snapshot))) "
    f"AND (CAST(:since AS text) = '{NOTHING}' OR NOT (e.position <= {_ADOPTED} "
    "OR pg_visible_in_snapshot(e.xid, CAST(:since AS pg_snapshot)))) "
)
_IN_ORDER = "ORDER BY e.position LIMIT :rows"
_RECORDED = "EXISTS (SELECT FROM notifications.inbox i WHERE i.event_id = e.id)"
_TO_ANNOUNCE = "SELECT e.position, e.id, e.type, e.body, e.created_at"

WITH_STATUS = text(
    f"SELECT e.position, e.body, {_RECORDED}, "  # noqa: S608
    "(SELECT m.status FROM coffer.messages m WHERE m.id = e.id)"
    f"{_OF_WINDOW}{_IN_ORDER}"
)
"""For readers: the event, whether the worker has recorded it, the status that was set by hand."""

_NEWEST = (
    "SELECT e.{place}, e.body, {recorded}, "
    "(SELECT m.status FROM coffer.messages m WHERE m.id = e.id) "
    "FROM coffer.events e WHERE {of} e.{place} < :before ORDER BY e.{place} DESC LIMIT :rows"
)
NEWEST = text(_NEWEST.format(place="position", recorded=_RECORDED, of=""))
"""The same backwards, of the whole log by its positions ..."""

NEWEST_OF_WALLET = text(
    _NEWEST.format(place="seq", recorded=_RECORDED, of="e.wallet_id = :wallet_id AND")
)
"""... or of one wallet by what its own events count."""

TO_ANNOUNCE = text(f"{_TO_ANNOUNCE}{_OF_WINDOW}{_IN_ORDER}")
"""For whoever passes the events on."""

NOT_RECORDED = text(f"{_TO_ANNOUNCE}{_OF_WINDOW}AND NOT {_RECORDED} {_IN_ORDER}")
"""The same, but only what the worker has not recorded."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is visible in ``until`` and not in ``since``, from above ``after`` up to ``top``."""

    since: str
    until: str
    after: int
    top: int

    def encode(self) -> str:
        """The cursor of this place in the log."""
        return encode_cursor("events", self.since, self.until, self.after, self.top)

    @staticmethod
    def decode(cursor: str, *, max_characters: int = MAX_CURSOR_CHARACTERS) -> Window:
        """The place of a cursor. Raises CursorInvalid."""
        types = (str, str, int, int)
        window = Window(*decode_cursor("events", cursor, *types, max_characters=max_characters))
        if not _is_snapshot(window.since) or not _is_snapshot(window.until):
            raise CursorInvalid("Send next_cursor of an earlier answer as it came.")
        return window


START: Final = Window(NOTHING, NOTHING, 0, 0)
"""Before the first event."""


def read_log(
    connection: Connection, cursor: str | None, rows: int
) -> tuple[list[Sequence[Any]], str]:
    """Up to ``rows`` rows of WITH_STATUS after ``cursor`` (None: the beginning), and the cursor
    that follows. Raises CursorInvalid.
    """
    # Restored into another cluster, ids of transactions begin anew, and an old place would skip.
    origin: str = connection.execute(ORIGIN).scalar_one()
    window = START
    if cursor is not None:
        encoded, found_origin = decode_cursor(LISTING, cursor, str, str)
        if found_origin != origin:
            raise CursorInvalid(
                "This cursor is from before the database was restored into another cluster. Begin "
                "anew without one."
            )
        window = Window.decode(encoded)
    found, window = read_windows(
        connection, window, rows, WITH_STATUS, max_snapshot_characters=MAX_SNAPSHOT_CHARACTERS
    )
    return found, encode_cursor(LISTING, window.encode(), origin)


def read_newest(
    connection: Connection, wallet_id: UUID | None, before: int, rows: int
) -> Sequence[Sequence[Any]]:
    """Up to ``rows`` rows, newest first, below the place ``before``: of all or of one wallet."""
    wanted = {"before": before, "rows": rows}
    if wallet_id is None:
        return connection.execute(NEWEST, wanted).all()
    return connection.execute(NEWEST_OF_WALLET, {**wanted, "wallet_id": wallet_id}).all()


def read_windows(
    connection: Connection,
    window: Window,
    rows: int,
    statement: TextClause,
    *,
    max_snapshot_characters: int,
) -> tuple[list[Sequence[Any]], Window]:
    """Up to ``rows`` rows of ``statement`` from ``window`` and the one after it, and the place that
    follows. None are there now if none come. A row begins with its position. Longer snapshots than
    that are not used.
    """
    found = [*read_window(connection, window, rows, statement)]
    if len(found) < rows:
        # The next window has all that was committed before now, and that is enough for one look.
        window = replace(window, after=window.top)
        window = _following(connection, window, max_snapshot_characters) or window
        found += read_window(connection, window, rows - len(found), statement)
    after = found[-1][0] if len(found) == rows else window.top
    return found, replace(window, after=after)


def read_window(
    connection: Connection, window: Window, rows: int, statement: TextClause
) -> Sequence[Sequence[Any]]:
    """Up to ``rows`` rows of ``statement`` from ``window`` alone."""
    if window.after >= window.top:
        return []
    wanted = {
        "since": window.since,
        "until": window.until,
        "after": window.after,
        "top": window.top,
        "rows": rows,
    }
    return connection.execute(statement, wanted).all()


def snapshot(connection: Connection) -> str:
    """What is visible now."""
    text_: str = connection.execute(NOW).scalar_one()
    return text_


def whole_log(connection: Connection) -> Window:
    """Everything that is visible now."""
    until = snapshot(connection)
    return Window(NOTHING, until, 0, connection.execute(TOP).scalar_one())


def window_between(connection: Connection, since: str, until: str) -> Window | None:
    """What is visible in ``until`` and not in ``since``; None if that is nothing."""
    first, running = _parts(since)
    end, _ = _parts(until)
    wanted = {"first_xid": first, "end_xid": end, "running": f"{{{running}}}", "until": until}
    lowest, highest = connection.execute(BOUNDS, wanted).one()
    return None if lowest is None else Window(since, until, lowest - 1, highest)


def _following(
    connection: Connection, window: Window, max_snapshot_characters: int
) -> Window | None:
    """The window after this one, None if nothing has been committed since."""
    if window.until == NOTHING:
        following = whole_log(connection)
        return following if len(following.until) <= max_snapshot_characters else None
    first, running = _parts(window.until)
    wanted = {"first_xid": first, "running": f"{{{running}}}"}
    until, lowest, highest = connection.execute(BOUNDS_NOW, wanted).one()
    if lowest is None or len(until) > max_snapshot_characters:
        return None
    return Window(window.until, until, lowest - 1, highest)


def _is_snapshot(given: str) -> bool:
    """Whether PostgreSQL would take it for a snapshot: xmin <= xmax, and what runs in between."""
    match = _SNAPSHOT.fullmatch(given)
    if match is None:
        return False
    lowest, end = int(match[1]), int(match[2])
    running = [int(xid) for xid in match[3].split(",") if xid]
    return 0 < lowest <= end and running == sorted(x for x in running if lowest <= x < end)


def _parts(snapshot: str) -> tuple[str, str]:
    """The xmax of a snapshot, and the ids that it names as running, separated by commas."""
    match = _SNAPSHOT.fullmatch(snapshot)
    if match is None:
        raise CursorInvalid("Send next_cursor of an earlier answer as it came.")
    return match[2], match[3]
