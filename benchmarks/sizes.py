"""``--sizes``: what becomes of operations and reads when there are many entries.

Everything is measured on a ledger of each size and, right before or after, on an empty one: what a
noisy machine does to one it does to the other. A round begins with the empty one, the next one
does not. Empty is EMPTY_ENTRIES, because a page of no history would be no page.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.cpu import CpuMeter
from benchmarks.grown import ENTRIES_PER_WALLET, Grown, grow, new_ledger
from benchmarks.machine import describe_machine
from benchmarks.measurements import Measurement
from benchmarks.options import Options
from benchmarks.programs import BYTES_PER_MB, CannotMeasure
from benchmarks.saturation import WARM_UP_LOAD_SECONDS, Saturation, connection_count
from benchmarks.sizes_report import DEPOSITS, EMPTY, size_name
from benchmarks.stand import (
    Server,
    Stand,
    check_ledger,
    drop_database,
    make_checkpoint,
    make_database,
    temporary_database,
)
from benchmarks.suite import Run
from benchmarks.tools import find_wrk

SIZES: Final = (10_000, 1_000_000, 10_000_000)
QUICK_SIZES: Final = (1000, 10_000)
"""Of the smoke test."""
EMPTY_ENTRIES: Final = 500
REMADE_ENTRIES: Final = 100_000
"""Up to this size a ledger is made anew for each round: what is deposited meanwhile would make it
many times as large. Above, it is hundredths."""
READ_SECONDS: Final = 3.0
"""The longest that one kind of read is measured; hundreds a second are enough for a median."""
PATHS: Final = 10_000
"""Different paths of one kind that are read."""
PAGE_ITEMS: Final = 50

BYTES_PER_ENTRY: Final = 510
"""With its indexes; of 500,000 entries on PostgreSQL 18."""
WRITE_AHEAD_BYTES: Final = 2_000_000_000
"""What else PostgreSQL may need on the disk meanwhile."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A kind of read: a random path of it, and how many operations the answer tells of."""

    path: Callable[[Grown], str]
    told: Callable[[dict[str, Any]], int]
    expected: int


def _history(grown: Grown) -> str:
    return f"/api/v1/wallets/{grown.any_filled()}/operations?limit={PAGE_ITEMS}"


def _balance_at(grown: Grown) -> str:
    # From when on every wallet has an entry.
    number = random.randrange(grown.filled, grown.entries)  # noqa: S311 - no secret
    return f"/api/v1/wallets/{grown.any_filled()}/balance?at={grown.moment(number)}"


def _statement(grown: Grown) -> str:
    # From between two entries to between two others: half of each wallet's.
    since, until = (grown.moment(part * grown.entries - 0.5) for part in (0.25, 0.75))
    return f"/api/v1/wallets/{grown.any_filled()}/statement?from={since}&to={until}"


def _search(grown: Grown) -> str:
    number = random.randrange(grown.entries)  # noqa: S311 - no secret
    return f"/api/v1/operations?reference=order-{number}"


_READS: Final = {
    "history": _Read(_history, lambda page: len(page["items"]), PAGE_ITEMS),
    "balance_at": _Read(_balance_at, lambda balance: int(balance["seq"] > 0), 1),
    "statement": _Read(
        _statement, lambda statement: int(statement["totals"]["count"]), ENTRIES_PER_WALLET // 2
    ),
    "search": _Read(_search, lambda page: len(page["items"]), 1),
}


def sizes_of(options: Options) -> tuple[int, ...]:
    """How many entries there are to be."""
    return QUICK_SIZES if options.smoke else SIZES


def measure_sizes(options: Options, say: Callable[[str], None]) -> Run:
    """Do everything. Raises CannotMeasure."""
    find_wrk()
    with Stand() as stand:
        _check_room(stand, sum(sizes_of(options)))
        machine = describe_machine(stand.url, stand.data_folder)
        suite = _Sizes(options, stand, say)
        measurements = [m for number in range(1, options.rounds + 1) for m in suite.round(number)]
    shown = asdict(options) | {"connections": connection_count(), "sizes": sizes_of(options)}
    return Run(machine, shown, measurements, [])


def _check_room(stand: Stand, entries: int) -> None:
    """Raise CannotMeasure if the disk would be full before the end."""
    free = shutil.disk_usage(stand.folder).free
    needed = entries * BYTES_PER_ENTRY + WRITE_AHEAD_BYTES
    if free < needed:
        raise CannotMeasure(
            f"{entries:,} entries need some {needed / BYTES_PER_MB:,.0f} MB in "
            f"{stand.folder.parent}, where {free / BYTES_PER_MB:,.0f} MB are free. "
            "--sizes --quick needs little."
        )


class _Sizes:
    """Measurements on a stand that is up."""

    def __init__(self, options: Options, stand: Stand, say: Callable[[str], None]) -> None:
        self._options = options
        self._stand = stand
        self._say = say
        self._saturation = Saturation(stand.folder)
        self._made: dict[int, tuple[str, Grown]] = {}

    def round(self, number: int) -> Iterator[Measurement]:
        """One round: every size and, beside each, an empty ledger."""
        for entries in sizes_of(self._options):
            url, grown = self._ledger(entries)
            for empty in (True, False) if number % 2 else (False, True):
                with self._empty() if empty else contextlib.nullcontext((url, grown)) as made:
                    for found in self._measured(number, *made, entries, empty=empty):
                        failed = f"  {found.failed} FAILED" if found.failed else ""
                        self._say(
                            f"round {number}  {found.name:32} {found.value:10.2f} "
                            f"{found.unit}{failed}"
                        )
                        yield found

    @contextlib.contextmanager
    def _empty(self) -> Iterator[tuple[str, Grown]]:
        """An empty ledger, a new one each time."""
        with temporary_database(self._stand.url, EMPTY) as url:
            ledger = new_ledger(EMPTY_ENTRIES, self._options.wallets)
            grow(url, ledger, lambda _: None)
            yield url, ledger

    def _ledger(self, entries: int) -> tuple[str, Grown]:
        """A ledger of this size: the one of the round before, unless it is a small one."""
        name = f"entries_{entries}"
        if entries <= REMADE_ENTRIES and entries in self._made:
            drop_database(self._stand.url, name)
            del self._made[entries]
        if entries not in self._made:
            url = make_database(self._stand.url, name)
            grown = new_ledger(entries, self._options.wallets)
            grow(url, grown, self._say)
            make_checkpoint(url)
            self._made[entries] = (url, grown)
        return self._made[entries]

    def _measured(
        self, number: int, url: str, ledger: Grown, entries: int, *, empty: bool
    ) -> Iterator[Measurement]:
        """The reads first, because deposits change what they read."""
        web_server = self._options.servers[0]
        with self._stand.service(web_server, url) as server:
            for kind in _READS:
                yield self._read(number, server, ledger, kind, size_name(kind, entries, empty))
            yield self._deposited(number, server, ledger, size_name(DEPOSITS, entries, empty))
            check_ledger(server)

    def _read(
        self, number: int, server: Server, ledger: Grown, kind: str, name: str
    ) -> Measurement:
        paths = self._stand.folder / "sizes.paths"
        wanted = [_READS[kind].path(ledger) for _ in range(PATHS)]
        paths.write_text("\n".join(wanted))
        _check_answer(server, _READS[kind], wanted[0])
        self._saturation.read(server, paths, WARM_UP_LOAD_SECONDS)
        with self._meter(server) as meter:
            load = self._saturation.read(server, paths, min(self._options.seconds, READ_SECONDS))
        details = load.details | meter.details(load.good)
        value = load.details["p50_ms"]
        return Measurement(
            number, self._options.servers[0], name, value, "ms", load.failed, details
        )

    def _deposited(self, number: int, server: Server, ledger: Grown, name: str) -> Measurement:
        ids = self._stand.folder / "sizes.ids"
        ids.write_text("\n".join(ledger.evenly(self._options.wallets)))
        self._saturation.run(server, ids, WARM_UP_LOAD_SECONDS)
        with self._meter(server) as meter:
            load = self._saturation.run(server, ids, self._options.seconds)
        details = load.details | meter.details(load.good)
        rate = load.per_second
        return Measurement(
            number, self._options.servers[0], name, rate, "ops/s", load.failed, details
        )

    def _meter(self, server: Server) -> CpuMeter:
        return CpuMeter({"server": server.pid, "postgresql": self._stand.postgres_pid})


def _check_answer(server: Server, read: _Read, path: str) -> None:
    """Raise CannotMeasure unless the answer tells of as much as it is to, whatever the size."""
    status, body = server.get(path)
    if status != 200 or read.told(json.loads(body)) != read.expected:
        raise CannotMeasure(f"{path} is not answered as it should be: {body[:1000].decode()}")
