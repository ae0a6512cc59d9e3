"""``pgbench_set``: what the database alone does with the set-wise work of the service.

Each transaction is 1,000 deposits, by the very statements that the committer sends, with the same
arrays: the wallets locked in the order of their ids, one UPDATE, one INSERT of entries, one of
events, COMMIT. What a client has to give is made beforehand (wallets, amounts, references, bodies
of events); balances and sequence numbers follow from what the lock found, and pgbench cannot count,
so the statement that locks adds them up as well: a little more than the service asks for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.pgbench import EVENT_BODY, Pgbench, PgbenchResult, insert_wallets, wallet_id
from benchmarks.stand import temporary_database
from WalletCore.postgres import statements

CLIENTS: Final = 2
DATABASE: Final = "pgbench_set"
SET_DEPOSITS: Final = 1000
"""Deposits in one transaction."""
ORDERS: Final = 32
"""How many sets of deposits are prepared; each transaction does one of them."""

_MAKE_ORDERS: Final = """
CREATE TABLE orders AS
SELECT n, array_agg(id) AS ids, array_agg(DISTINCT id) AS wallets, array_agg(amount) AS amounts,
    array_agg(reference) AS refs
FROM (SELECT n, {wallet} AS id, floor(1 + random() * 99999)::bigint AS amount,
        'order-' || floor(random() * 1e12)::bigint AS reference
    FROM (SELECT n, 1 + floor(random() * {wallets})::bigint AS number
        FROM generate_series(1, {orders}) AS n, generate_series(1, {deposits})) AS one) AS one
GROUP BY n
"""

_MAKE_COLUMNS: Final = """
CREATE TABLE columns AS
SELECT array_fill('DEPOSIT'::text, size) AS kinds, array_fill('external'::text, size) AS others,
    array_fill(NULL::text, size) AS nothing, array_fill('{{"channel":"web"}}'::text, size) AS meta,
    array_fill('coffer.operation.completed'::text, size) AS types,
    array_fill('{body}'::text, size) AS bodies
FROM (SELECT ARRAY[{deposits}] AS size) AS one
"""
"""What is the same for every deposit, as long as that of the service; read once by each client."""

_NEW_IDS: Final = "((SELECT left({uuid}::text, 24)) || lpad(to_hex(place), 12, '0'))::uuid"
"""One random number for all of a set: a thousand cost the database as much as an INSERT of them."""

_DECIDE: Final = """
WITH locked AS MATERIALIZED ({lock}), moved AS MATERIALIZED (
    SELECT d.place, w.id, (w.balance + sum(d.amount) OVER up)::bigint AS balance,
        w.version + row_number() OVER up AS version, w.entry_seq + row_number() OVER up AS seq,
        row_number() OVER up = count(*) OVER (PARTITION BY w.id) AS last
    FROM locked w JOIN unnest(:ids::uuid[], :amounts::bigint[]) WITH ORDINALITY
        AS d(id, amount, place) ON d.id = w.id
    WINDOW up AS (PARTITION BY w.id ORDER BY d.place))
SELECT array_agg(balance ORDER BY place) AS balances, array_agg(version ORDER BY place) AS versions,
    array_agg(seq ORDER BY place) AS seqs, array_agg({uuid} ORDER BY place) AS new_ids,
    array_fill(clock_timestamp(), ARRAY[{deposits}]) AS moments,
    array_agg(id) FILTER (WHERE last) AS w_ids,
    array_agg(balance) FILTER (WHERE last) AS w_balances,
    array_agg(version) FILTER (WHERE last) AS w_versions,
    array_agg(seq) FILTER (WHERE last) AS w_seqs, array_agg(0) FILTER (WHERE last) AS w_zeros,
    array_agg(clock_timestamp()) FILTER (WHERE last) AS w_moments
FROM moved \\gset
"""

_SCRIPT: Final = """
\\if :begun
\\else
SELECT * FROM columns \\gset
\\set begun 1
\\endif
\\set order random(1, {orders})
SELECT ids, wallets, amounts, refs FROM orders WHERE n = :order \\gset
BEGIN;
{decide}
{update};
{insert_entries};
{insert_events};
COMMIT;
"""


def set_script(new_id: str) -> str:
    """The script for pgbench. ``new_id``: the SQL that makes a UUIDv7."""
    lock = with_variables(statements.LOCK_WALLETS, "wallets")
    return _SCRIPT.format(
        orders=ORDERS,
        decide=_DECIDE.strip().format(
            lock=lock, uuid=_NEW_IDS.format(uuid=new_id), deposits=SET_DEPOSITS
        ),
        update=with_variables(
            statements.UPDATE_WALLETS,
            *("w_ids", "w_balances", "w_zeros", "w_zeros", "w_versions", "w_seqs", "w_moments"),
        ),
        insert_entries=with_variables(
            statements.INSERT_ENTRIES,
            *("ids", "seqs", "new_ids", "kinds", "amounts", "balances", "others", "refs"),
            *("nothing", "meta", "moments", "nothing"),
        ),
        insert_events=with_variables(
            statements.INSERT_EVENTS,
            *("new_ids", "ids", "versions", "types", "nothing", "bodies", "moments"),
        ),
    )


def with_variables(statement: str, *names: str) -> str:
    """A statement of the service with variables of pgbench for its parameters, in their order."""
    parts = statement.split("%s")
    if len(parts) != len(names) + 1:
        raise ValueError(f"{len(names)} names for {len(parts) - 1} parameters: {statement}")
    return parts[0] + "".join(f":{name}{part}" for name, part in zip(names, parts[1:], strict=True))


class SetBenchmark:
    """pgbench in a new database beside the one at ``url`` each time, which is dropped afterwards:
    a deposit takes 1.5 kB. The script goes to ``folder``. Raises CannotMeasure.
    """

    def __init__(self, url: str, folder: Path, wallets: int) -> None:
        self._url = url
        self._folder = folder
        self._wallets = wallets

    @contextlib.contextmanager
    def prepared(self, name: str) -> Iterator[Callable[[float], PgbenchResult]]:
        """What runs it for so many seconds and counts deposits: ``spread`` over all wallets, or on
        one ``hot`` row.
        """
        with temporary_database(self._url, DATABASE) as own_url:
            insert_wallets(own_url, self._wallets)
            self._prepare(own_url, 1 if name == "hot" else self._wallets)
            pgbench = Pgbench(own_url, self._folder)
            script = self._folder / "pgbench_set.sql"
            script.write_text(set_script(pgbench.new_id))

            def run(seconds: float) -> PgbenchResult:
                found = pgbench.run(script, seconds, clients=CLIENTS, variables={"begun": 0})
                counts = (found.good, found.per_second, found.failed)
                good, per_second, failed = (count * SET_DEPOSITS for count in counts)
                return PgbenchResult(int(good), per_second, int(failed))

            yield run

    def _prepare(self, url: str, wallets: int) -> None:
        orders = _MAKE_ORDERS.format(
            wallet=wallet_id("number"), wallets=wallets, orders=ORDERS, deposits=SET_DEPOSITS
        )
        columns = _MAKE_COLUMNS.format(body=EVENT_BODY, deposits=SET_DEPOSITS)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(orders.encode())
            connection.execute(columns.encode())
            connection.execute("VACUUM ANALYZE orders")
