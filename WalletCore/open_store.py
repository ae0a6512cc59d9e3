"""Opens the store that the settings name; a store's libraries are imported only if it is used."""

from __future__ import annotations

from WalletCore.currencies import load_currencies
from WalletCore.settings import Settings
from WalletCore.store import Store
from WalletCore.tracing import NO_TRACES, Tracer

RESERVED_THREADS_DIVISOR = 8
"""One request thread in eight never waits for a commit, so that reads and health checks answer
while the database hangs."""


def open_store(
    settings: Settings,
    database_url: str | None = None,
    *,
    wait: bool = True,
    tracer: Tracer = NO_TRACES,
) -> Store:
    """The store of ``settings``; ``database_url`` overrides the one in there.

    ``wait``: for a database that is not there yet, up to START_WAIT_SECONDS. Without, the store
    opens at once, answers 503 as long as it is away, and connects by itself.

    ``tracer``: whom the commits are told; it is not closed with the store.

    Call it after fork: a store owns threads and connections. Raises ValueError for a URL that
    cannot be used, psycopg.OperationalError if the database does not come up in time.
    """
    currencies = load_currencies(settings.currencies)
    waiting_limit = settings.threads - max(1, settings.threads // RESERVED_THREADS_DIVISOR)
    if settings.in_memory:
        from WalletCore.memory import MemoryStore  # noqa: PLC0415

        return MemoryStore(currencies, waiting_limit=waiting_limit, tracer=tracer)
    from WalletCore.cache import BalanceCache, NullCache  # noqa: PLC0415
    from WalletCore.postgres.connect import wait_for_database  # noqa: PLC0415
    from WalletCore.postgres.store import PostgresStore  # noqa: PLC0415

    if database_url is None:
        if settings.database_url is None:
            raise ValueError("COFFER_DATABASE_URL is not set and no embedded database is running.")
        database_url = settings.database_url.get_secret_value()
    if wait:
        wait_for_database(database_url)
    cache = (
        BalanceCache(settings.redis_url.get_secret_value()) if settings.redis_url else NullCache()
    )
    return PostgresStore(
        database_url, currencies, waiting_limit=waiting_limit, cache=cache, tracer=tracer
    )
