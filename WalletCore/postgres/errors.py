"""The one place where PostgreSQL's errors become Coffer's, by SQLSTATE (whose classes 22 and 23
are psycopg's DataError and IntegrityError).

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import psycopg

from WalletCore.failures import (
    CommitFailure,
    Conflict,
    DataRefused,
    LockNotHad,
    StoreUnavailable,
)

_CHECK_VIOLATION = "23514"
QUERY_CANCELED = "57014"
"""What a statement ends with that takes too long."""

_LOCK_NOT_HAD = ("55P03", QUERY_CANCELED)
_CONFLICT = ("40P01", "40001")


def commit_failure(error: psycopg.Error) -> CommitFailure:
    """What ``error``, raised before COMMIT was sent, means for the unit of work."""
    state = error.sqlstate or ""
    message = _message(error)
    if state == _CHECK_VIOLATION and error.diag.constraint_name is None:
        # No CHECK but a row without a partition: no command's fault, and bisecting would only
        # refuse them all one by one.
        return StoreUnavailable(f"a partition of the event log is missing: {message}")
    if isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        return DataRefused(message)
    if state in _LOCK_NOT_HAD:
        return LockNotHad(message)
    if state in _CONFLICT:
        return Conflict(message)
    return StoreUnavailable(message)


def _message(error: psycopg.Error) -> str:
    """The error without its DETAIL, which quotes rows."""
    return f"{error.sqlstate or type(error).__name__}: {error.diag.message_primary or error}"
