"""The measurements in their order.

Servers take turns within each round (A B A B ...), each measured right after its own floor, so that
what a noisy machine does to one it does to the other, and the ratio of neighbours stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from benchmarks import announcing, bulk, shop
from benchmarks.announcing import Announcing
from benchmarks.bulk import Bulk
from benchmarks.cpu import CpuMeter
from benchmarks.lock_benchmark import LockBenchmark
from benchmarks.machine import describe_machine
from benchmarks.measurements import DATABASE, Measurement
from benchmarks.options import Options
from benchmarks.paced import PACED_RATE, keep_pace
from benchmarks.saturation import WARM_UP_LOAD_SECONDS, Saturation, connection_count
from benchmarks.shop import Shop
from benchmarks.stand import Server, Stand, check_ledger, make_wallets
from benchmarks.tools import find_pgbench, find_wrk

_SERVERS_NAMES: Final = (
    "http_floor",
    "pgbench_lock_spread",
    "pgbench_lock_hot",
    "deposits_spread",
    "deposits_hot",
    "deposits_spread_keyed",
    "deposits_hot_keyed",
    "transfers_spread",
    "transfers_hot",
    "p99_spread",
    "p99_hot",
    "memory",
)
NAMES: Final = (*_SERVERS_NAMES, *bulk.NAMES, *shop.NAMES, *announcing.NAMES)
"""Everything that is measured."""

_LOCKING: Final = ("pgbench_lock_spread", "pgbench_lock_hot")
_DEPOSITS: Final = tuple(name for name in _SERVERS_NAMES if name.startswith("deposits"))
_TRANSFERS: Final = ("transfers_spread", "transfers_hot")
_WARMED_UP: Final = (*_DEPOSITS, *_TRANSFERS, "memory")
_LOADED: Final = ("http_floor", *_WARMED_UP, *bulk.BULK, *announcing.ANNOUNCED)
"""What wrk is needed for."""
_OF_SERVICE: Final = (*_WARMED_UP, "p99_spread", "p99_hot")


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it all. ``notes``: what was not measured, and why."""

    machine: dict[str, Any]
    options: dict[str, Any]
    measurements: list[Measurement]
    notes: list[str]


def measure(options: Options, say: Callable[[str], None]) -> Run:
    """Do everything. Raises CannotMeasure."""
    if options.wants(*_LOADED):
        find_wrk()
    if options.wants(*_LOCKING, *bulk.PGBENCH_SET):
        find_pgbench()
    with Stand() as stand:
        machine = describe_machine(stand.url, stand.data_folder)
        suite = _Suite(options, stand, say)
        measurements = [m for number in range(1, options.rounds + 1) for m in suite.round(number)]
    machine["rabbitmq"] = suite.announcing.broker_version
    shown = asdict(options) | {"connections": connection_count(), "paced_rate": PACED_RATE}
    notes = [suite.announcing.missing] if suite.announcing.missing else []
    return Run(machine, shown, measurements, notes)


class _Suite:
    """Measurements on a stand that is up."""

    def __init__(self, options: Options, stand: Stand, say: Callable[[str], None]) -> None:
        self._options = options
        self._stand = stand
        self._say = say
        self._files = {name: stand.folder / f"{name}.ids" for name in ("spread", "hot")}
        self._bulk = Bulk(options, stand)
        self._shop = Shop(options, stand, say)
        self.announcing = Announcing(options, stand, say)
        if options.wants("http_floor", *_OF_SERVICE):
            self._make_wallets()

    @cached_property
    def _saturation(self) -> Saturation:
        return Saturation(self._stand.folder)

    @cached_property
    def _lock(self) -> LockBenchmark:
        return LockBenchmark(self._stand.url, self._stand.folder, self._options.wallets)

    def round(self, number: int) -> Iterator[Measurement]:
        """One round: each server in turn, the database between them, many in one request, the
        shop, and the way of the events.
        """
        for place, web_server in enumerate(self._options.servers):
            if place == 0:
                yield from self._told(self._locking(number))
            yield from self._told(self._floor(number, web_server))
            yield from self._told(self._service(number, web_server))
        yield from self._told(self._bulk.round(number))
        yield from self._told(self._shop.round(number))
        yield from self._told(self.announcing.round(number))

    def _told(self, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
        for found in measurements:
            failed = f"  {found.failed} FAILED" if found.failed else ""
            self._say(
                f"round {found.round}  {found.server:10} {found.name:22} "
                f"{found.value:10.1f} {found.unit}{failed}"
            )
            yield found

    def _make_wallets(self) -> None:
        self._say(f"Creating {self._options.wallets} wallets ...")
        with self._stand.service(self._options.servers[0]) as server:
            ids = make_wallets(server, self._options.wallets)
        self._files["spread"].write_text("\n".join(ids))
        self._files["hot"].write_text(ids[0])

    def _locking(self, number: int) -> Iterator[Measurement]:
        for name in _LOCKING:
            kind = name.rpartition("_")[2]
            if self._options.wants(name):
                lock = self._lock
                with CpuMeter({"postgresql": self._stand.postgres_pid}) as meter:
                    result = lock.run(kind, self._options.seconds)
                details = meter.details(result.good)
                rate = result.per_second
                yield Measurement(number, DATABASE, name, rate, "ops/s", result.failed, details)

    def _floor(self, number: int, web_server: str) -> Iterator[Measurement]:
        if self._options.wants("http_floor"):
            with self._stand.floor(web_server) as server:
                self._warm_up(server)
                yield self._loaded(number, web_server, server, "http_floor", "spread")

    def _service(self, number: int, web_server: str) -> Iterator[Measurement]:
        wants = self._options.wants
        if not wants(*_OF_SERVICE):
            return
        with self._stand.service(web_server) as server:
            if wants(*_WARMED_UP):
                self._warm_up(server)
            for kind in ("spread", "hot"):
                for suffix in ("", "_keyed"):
                    name = f"deposits_{kind}{suffix}"
                    if wants(name):
                        yield self._loaded(number, web_server, server, name, kind)
            for name in _TRANSFERS:
                if wants(name):
                    yield self._transferred(number, web_server, server, name)
            for kind in ("spread", "hot"):
                if wants(f"p99_{kind}"):
                    yield self._paced(number, web_server, server, kind)
            if wants("memory"):
                yield from _memory(number, web_server, server)
            check_ledger(server)

    def _warm_up(self, server: Server) -> None:
        self._saturation.run(server, self._files["spread"], WARM_UP_LOAD_SECONDS)

    def _loaded(
        self, number: int, web_server: str, server: Server, name: str, kind: str
    ) -> Measurement:
        keyed = name.endswith("_keyed")
        with self._meter(server) as meter:
            load = self._saturation.run(
                server, self._files[kind], self._options.seconds, keyed=keyed
            )
        details = load.details | meter.details(load.good)
        rate = load.per_second
        return Measurement(number, web_server, name, rate, "ops/s", load.failed, details)

    def _transferred(self, number: int, web_server: str, server: Server, name: str) -> Measurement:
        """Transfers to all wallets, from all of them or from the hot one."""
        sources = self._files[name.rpartition("_")[2]]
        with self._meter(server) as meter:
            load = self._saturation.transfer(
                server, sources, self._files["spread"], self._options.seconds
            )
        details = load.details | meter.details(load.good)
        rate = load.per_second
        return Measurement(number, web_server, name, rate, "ops/s", load.failed, details)

    def _paced(self, number: int, web_server: str, server: Server, kind: str) -> Measurement:
        with self._meter(server) as meter:
            paced = keep_pace(server.port, self._files[kind], self._options.seconds)
        details = paced.details | meter.details(int(paced.details["sent"]))
        value = details["p99_ms"]
        return Measurement(number, web_server, f"p99_{kind}", value, "ms", paced.failed, details)

    def _meter(self, server: Server) -> CpuMeter:
        return CpuMeter({"server": server.pid, "postgresql": self._stand.postgres_pid})


def _memory(number: int, web_server: str, server: Server) -> Iterator[Measurement]:
    """The largest process of the server, after the load; nothing where the kernel does not tell."""
    proportional = server.memory_mb("Pss")
    if proportional:
        details = {
            "processes": float(len(proportional)),
            "all_pss_mb": round(sum(proportional), 1),
            "largest_rss_mb": round(max(server.memory_mb("Rss")), 1),
        }
        yield Measurement(number, web_server, "memory", max(proportional), "MB", 0, details)
