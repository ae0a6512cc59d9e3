"""pgbench on the service's own tables: what the database alone does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.programs import CannotMeasure, run_tool
from benchmarks.tools import find_pgbench, only_path

FIRST_UUIDV7_VERSION: Final = 180000
"""Earlier servers have no function for the ids of events, by which the log is partitioned."""
EXTRA_SECONDS: Final = 30.0
MAX_THREADS: Final = 2

_TPS: Final = re.compile(r"tps = ([0-9.]+) \(without")
_DONE: Final = re.compile(r"number of transactions actually processed: ([0-9]+)")
_FAILED: Final = re.compile(r"number of failed transactions: ([0-9]+)")

_UUIDV7: Final = "uuidv7()"
_UUIDV7_BY_HAND: Final = (
    "(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || "
    "substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid"
)

_MAKE_WALLETS: Final = """
INSERT INTO coffer.wallets (id, currency, balance, held, shortfall, min_balance, version, entry_seq,
    status, metadata, created_at, updated_at)
SELECT {wallet}, 'USD', 0, 0, 0, 0, 1, 0, 'active', '{{}}', now(), now()
FROM generate_series(1, {count}) AS n
"""

# As long as the service's event of a deposit.
EVENT_BODY: Final = (
    '{"specversion":"1.0","id":"01994a5d-ac96-774b-bcce-b302099a8057","source":"/coffer",'
    '"type":"coffer.operation.completed","subject":"wallets/01994a5d-ac96-774b-bcce-b302099a8057",'
    '"time":"2030-01-31T12:00:00.000000Z","datacontenttype":"application/json",'
    '"wallet":"01994a5d-ac96-774b-bcce-b302099a8057","walletseq":42,"data":{'
    '"id":"01994a5d-ac96-774b-bcce-b302099a8057","wallet_id":"01994a5d-ac96-774b-bcce-b302099a8057",'
    '"operation_type":"DEPOSIT","amount":"123.45","currency":"USD","previous_balance":"1000.00",'
    '"new_balance":"1123.45","seq":41,"status":"COMPLETED","reference":"order-12345",'
    '"description":null,"metadata":{"channel":"web"},"created_at":"2030-01-31T12:00:00.000000Z"}}'
)


def wallet_id(number: str) -> str:
    """The SQL that makes the id of the wallet with this number, which is SQL as well."""
    return f"('00000000-0000-7000-8000-' || lpad(to_hex({number}::bigint), 12, '0'))::uuid"


def wallet_id_text(number: int) -> str:
    """The id of the wallet with this number."""
    return f"00000000-0000-7000-8000-{number:012x}"


def insert_wallets(url: str, count: int) -> None:
    """Make the wallets 1 to ``count`` without asking the service; it may use them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_MAKE_WALLETS.format(wallet=wallet_id("n"), count=count).encode())
        connection.execute("VACUUM ANALYZE coffer.wallets")


@dataclass(frozen=True, slots=True)
class PgbenchResult:
    """Transactions, how many a second, and those that failed."""

    good: int
    per_second: float
    failed: int


class Pgbench:
    """pgbench on the database at ``url``, which is there; it runs in ``folder``.

    Raises CannotMeasure.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._program = find_pgbench()
        self._folder = folder
        with psycopg.connect(url) as connection:
            info = connection.info
            self._environment = only_path() | {
                "PGHOST": info.host,
                "PGPORT": str(info.port),
                "PGUSER": info.user,
                "PGPASSWORD": info.password,
                "PGDATABASE": info.dbname,
            }
            self._new_id = (
                _UUIDV7 if info.server_version >= FIRST_UUIDV7_VERSION else _UUIDV7_BY_HAND
            )

    @property
    def new_id(self) -> str:
        """The SQL that makes a UUIDv7."""
        return self._new_id

    def run(
        self,
        script: Path,
        seconds: float,
        *,
        clients: int,
        variables: Mapping[str, int] | None = None,
    ) -> PgbenchResult:
        """The ``script`` over and over, prepared, for ``seconds``."""
        threads = min(clients, MAX_THREADS)
        command = [
            *(self._program, "--no-vacuum", "--protocol=prepared", f"--client={clients}"),
            *(f"--jobs={threads}", f"--time={max(1, round(seconds))}"),
            *(f"--define={name}={value}" for name, value in (variables or {}).items()),
            *("--file", str(script)),
        ]
        limit = seconds + EXTRA_SECONDS
        said = run_tool(command, self._environment, timeout_seconds=limit, folder=self._folder)
        tps, done, failed = _TPS.search(said), _DONE.search(said), _FAILED.search(said)
        if tps is None or done is None:
            raise CannotMeasure(f"pgbench did not say how many transactions it made:\n{said}")
        return PgbenchResult(int(done[1]), float(tps[1]), int(failed[1]) if failed else 0)
