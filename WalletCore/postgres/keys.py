"""The API keys on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select, text, update

from WalletCore.keys import LISTED_DAYS, MAX_KEYS, ApiKey, Scope, key_not_found, too_many_keys
from WalletCore.postgres.notifications import Read
from WalletCore.postgres.tables import api_keys

_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('coffer.api_keys', 0))")
"""So that two who count at the same moment do not both find one place left."""

_FIND: Final = select(api_keys).where(api_keys.c.id == text(":key_id"))
_ENDED: Final = func.least(api_keys.c.revoked_at, api_keys.c.expires_at)
"""When it ended or will end; NULL: never. LEAST leaves NULLs out."""

_WORKING: Final = (
    select(func.count()).select_from(api_keys).where(or_(_ENDED.is_(None), func.now() < _ENDED))
)
_ALL: Final = (
    select(api_keys)
    .where(or_(_ENDED.is_(None), func.now() - timedelta(days=LISTED_DAYS) < _ENDED))
    .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
)


class PostgresKeys:
    """The port of ``WalletCore.keys.Keys``. ``read``: runs a function on a pooled connection and
    translates its failures.
    """

    def __init__(self, read: Read) -> None:
        self._read = read

    def find(self, key_id: str) -> ApiKey | None:
        """See Keys."""
        row = self._read(lambda c: c.execute(_FIND, {"key_id": key_id}).one_or_none())
        return None if row is None else _key_of(row)

    def all(self) -> list[ApiKey]:
        """See Keys."""
        return [_key_of(row) for row in self._read(lambda c: c.execute(_ALL).all())]

    def add(self, key: ApiKey) -> None:
        """See Keys."""

        def write(connection: Connection) -> None:
            connection = connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                connection.execute(_LOCK)
                if connection.execute(_WORKING).scalar_one() >= MAX_KEYS:
                    raise too_many_keys()
                connection.execute(
                    insert(api_keys).values(
                        id=key.id,
                        name=key.name,
                        secret_hash=key.secret_hash,
                        scopes=sorted(key.scopes),
                        owner=key.owner,
                        created_at=key.created_at,
                        created_by=key.created_by,
                        expires_at=key.expires_at,
                    )
                )

        self._read(write)

    def revoke(self, key_id: str, by: str, at: datetime) -> ApiKey:
        """See Keys."""
        change = (
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=at, revoked_by=by)
        )
        self._read(lambda connection: connection.execute(change))
        key = self.find(key_id)
        if key is None:
            raise key_not_found(key_id)
        return key

    def note_use(self, key_id: str, at: datetime) -> None:
        """See Keys."""
        change = update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at)
        self._read(lambda connection: connection.execute(change))


def _key_of(row: Sequence[Any]) -> ApiKey:
    """A row of the table, whose columns are in the order of ApiKey's fields."""
    values = list(row)
    values[2] = bytes(values[2])
    values[3] = frozenset(map(Scope, values[3]))
    return ApiKey(*values)
