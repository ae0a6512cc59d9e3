"""Which database the commands mean, and whether its tables are those that this program knows.

The libraries of the database are imported only where one is used: ``memory://`` starts without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from WalletCore.command_line import CannotRun
from WalletCore.settings import Settings, load_settings

if TYPE_CHECKING:
    from WalletCore.keys import Keys

DATABASE_VARIABLE: Final = "COFFER_DATABASE_URL"


@contextmanager
def embedded_database(settings: Settings) -> Iterator[Settings]:
    """``settings`` with a database: the embedded PostgreSQL where none is configured.

    It is started if it does not run, and stopped at the end unless somebody else uses it. Its URL
    goes into the environment, where every process that a server starts finds it. Raises CannotRun.
    """
    if settings.database_url is not None:
        yield settings
        return
    from WalletCore.local_postgres import LocalPostgres, LocalPostgresError  # noqa: PLC0415

    try:
        with LocalPostgres(settings.data_dir).used() as url:
            os.environ[DATABASE_VARIABLE] = url
            load_settings.cache_clear()
            yield load_settings()
    except LocalPostgresError as error:
        raise CannotRun(str(error)) from error


def running_database(settings: Settings) -> str:
    """The URL of the configured database, or of the embedded one that runs. CannotRun."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    from WalletCore.local_postgres import LocalPostgres  # noqa: PLC0415

    url = LocalPostgres(settings.data_dir).running_url()
    if url is None:
        raise CannotRun(
            f"COFFER_DATABASE_URL is not set, and the embedded PostgreSQL under "
            f"{settings.data_dir} does not run. Start it with `make run` and repeat this beside "
            "it, or set COFFER_DATABASE_URL."
        )
    return url


def require_schema(url: str) -> None:
    """Wait for the database at ``url`` and check that its tables are the newest.

    Raises CannotRun.
    """
    from psycopg import OperationalError  # noqa: PLC0415

    from WalletCore.postgres import migrate  # noqa: PLC0415
    from WalletCore.postgres.connect import wait_for_database  # noqa: PLC0415

    try:
        wait_for_database(url)
        found = migrate.current(url)
    except (OperationalError, ValueError) as error:
        raise CannotRun(f"The database cannot be used: {first_line(error)}") from error
    wanted = migrate.head()
    if found is None:
        raise CannotRun("The database has no tables yet. Make them: python -m RestAPI migrate")
    if found != wanted:
        raise CannotRun(
            f"The database's tables are of version {found}, this program's of {wanted}. "
            "Bring them up to date: python -m RestAPI migrate"
        )


def require_currencies(url: str, own: str) -> None:
    """Write the configured currencies down in the database at ``url``. ``own``: see Settings.

    Raises CannotRun if the database has one of them with other decimals.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from WalletCore.currencies import load_currencies  # noqa: PLC0415
    from WalletCore.postgres.connect import read_engine  # noqa: PLC0415
    from WalletCore.postgres.currencies import StoredCurrencies  # noqa: PLC0415

    engine = read_engine(url)
    try:
        StoredCurrencies(engine, load_currencies(own)).register()
    except (SQLAlchemyError, ValueError) as error:
        raise CannotRun(first_line(error)) from error
    finally:
        engine.dispose()


@contextmanager
def stored_keys(url: str) -> Iterator[Keys]:
    """The API keys in the database at ``url``. Raises CannotRun."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from WalletCore.postgres.connect import read_engine  # noqa: PLC0415
    from WalletCore.postgres.keys import PostgresKeys  # noqa: PLC0415

    engine = read_engine(url)

    def read(use: Callable[[Any], Any]) -> Any:
        with engine.connect() as connection:
            return use(connection)

    try:
        yield PostgresKeys(read)
    except (SQLAlchemyError, ValueError) as error:
        raise CannotRun(first_line(error)) from error
    finally:
        engine.dispose()


def has_working_key(url: str) -> bool:
    """Whether the database at ``url`` has an API key that works. Raises CannotRun."""
    now = datetime.now(UTC)
    with stored_keys(url) as keys:
        return any(key.works(now) for key in keys.all())


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without passwords."""
    from WalletCore.telemetry import mask_secrets  # noqa: PLC0415

    lines = str(error).strip().splitlines()
    return mask_secrets(lines[0]) if lines else type(error).__name__
