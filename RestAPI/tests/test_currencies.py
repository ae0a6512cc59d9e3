"""A start with currencies that contradict the database is refused before anything is served."""

from __future__ import annotations

import pytest

from WalletCore.command_line import CannotRun
from WalletCore.database import require_currencies


def test_other_decimals_than_those_of_the_database(fresh_postgres_url: str) -> None:
    require_currencies(fresh_postgres_url, "GEM:2")
    require_currencies(fresh_postgres_url, "GEM:2")
    with pytest.raises(CannotRun, match="GEM has 2 decimals in this database, not 3"):
        require_currencies(fresh_postgres_url, "GEM:3")
    with pytest.raises(CannotRun, match="USD is defined already"):
        require_currencies(fresh_postgres_url, "USD:2")
