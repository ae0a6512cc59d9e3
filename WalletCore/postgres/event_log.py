"""Reading the event log without ever skipping a row that was committed late.

Positions are drawn before COMMIT, so that a lower one may appear after a higher one was read: a
cursor of the kind "position > last" loses rows under concurrency. Here a cursor is a window between
two snapshots: the rows visible in B and not in A, in the order of their positions; then the window
moves on to what came after B. Inside a wallet the order is always that of ``walletseq``.

Only snapshots that were really taken will do: what is visible in one includes everything that its
transactions waited for. A cut at some transaction id does not, because a transaction takes its id
before it waits for a wallet, and may write after one with a higher id.

https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, text

from WalletCore.cursor import decode_cursor, encode_cursor
from WalletCore.domain.errors import CursorInvalid

PARTITION_DAYS_AHEAD_WANTED: Final = 30
"""Partitions of the log are made this many days ahead; a missing one would stop all money."""

MAX_SNAPSHOT_CHARACTERS: Final = 1400
"""A snapshot that names more running transactions than fit in here (some 150) is not used: the next
one is shorter. So a cursor, which holds two, stays below its limit."""

NOTHING: Final = "1:1:"
"""A snapshot in which no transaction is visible; the first real id is 3."""

_SNAPSHOT = re.compile(r"([0-9]{1,19}):([0-9]{1,19}):((?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)", re.ASCII)

NOW = text("SELECT pg_current_snapshot()::text")

TOP = text("SELECT coalesce(max(position), 0) FROM coffer.events")
"""Asked after a snapshot was taken, at least the highest position visible in it."""

BOUNDS = text(
    "SELECT min(position), max(position) FROM ("
    " SELECT position, xid FROM coffer.events"
    " WHERE xid >= CAST(:first_xid AS xid8) AND xid < CAST(:end_xid AS xid8)"
    " UNION ALL"
    " SELECT position, xid FROM coffer.events WHERE xid = ANY(CAST(:running AS xid8[]))"
    ") AS candidates WHERE pg_visible_in_snapshot(xid, CAST(:until AS pg_snapshot))"
)
"""Where a new window lies: its rows are of transactions from A's xmax on, and of those that A names
as running. Two ranges of one index that has both columns; one condition for both cost 108 ms with
an old open transaction. Nothing smaller bounds the positions: a snapshot's xmax follows the last
transaction that has ended, so that younger ones may have drawn theirs long before it was taken."""

ROWS = text(
    "SELECT position, body FROM coffer.events WHERE position > :after AND position <= :top "
    "AND pg_visible_in_snapshot(xid, CAST(:until AS pg_snapshot)) "
    "AND NOT pg_visible_in_snapshot(xid, CAST(:since AS pg_snapshot)) "
    "ORDER BY position LIMIT :rows"
)


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
    def decode(cursor: str) -> Window:
        """The place of a cursor. Raises CursorInvalid."""
        window = Window(*decode_cursor("events", cursor, str, str, int, int))
        if not _SNAPSHOT.fullmatch(window.since) or not _SNAPSHOT.fullmatch(window.until):
            raise CursorInvalid("Send next_cursor of an earlier answer as it came.")
        return window


def read_log(connection: Connection, cursor: str | None, rows: int) -> tuple[list[str], str]:
    """Up to ``rows`` bodies after ``cursor`` (None: the beginning), and the cursor that follows.

    Raises CursorInvalid.
    """
    window = Window.decode(cursor) if cursor is not None else Window(NOTHING, NOTHING, 0, 0)
    bodies: list[str] = []
    while True:
        wanted = {
            "since": window.since,
            "until": window.until,
            "after": window.after,
            "top": window.top,
            "rows": rows - len(bodies),
        }
        found = connection.execute(ROWS, wanted).all() if window.after < window.top else []
        bodies += [row[1] for row in found]
        if len(bodies) == rows:
            return bodies, replace(window, after=found[-1][0]).encode()
        window = replace(window, after=window.top)
        following = _following(connection, window)
        if following is None:
            return bodies, window.encode()
        window = following


def _following(connection: Connection, window: Window) -> Window | None:
    """The window after this one, None if nothing has been committed since."""
    until: str = connection.execute(NOW).scalar_one()
    if until == window.until or len(until) > MAX_SNAPSHOT_CHARACTERS:
        return None
    if window.until == NOTHING:
        return Window(NOTHING, until, 0, connection.execute(TOP).scalar_one())
    first, running = _parts(window.until)
    end, _ = _parts(until)
    wanted = {"first_xid": first, "end_xid": end, "running": f"{{{running}}}", "until": until}
    lowest, highest = connection.execute(BOUNDS, wanted).one()
    if lowest is None:
        return None
    return Window(window.until, until, lowest - 1, highest)


def _parts(snapshot: str) -> tuple[str, str]:
    """The xmax of a snapshot, and the ids that it names as running, separated by commas."""
    match = _SNAPSHOT.fullmatch(snapshot)
    if match is None:
        raise CursorInvalid("Send next_cursor of an earlier answer as it came.")
    return match[2], match[3]
