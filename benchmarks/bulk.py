"""Many operations in one request: what the service does, after what the database alone does.

Each figure begins with a new database, which is dropped afterwards, and with it what is still to be
written: so many rows are not to burden what is measured next.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final

from benchmarks.cpu import CpuMeter
from benchmarks.measurements import DATABASE, Measurement
from benchmarks.options import Options
from benchmarks.pgbench import insert_wallets, wallet_id_text
from benchmarks.saturation import WARM_UP_LOAD_SECONDS, Saturation
from benchmarks.set_benchmark import SetBenchmark
from benchmarks.stand import Stand, check_ledger, temporary_database

BULK: Final = ("bulk_spread", "bulk_hot")
PGBENCH_SET: Final = ("pgbench_set_spread", "pgbench_set_hot")
NAMES: Final = (*PGBENCH_SET, *BULK)
"""Everything that is measured here."""

BULK_DATABASE: Final = "bulk"


class Bulk:
    """Its measurements, on a stand that is up. Raises CannotMeasure."""

    def __init__(self, options: Options, stand: Stand) -> None:
        self._options = options
        self._stand = stand

    @cached_property
    def _saturation(self) -> Saturation:
        return Saturation(self._stand.folder)

    @cached_property
    def _set(self) -> SetBenchmark:
        return SetBenchmark(self._stand.url, self._stand.folder, self._options.wallets)

    def round(self, number: int) -> Iterator[Measurement]:
        """One round: of either kind the database first, and then each server."""
        wants = self._options.wants
        for in_database, in_bulk in zip(PGBENCH_SET, BULK, strict=True):
            if wants(in_database):
                yield self._in_database(number, in_database)
            if wants(in_bulk):
                for web_server in self._options.servers:
                    yield self._in_bulk(number, web_server, in_bulk)

    def _in_database(self, number: int, name: str) -> Measurement:
        with (
            self._set.prepared(_kind_of(name)) as run,
            CpuMeter({"postgresql": self._stand.postgres_pid}) as meter,
        ):
            found = run(self._options.seconds)
        details = meter.details(found.good)
        return Measurement(number, DATABASE, name, found.per_second, "ops/s", found.failed, details)

    def _in_bulk(self, number: int, web_server: str, name: str) -> Measurement:
        stand, seconds = self._stand, self._options.seconds
        wallets = 1 if _kind_of(name) == "hot" else self._options.wallets
        ids = stand.folder / f"{name}.ids"
        ids.write_text("\n".join(wallet_id_text(wallet) for wallet in range(1, wallets + 1)))
        with temporary_database(stand.url, BULK_DATABASE) as url:
            insert_wallets(url, self._options.wallets)
            with stand.service(web_server, url) as server:
                self._saturation.bulk(server, ids, WARM_UP_LOAD_SECONDS)
                roots = {"server": server.pid, "postgresql": stand.postgres_pid}
                with CpuMeter(roots) as meter:
                    load = self._saturation.bulk(server, ids, seconds)
                check_ledger(server)
        details = load.details | meter.details(load.good)
        return Measurement(number, web_server, name, load.per_second, "ops/s", load.failed, details)


def _kind_of(name: str) -> str:
    return name.rpartition("_")[2]
