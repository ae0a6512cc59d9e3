"""The services that the other tests stand on."""

from __future__ import annotations

import psycopg
import pytest
import redis

from testkit.services import PrivatePostgres, PrivateRedis


def tables(url: str) -> list[str]:
    """The tables of a database, outside of PostgreSQL's own schemas."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        return [name for (name,) in found]


def test_the_workers_database_has_the_tables(postgres_url: str) -> None:
    assert "coffer.wallets" in tables(postgres_url)


def test_a_fresh_database_is_another_one(postgres_url: str, fresh_postgres_url: str) -> None:
    assert fresh_postgres_url != postgres_url
    assert tables(fresh_postgres_url) == tables(postgres_url)


def test_an_empty_database_has_no_tables(empty_postgres_url: str) -> None:
    assert tables(empty_postgres_url) == []


def test_redis_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


@pytest.mark.faults
def test_a_killed_redis_comes_back_empty_at_the_same_url() -> None:
    with PrivateRedis() as private, redis.Redis.from_url(private.url) as client:
        client.set("name", "value")
        private.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        url = private.url
        assert private.restart() == url
        assert client.get("name") is None


@pytest.mark.faults
def test_a_stopped_postgres_comes_back_with_what_was_committed() -> None:
    with PrivatePostgres() as private:
        url = private.url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept (number int)")
        private.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url).close()
        assert private.start() == url
        assert tables(url) == ["public.kept"]
