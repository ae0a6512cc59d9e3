"""How Coffer connects to PostgreSQL: the limits that every connection carries."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import set_json_loads
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

CONNECT_TIMEOUT_SECONDS: Final = 3
STATEMENT_TIMEOUT_SECONDS: Final = 5
LOCK_TIMEOUT_SECONDS: Final = 2
IDLE_IN_TRANSACTION_TIMEOUT_SECONDS: Final = 10
TCP_USER_TIMEOUT_SECONDS: Final = 8
"""After this long without an acknowledgement a network is taken for broken."""
KEEPALIVE_IDLE_SECONDS: Final = 5

READ_POOL_CONNECTIONS: Final = 8
"""Connections for reads per process; a read takes some 0.1 ms of one. They are made as they are
needed, and kept: under load some that were made and closed again each time took most of a reading
request's time. The committer has one more, and a second one while it asks what became of a broken
commit."""
READ_POOL_WAIT_SECONDS: Final = 2
CONNECTION_AGE_SECONDS: Final = 1800

START_WAIT_SECONDS: Final = 30
"""How long a start waits for a database that is not there yet."""
START_PAUSE_SECONDS: Final = 0.1
MAX_START_PAUSE_SECONDS: Final = 2.0

COMMITTER_PLANS = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
"""The committer looks rows up by primary key and does nothing else. A plan that PostgreSQL chose
while the tables were still small would stay in a prepared statement; this leaves it no other."""

set_json_loads(orjson.loads)


def parse_url(url: str) -> URL:
    """A database URL as SQLAlchemy's, on psycopg. Raises ValueError with the remedy."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError(
            "COFFER_DATABASE_URL must be postgresql://user:password@host:5432/name or memory://"
        )
    return make_url(f"postgresql+psycopg://{rest}")


def connect_arguments(application: str, extra_options: str = "") -> dict[str, Any]:
    """The arguments of libpq that bound every wait of a connection."""
    options = (
        f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s "
        f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s "
        f"-c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s "
        f"-c timezone=UTC -c default_transaction_isolation=read\\ committed {extra_options}"
    )
    return {
        "application_name": application,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": options.strip(),
        "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": TCP_USER_TIMEOUT_SECONDS * 1000,
    }


def read_engine(url: str) -> Engine:
    """The pool that reads use. Make it after fork. Each statement is a transaction of its own."""
    return create_engine(
        parse_url(url),
        pool_size=READ_POOL_CONNECTIONS,
        max_overflow=0,
        # The same few again and again, which have their statements prepared.
        pool_use_lifo=True,
        pool_timeout=READ_POOL_WAIT_SECONDS,
        pool_recycle=CONNECTION_AGE_SECONDS,
        hide_parameters=True,
        json_deserializer=orjson.loads,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_arguments("coffer-read"),
    )


def connection_info(url: str) -> str:
    """A database URL as libpq's keywords and values, which leave no room for quoting to differ."""
    dialect: Any = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    _, keywords = dialect.create_connect_args(parse_url(url))
    return make_conninfo(**keywords)


def committer_connection(url: str) -> psycopg.Connection[Any]:
    """The one connection on which a process writes. Raises psycopg.OperationalError."""
    return psycopg.connect(
        connection_info(url),
        autocommit=True,
        prepare_threshold=0,
        **connect_arguments("coffer-committer", COMMITTER_PLANS),
    )


def answers(url: str) -> bool:
    """Whether the database can be connected to now."""
    try:
        psycopg.connect(connection_info(url), connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_for_database(url: str, seconds: float = START_WAIT_SECONDS) -> None:
    """Return as soon as the database answers. Raises psycopg.OperationalError after ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = START_PAUSE_SECONDS
    while True:
        try:
            psycopg.connect(connection_info(url), connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
        except psycopg.OperationalError:
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            pause = min(pause * 2, MAX_START_PAUSE_SECONDS)
        else:
            return
