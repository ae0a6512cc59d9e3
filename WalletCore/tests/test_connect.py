"""Database URLs as libpq understands them."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from WalletCore.postgres.connect import connection_info, parse_url


def test_every_character_of_a_password_arrives() -> None:
    found = conninfo_to_dict(connection_info("postgresql://u%20s:p%40ss%2F+w%25%20%27@db:5433/c"))
    assert found == {
        "user": "u s",
        "password": "p@ss/+w% '",
        "host": "db",
        "port": "5433",
        "dbname": "c",
    }


def test_a_socket_and_options_stay() -> None:
    url = "postgres://coffer@/coffer?host=/tmp/socket&sslmode=disable"
    found = conninfo_to_dict(connection_info(url))
    assert found == {
        "user": "coffer",
        "host": "/tmp/socket",
        "dbname": "coffer",
        "sslmode": "disable",
    }


@pytest.mark.parametrize("url", ["mysql://u@h/d", "coffer.db", "", "postgresql:/u@h/d"])
def test_another_kind_of_url_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match="COFFER_DATABASE_URL must be postgresql://"):
        parse_url(url)
