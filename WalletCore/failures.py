"""How a unit of work fails, as the committer sees it. A store translates its driver's errors.

The tree::

    CommitFailure
      DataRefused      the database refused the data (SQLSTATE 22, 23)
      Defect           an error of ours before anything was kept
      TooSlow          writing took longer than a statement may (57014)
      LockNotHad       a lock was not had in time (55P03, 57014)
      Conflict         deadlock or serialization failure (40P01, 40001)
      StoreUnavailable the database is away or cannot write (08, 57P, 53, 25 ...)
"""

from __future__ import annotations


class CommitFailure(Exception):
    """A unit of work failed; unless said otherwise, nothing of it was kept."""


class DataRefused(CommitFailure):
    """The data of some command cannot be stored."""


class Defect(CommitFailure):
    """Something that nobody thought of happened while a batch was loaded or decided."""


class TooSlow(CommitFailure):
    """There is more to be written than can be in the time of a statement; in parts it may be."""


class LockNotHad(CommitFailure):
    """Somebody else held a lock for longer than we wait."""


class Conflict(CommitFailure):
    """PostgreSQL chose this transaction as the victim; doing it again is right."""


class StoreUnavailable(CommitFailure):
    """The database is away, or cannot write now.

    ``outcome_unknown``: COMMIT was sent, the connection broke, and nobody can say how it went.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown
