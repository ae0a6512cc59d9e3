"""``pgbench_lock``: what the database alone can do when every operation is a transaction.

BEGIN, SELECT ... FOR UPDATE, UPDATE, two INSERTs (entry, event), COMMIT, prepared, 16 clients, on
the tables that the service itself uses, made by the same migrations in a database of their own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.pgbench import EVENT_BODY, Pgbench, PgbenchResult, insert_wallets, wallet_id
from benchmarks.stand import make_database

CLIENTS: Final = 16
DATABASE: Final = "pgbench_lock"

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


# In a script pgbench takes a colon with a letter or a digit after it for a variable of its own.
_BODY: Final = re.sub(r":(?=\w)", ",", EVENT_BODY)


class LockBenchmark:
    """pgbench in a database of its own beside the one at ``url``; scripts go to ``folder``.

    Raises CannotMeasure.
    """

    def __init__(self, url: str, folder: Path, wallets: int) -> None:
        self._folder = folder
        own_url = make_database(url, DATABASE)
        insert_wallets(own_url, wallets)
        self._pgbench = Pgbench(own_url, folder)
        for name, count in (("spread", wallets), ("hot", 1)):
            script = _SCRIPT.format(
                wallets=count,
                wallet=wallet_id(":wallet"),
                uuid=self._pgbench.new_id,
                body=_BODY,
            )
            self._script(name).write_text(script)

    def run(self, name: str, seconds: float) -> PgbenchResult:
        """``spread`` over all wallets, or on one ``hot`` row, for ``seconds``."""
        return self._pgbench.run(self._script(name), seconds, clients=CLIENTS)

    def _script(self, name: str) -> Path:
        return self._folder / f"pgbench_{name}.sql"
