"""Make the role with which the tests in the web container work: ``python -m tools.tests_role``.

It may make databases and roles of its own and has no rights in the service's, so that the container
need not hold the owner's password. (CREATEROLE keeps off the roles of others since PostgreSQL 16;
the compose file has 17.) Only the development image has this file, and only the container that
migrates runs it.
"""

from __future__ import annotations

import os

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from WalletCore.postgres.connect import parse_url
from WalletCore.postgres.migrate import ensure_login_role

OWNER_URL_VARIABLE = "COFFER_MIGRATION_DATABASE_URL"
TESTS_URL_VARIABLE = "COFFER_TEST_DATABASE_URL"


def main() -> None:
    """Make the role that the tests' URL names. Raises KeyError if a variable is missing."""
    owner = parse_url(os.environ[OWNER_URL_VARIABLE])
    engine = create_engine(owner, poolclass=NullPool, hide_parameters=True)
    with engine.begin() as connection:
        name = ensure_login_role(connection, os.environ[TESTS_URL_VARIABLE])
        role = connection.dialect.identifier_preparer.quote_identifier(name)
        connection.exec_driver_sql(f"ALTER ROLE {role} CREATEDB CREATEROLE")
        # Nobody misses a test's data after a power failure, and the disk is spared.
        connection.exec_driver_sql(f"ALTER ROLE {role} SET synchronous_commit = off")


if __name__ == "__main__":
    main()
