"""The way of the events to their notifications: how fast it is, and what it costs the service.

On each server; a backlog, in which no server has a part, once. What goes through RabbitMQ and what
goes without a broker have a database each, so that neither finds the other's events; relay, worker
and RabbitMQ run only while they are measured. Of two figures that are compared, every other round
begins with the other one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from benchmarks import event_log
from benchmarks.broker import Broker, BrokerMissing, private_broker
from benchmarks.cpu import CpuMeter
from benchmarks.measurements import PACE, PERCENT, Measurement
from benchmarks.options import Options
from benchmarks.paced import PACED_RATE, Paced, keep_pace
from benchmarks.programs import CannotMeasure
from benchmarks.saturation import WARM_UP_LOAD_SECONDS, Saturation
from benchmarks.stand import Server, Stand, check_ledger, make_database, make_wallets

RECORDED: Final = ("recorded_p50", "recorded_p99")
BROKER_P99: Final = ("broker_up_p99", "broker_away_p99")
ANNOUNCED: Final = ("announced_deposits", "unannounced_deposits")
BACKLOG: Final = "backlog"
DIRECT_RECORDED: Final = ("recorded_direct_p50", "recorded_direct_p99")
DIRECT_BACKLOG: Final = "backlog_direct"

THROUGH_BROKER: Final = (*RECORDED, *BROKER_P99, *ANNOUNCED, BACKLOG)
DIRECT: Final = (*DIRECT_RECORDED, DIRECT_BACKLOG)
NAMES: Final = (*THROUGH_BROKER, *DIRECT)
"""Everything that is measured here."""

DRAIN_TIMEOUT_SECONDS: Final = 600.0
POLL_SECONDS: Final = 0.5
"""Looking at the worker's counter takes some milliseconds of its time."""
RECORDED_METRIC: Final = "coffer_worker_recorded_total"


@dataclass(frozen=True, slots=True)
class _Site:
    """A database with wallets, and the file of their ids."""

    url: str
    ids: Path


class Announcing:
    """Its measurements, on a stand that is up. ``missing``: why there are none with a broker."""

    def __init__(self, options: Options, stand: Stand, say: Callable[[str], None]) -> None:
        self._options = options
        self._stand = stand
        self._say = say
        self.broker_version: str | None = None
        self.missing: str | None = None

    def round(self, number: int) -> Iterator[Measurement]:
        """One round. A RabbitMQ that cannot be had is told once, and the other figures remain."""
        if self._wants(*THROUGH_BROKER) and self.missing is None:
            try:
                with private_broker(self._stand.folder) as broker:
                    self.broker_version = broker.version()
                    for each in self._rounds(self._brokered, number):
                        yield from each.through(broker)
            except BrokerMissing as error:
                self.missing = f"{error} What goes through RabbitMQ is NOT measured."
                self._say(self.missing)
        if self._wants(*DIRECT):
            for each in self._rounds(self._direct, number):
                yield from each.without_broker()

    def _rounds(self, site: _Site, number: int) -> Iterator[_Round]:
        """One of each server, as they come."""
        for web_server in self._options.servers:
            yield _Round(self._options, self._stand, site, number, web_server)

    def _wants(self, *names: str) -> bool:
        return self._options.wants(*names)

    @cached_property
    def _brokered(self) -> _Site:
        return self._site("brokered")

    @cached_property
    def _direct(self) -> _Site:
        return self._site("direct")

    def _site(self, name: str) -> _Site:
        self._say(f"Creating {self._options.wallets} wallets in the database {name} ...")
        site = _Site(make_database(self._stand.url, name), self._stand.folder / f"{name}.ids")
        with self._stand.service(self._options.servers[0], site.url) as server:
            site.ids.write_text("\n".join(make_wallets(server, self._options.wallets)))
        return site


class _Round:
    """One round on one database, of one server."""

    def __init__(
        self, options: Options, stand: Stand, site: _Site, number: int, web_server: str
    ) -> None:
        self._options = options
        self._stand = stand
        self._site = site
        self._number = number
        self._web_server = web_server

    @cached_property
    def _saturation(self) -> Saturation:
        return Saturation(self._stand.folder)

    @property
    def _is_first(self) -> bool:
        """Whether this is the round of the server that is measured first."""
        return self._web_server == self._options.servers[0]

    def through(self, broker: Broker) -> Iterator[Measurement]:
        """Everything with relay, RabbitMQ and worker."""
        wants = self._options.wants
        if wants(BACKLOG) and self._is_first:
            yield self._backlog(BACKLOG, broker)
        if not wants(*RECORDED, *BROKER_P99, *ANNOUNCED):
            return
        with self._stand.service(self._web_server, self._site.url) as server:
            if wants(*RECORDED, *BROKER_P99):
                with self._announcers(broker) as programs:
                    self._warm_up(server)
                    yield from self._steady(server, programs, broker)
            if wants(*ANNOUNCED):
                for name in self._in_turn(ANNOUNCED):
                    yield self._loaded(name, server, broker)
            check_ledger(server)

    def without_broker(self) -> Iterator[Measurement]:
        """The worker that follows the log itself."""
        if self._options.wants(DIRECT_BACKLOG) and self._is_first:
            yield self._backlog(DIRECT_BACKLOG, None)
        if self._options.wants(*DIRECT_RECORDED):
            with (
                self._stand.service(self._web_server, self._site.url) as server,
                self._announcers(None) as programs,
            ):
                self._warm_up(server)
                paced, details = self._paced(server, programs)
                yield from self._recorded(DIRECT_RECORDED, paced, details)
                check_ledger(server)

    # -- A steady pace ------------------------------------------------------------------------

    def _steady(
        self, server: Server, programs: dict[str, int], broker: Broker
    ) -> Iterator[Measurement]:
        """Commit to record, and the latency of the API with the broker there and away."""
        up, away = BROKER_P99
        for name in self._in_turn(BROKER_P99) if self._options.wants(*BROKER_P99) else (up,):
            if name == away:
                broker.kill()
                alive = {kind: pid for kind, pid in programs.items() if kind != "broker"}
                paced, details = self._paced(server, alive)
                broker.start()
                programs["broker"] = broker.pid
                event_log.wait_until_recorded(self._site.url)
            else:
                paced, details = self._paced(server, programs)
                if self._options.wants(*RECORDED):
                    yield from self._recorded(RECORDED, paced, details)
            if self._options.wants(*BROKER_P99):
                value = paced.details["p99_ms"]
                yield self._measurement(name, value, "ms", paced.failed, paced.details | details)

    def _warm_up(self, server: Server) -> None:
        """Let everything do its work for the first time, at the same pace, before any counts."""
        keep_pace(server.port, self._site.ids, WARM_UP_LOAD_SECONDS)
        event_log.wait_until_recorded(self._site.url)

    def _paced(self, server: Server, programs: dict[str, int]) -> tuple[Paced, dict[str, float]]:
        """What the paced client told, and CPU time of an operation by whose it was."""
        with self._meter(programs | {"server": server.pid}) as meter:
            paced = keep_pace(server.port, self._site.ids, self._options.seconds)
        return paced, meter.details(int(paced.details["sent"]))

    def _recorded(
        self, names: tuple[str, str], paced: Paced, costs: dict[str, float]
    ) -> Iterator[Measurement]:
        event_log.wait_until_recorded(self._site.url)
        found = event_log.delays(self._site.url, paced.counted_from, paced.counted_until)
        wanted = PACED_RATE * self._options.seconds
        details = found.details() | costs | {PACE: round(found.events / wanted * PERCENT, 1)}
        failed = paced.failed + found.missing
        p50, p99 = names
        yield self._measurement(p50, found.p50_ms, "ms", failed, {})
        yield self._measurement(p99, found.p99_ms, "ms", failed, details)

    # -- As much as goes ----------------------------------------------------------------------

    def _loaded(self, name: str, server: Server, broker: Broker) -> Measurement:
        """Deposits under full load, with relay and worker or without."""
        ids, announced = self._site.ids, name == ANNOUNCED[0]
        with contextlib.ExitStack() as stack:
            programs = stack.enter_context(self._announcers(broker)) if announced else {}
            self._saturation.run(server, ids, WARM_UP_LOAD_SECONDS)
            with self._meter(programs | {"server": server.pid}) as meter:
                load = self._saturation.run(server, ids, self._options.seconds)
            details = load.details | meter.details(load.good)
            if announced:
                details["behind_events"] = event_log.behind(self._site.url)
                event_log.wait_until_recorded(self._site.url)
        return self._measurement(name, load.per_second, "ops/s", load.failed, details)

    def _backlog(self, name: str, broker: Broker | None) -> Measurement:
        """Events a second out of a log that has gathered while relay and worker were stopped."""
        url, count = self._site.url, self._options.backlog
        with self._announcers(broker):
            pass  # everything from before is recorded now, and the places in the log are kept
        position = event_log.top(url)
        event_log.fill(url, self._site.ids.read_text().split(), count)
        with self._programs(broker) as (programs, worker), self._meter(programs) as meter:
            _wait_for_records(worker, count)
        events, seconds = event_log.drained(url, position)
        rate = event_log.drain_rate(events, seconds)
        details = {"events": float(events), "seconds": round(seconds, 3)} | meter.details(events)
        return self._measurement(name, rate, "events/s", count - events, details)

    # -- What runs ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _announcers(self, broker: Broker | None) -> Iterator[dict[str, int]]:
        """Relay and worker, from when they have nothing left to do: first processes by kind."""
        with self._programs(broker) as (programs, _):
            event_log.wait_until_recorded(self._site.url)
            yield programs

    @contextlib.contextmanager
    def _programs(self, broker: Broker | None) -> Iterator[tuple[dict[str, int], Server]]:
        """Relay (where there is a broker) and worker: first processes by kind, and the worker.

        The worker comes first, so that nothing gathers for it before it is there.
        """
        url, stand = self._site.url, self._stand
        with stand.worker(url, broker.url if broker else None) as worker:
            if broker is None:
                yield {"worker": worker.pid}, worker
                return
            with stand.relay(url, broker.url) as relay:
                programs = {"relay": relay.pid, "broker": broker.pid, "worker": worker.pid}
                yield programs, worker

    def _in_turn(self, names: tuple[str, str]) -> tuple[str, str]:
        """Two figures of one ratio in the order of this round."""
        first, second = names
        return names if self._number % 2 else (second, first)

    def _meter(self, programs: dict[str, int]) -> CpuMeter:
        return CpuMeter({**programs, "postgresql": self._stand.postgres_pid})

    def _measurement(
        self, name: str, value: float, unit: str, failed: int, details: dict[str, float]
    ) -> Measurement:
        return Measurement(self._number, self._web_server, name, value, unit, failed, details)


def _wait_for_records(worker: Server, count: int) -> None:
    """Wait until the worker has recorded so many events since it was started."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
    while (recorded := metric(worker.get("/metrics")[1].decode(), RECORDED_METRIC)) < count:
        if time.monotonic() > deadline:
            limit = f"{DRAIN_TIMEOUT_SECONDS:.0f} s"
            raise CannotMeasure(f"{recorded:.0f} of {count} events are recorded after {limit}.")
        time.sleep(POLL_SECONDS)


def metric(text: str, name: str) -> float:
    """The value of a metric without labels in Prometheus' text; 0 if it is not there yet."""
    values = (line.split()[1] for line in text.splitlines() if line.startswith(f"{name} "))
    return float(next(values, 0))
