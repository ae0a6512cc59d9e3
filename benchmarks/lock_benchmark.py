"""``pgbench_lock``: what the database alone can do when every operation is a transaction.

BEGIN, SELECT ... FOR UPDATE, UPDATE, two INSERTs (entry, event), COMMIT, prepared, 16 clients, on
the tables that the service itself uses, made by the same migrations in a database of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.programs import CannotMeasure, run_tool
from benchmarks.stand import make_database
from benchmarks.tools import find_pgbench, only_path

CLIENTS: Final = 16
THREADS: Final = 2
DATABASE: Final = "pgbench_lock"
FIRST_UUIDV7_VERSION: Final = 180000
"""Earlier servers have no function for the ids of events, by which the log is partitioned."""
EXTRA_SECONDS: Final = 30.0

_TPS: Final = re.compile(r"tps = ([0-9.]+) \(without")
_DONE: Final = re.compile(r"number of transactions actually processed: ([0-9]+)")
_FAILED: Final = re.compile(r"number of failed transactions: ([0-9]+)")

_UUIDV7: Final = "uuidv7()"
_UUIDV7_BY_HAND: Final = (
    "(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || "
    "substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid"
)
_WALLET: Final = "('00000000-0000-7000-8000-' || lpad(to_hex(:wallet::bigint), 12, '0'))::uuid"

_MAKE_WALLETS: Final = """
INSERT INTO coffer.wallets (id, currency, balance, held, shortfall, min_balance, version, entry_seq,
    status, metadata, created_at, updated_at)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'USD', 0, 0, 0, 0, 1, 0,
    'active', '{}', now(), now()
FROM generate_series(1, %s) AS n
"""

_SCRIPT: Final = """
\\set wallet random(1, {wallets})
\\set amount random(1, 99999)
BEGIN;
SELECT balance, version, entry_seq FROM coffer.wallets WHERE id = {wallet} FOR UPDATE \\gset
UPDATE coffer.wallets SET balance = balance + :amount, version = version + 1,
    entry_seq = entry_seq + 1, updated_at = clock_timestamp() WHERE id = {wallet};
INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, balance_after,
    counterparty, reference, metadata, created_at)
VALUES ({wallet}, :entry_seq::bigint + 1, {uuid}, 'DEPOSIT', :amount,
    :balance::bigint + :amount::bigint, 'external', 'order-' || :amount::text,
    '{{"channel":"web"}}', clock_timestamp());
INSERT INTO coffer.events (id, wallet_id, seq, type, body, created_at)
VALUES ({uuid}, {wallet}, :version::bigint + 1, 'coffer.operation.completed', '{body}',
    clock_timestamp());
COMMIT;
"""
# As long as the service's event of a deposit. In a script pgbench takes a colon with a letter or a
# digit after it for a variable of its own, hence the spaces and commas.
_EVENT_BODY: Final = (
    '{"specversion":"1.0","id":"01994a5d-ac96-774b-bcce-b302099a8057","source":"/coffer",'
    '"type":"coffer.operation.completed","subject":"wallets/01994a5d-ac96-774b-bcce-b302099a8057",'
    '"time":"2030-01-31T12,00,00.000000Z","datacontenttype":"application/json",'
    '"wallet":"01994a5d-ac96-774b-bcce-b302099a8057","walletseq": 42,"data":{'
    '"id":"01994a5d-ac96-774b-bcce-b302099a8057","wallet_id":"01994a5d-ac96-774b-bcce-b302099a8057",'
    '"operation_type":"DEPOSIT","amount":"123.45","currency":"USD","previous_balance":"1000.00",'
    '"new_balance":"1123.45","seq": 41,"status":"COMPLETED","reference":"order-12345",'
    '"description": null,"metadata":{"channel":"web"},"created_at":"2030-01-31T12,00,00.000000Z"}}'
)


@dataclass(frozen=True, slots=True)
class LockResult:
    """Transactions, how many a second, and those that failed."""

    good: int
    per_second: float
    failed: int


class LockBenchmark:
    """pgbench in a database of its own beside the one at ``url``; scripts go to ``folder``.

    Raises CannotMeasure.
    """

    def __init__(self, url: str, folder: Path, wallets: int) -> None:
        self._pgbench = find_pgbench()
        self._folder = folder
        own_url = make_database(url, DATABASE)
        with psycopg.connect(own_url) as connection:
            info = connection.info
            self._environment = only_path() | {
                "PGHOST": info.host,
                "PGPORT": str(info.port),
                "PGUSER": info.user,
                "PGPASSWORD": info.password,
                "PGDATABASE": DATABASE,
            }
            new_id = _UUIDV7 if info.server_version >= FIRST_UUIDV7_VERSION else _UUIDV7_BY_HAND
            connection.execute(_MAKE_WALLETS, [wallets])
        with psycopg.connect(own_url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE coffer.wallets")
        for name, count in (("spread", wallets), ("hot", 1)):
            script = _SCRIPT.format(wallets=count, wallet=_WALLET, uuid=new_id, body=_EVENT_BODY)
            self._script(name).write_text(script)

    def run(self, name: str, seconds: float) -> LockResult:
        """``spread`` over all wallets, or on one ``hot`` row, for ``seconds``."""
        command = [
            *(self._pgbench, "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}"),
            *(f"--jobs={THREADS}", f"--time={max(1, round(seconds))}"),
            *("--file", str(self._script(name))),
        ]
        limit = seconds + EXTRA_SECONDS
        said = run_tool(command, self._environment, timeout_seconds=limit, folder=self._folder)
        tps, done, failed = _TPS.search(said), _DONE.search(said), _FAILED.search(said)
        if tps is None or done is None:
            raise CannotMeasure(f"pgbench did not say how many transactions it made:\n{said}")
        return LockResult(int(done[1]), float(tps[1]), int(failed[1]) if failed else 0)

    def _script(self, name: str) -> Path:
        return self._folder / f"pgbench_{name}.sql"
