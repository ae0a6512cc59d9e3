"""What the service has to reach, and whether it did. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks.measurements import (
    DATABASE,
    GRANIAN,
    GUNICORN,
    PERCENT,
    WEB_SERVERS,
    Figure,
    Measurement,
    Summary,
    ratio_of,
    summary_of,
)

SPREAD_OF_FLOOR_RATIO: Final = 0.40
HOT_OF_SPREAD_RATIO: Final = 1.0
HOT_OF_LOCKING_RATIO: Final = {GUNICORN: 1.0, GRANIAN: 1.2}
GRANIAN_OF_GUNICORN_RATIO: Final = 1.6
TRANSFERS_OF_DEPOSITS_RATIO: Final = 0.8
HOT_OF_SPREAD_TRANSFERS_RATIO: Final = 1.0
BULK_OPERATIONS_PER_SECOND: Final = 20_000.0
BULK_OF_PGBENCH_SET_RATIO: Final = 0.5
P99_LIMIT_MS: Final = 50.0
MEMORY_LIMIT_MB: Final = 120.0
RECORDED_P50_LIMIT_MS: Final = 25.0
RECORDED_P99_LIMIT_MS: Final = 100.0
BACKLOG_EVENTS_PER_SECOND: Final = 5000.0
ANNOUNCED_OF_UNANNOUNCED_RATIO: Final = 0.8
BROKER_AWAY_OF_UP_RATIO: Final = 1.1

SHOP_P99_LIMIT_MS: Final = 50.0
SHOP_BUSY_P99_LIMIT_MS: Final = 100.0
SHOP_RIGHT_PERCENT: Final = 99.99

NOT_JUDGED: Final = "not judged: only a smoke test"


@dataclass(frozen=True, slots=True)
class Target:
    """``figure``, over ``reference`` if there is one, is to reach or to stay below ``bound``."""

    figure: Figure
    bound: float
    reference: Figure | None = None
    below: bool = False
    unit: str = ""

    @property
    def title(self) -> str:
        """What is compared, in words."""
        if self.reference is None:
            return self.figure.name
        if self.reference.name == self.figure.name:
            return f"{self.figure.name} / that of {self.reference.server}"
        return f"{self.figure.name} / {self.reference.name}"

    @property
    def wanted(self) -> str:
        """The bound, in words."""
        return f"{'<' if self.below else '>='} {_number(self.bound, self.unit)}"


@dataclass(frozen=True, slots=True)
class Result:
    """A target and what became of it; ``value`` is None when it was not measured.

    ``smoke``: it was measured only to see that everything runs, which says nothing of the target.
    """

    target: Target
    value: Summary | None
    smoke: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median is on the right side; None when there is none, or none to judge."""
        if self.value is None or self.smoke:
            return None
        if self.target.below:
            return self.value.median < self.target.bound
        return self.value.median >= self.target.bound

    @property
    def verdict(self) -> str:
        """``met``, ``missed by ...``, ``not measured``, or that it is only a smoke test."""
        if self.value is None:
            return "not measured"
        if self.smoke:
            return NOT_JUDGED
        if self.met:
            return "met"
        distance = abs(self.value.median - self.target.bound)
        share = distance / self.target.bound * PERCENT
        return f"missed by {_number(distance, self.target.unit)} ({share:.1f} %)"

    def document(self) -> dict[str, Any]:
        """It as JSON."""
        value = self.value
        return {
            "server": self.target.figure.server,
            "target": f"{self.target.title} {self.target.wanted}",
            "median": value and value.median,
            "lowest": value and value.lowest,
            "highest": value and value.highest,
            "verdict": self.verdict,
        }

    @property
    def reached(self) -> str:
        """The median and the range, in words."""
        if self.value is None:
            return "-"
        unit = self.target.unit
        middle, lowest, highest = (
            _number(v, unit) for v in (self.value.median, self.value.lowest, self.value.highest)
        )
        return middle if lowest == highest else f"{middle} ({lowest} to {highest})"


def targets_of(server: str) -> list[Target]:
    """All targets of a web server."""
    spread, hot = Figure(server, "deposits_spread"), Figure(server, "deposits_hot")
    locking = Figure(DATABASE, "pgbench_lock_hot")
    targets = [
        Target(spread, SPREAD_OF_FLOOR_RATIO, Figure(server, "http_floor")),
        Target(hot, HOT_OF_SPREAD_RATIO, spread),
        Target(hot, HOT_OF_LOCKING_RATIO[server], locking),
    ]
    if server != GUNICORN:
        targets += [
            Target(figure, GRANIAN_OF_GUNICORN_RATIO, Figure(GUNICORN, figure.name))
            for figure in (spread, hot)
        ]
    return [
        *targets,
        *_targets_of_announcing(server),
        *_targets_of_transfers(server),
        *_targets_of_bulk(server),
        *_targets_of_shop(server),
        Target(Figure(server, "p99_spread"), P99_LIMIT_MS, below=True, unit="ms"),
        Target(Figure(server, "p99_hot"), P99_LIMIT_MS, below=True, unit="ms"),
        Target(Figure(server, "memory"), MEMORY_LIMIT_MB, below=True, unit="MB"),
    ]


def _targets_of_transfers(server: str) -> list[Target]:
    spread, hot = Figure(server, "transfers_spread"), Figure(server, "transfers_hot")
    deposits = Figure(server, "deposits_spread")
    return [
        Target(spread, TRANSFERS_OF_DEPOSITS_RATIO, deposits),
        Target(hot, HOT_OF_SPREAD_TRANSFERS_RATIO, spread),
    ]


def _targets_of_bulk(server: str) -> list[Target]:
    """Of many in one request: as such, and by what the database alone does."""
    return [
        target
        for kind in ("spread", "hot")
        for figure in (Figure(server, f"bulk_{kind}"),)
        for target in (
            Target(figure, BULK_OPERATIONS_PER_SECOND, unit="ops/s"),
            Target(figure, BULK_OF_PGBENCH_SET_RATIO, Figure(DATABASE, f"pgbench_set_{kind}")),
        )
    ]


def _targets_of_shop(server: str) -> list[Target]:
    """Of a steady load on it, and of the same while people log in for the first time."""
    at = partial(Figure, server)
    return [
        Target(at("shop_p99"), SHOP_P99_LIMIT_MS, below=True, unit="ms"),
        Target(at("shop_right"), SHOP_RIGHT_PERCENT, unit="%"),
        Target(at("shop_busy_p99"), SHOP_BUSY_P99_LIMIT_MS, below=True, unit="ms"),
        Target(at("shop_busy_right"), SHOP_RIGHT_PERCENT, unit="%"),
    ]


def _targets_of_announcing(server: str) -> list[Target]:
    """Of the events' way through RabbitMQ; no server has a part in the backlog."""
    at = partial(Figure, server)
    backlog = Target(at("backlog"), BACKLOG_EVENTS_PER_SECOND, unit="events/s")
    return [
        Target(at("recorded_p50"), RECORDED_P50_LIMIT_MS, below=True, unit="ms"),
        Target(at("recorded_p99"), RECORDED_P99_LIMIT_MS, below=True, unit="ms"),
        *([backlog] if server == GUNICORN else []),
        Target(
            at("announced_deposits"), ANNOUNCED_OF_UNANNOUNCED_RATIO, at("unannounced_deposits")
        ),
        Target(at("broker_away_p99"), BROKER_AWAY_OF_UP_RATIO, at("broker_up_p99"), below=True),
    ]


def judge(measurements: Sequence[Measurement], *, smoke: bool = False) -> list[Result]:
    """Every target of every server, judged, unless this was a ``smoke`` test."""
    return [
        result_of(measurements, target, smoke=smoke)
        for server in WEB_SERVERS
        for target in targets_of(server)
    ]


def result_of(
    measurements: Sequence[Measurement], target: Target, *, smoke: bool = False
) -> Result:
    """One target, judged."""
    if target.reference is None:
        value = summary_of(measurements, target.figure)
    else:
        value = ratio_of(measurements, target.figure, target.reference)
    return Result(target, value, smoke)


def _number(value: float, unit: str) -> str:
    if not unit:
        return f"{value:.3f}"
    if unit == "%":
        return f"{value:.3f} %"
    return f"{value:,.0f} {unit}" if unit.endswith("/s") else f"{value:.1f} {unit}"
