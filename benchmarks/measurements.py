"""What was measured, and the arithmetic on it: percentiles, medians, ratios. No I/O here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

GUNICORN: Final = "gunicorn"
GRANIAN: Final = "granian"
DATABASE: Final = "postgresql"
"""What stands for the server where pgbench talks to PostgreSQL directly."""

WEB_SERVERS: Final = (GUNICORN, GRANIAN)

PERCENT: Final = 100

PACE: Final = "pace_reached_percent"
"""The detail of a Measurement at a fixed pace: how much of what was due did happen in time."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The name of a figure: who was measured, doing what."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one round.

    ``value`` in ``unit``: ``ops/s``, ``ms`` or ``MB``. ``failed``: answers other than 2xx, and none
    at all. ``details``: what else is known of it, each with its unit in the name.
    """

    round: int
    server: str
    name: str
    value: float
    unit: str
    failed: int = 0
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def figure(self) -> Figure:
        """What it is a measurement of."""
        return Figure(self.server, self.name)

    def document(self) -> dict[str, Any]:
        """It as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Summary:
    """The rounds of one figure, or of one ratio: the middle, and how far they lie apart."""

    median: float
    lowest: float
    highest: float


def summarize(values: Iterable[float]) -> Summary | None:
    """The median and the range of ``values``; None when there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Summary(statistics.median(ordered), ordered[0], ordered[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the values do not exceed (nearest rank).

    ``ordered`` is sorted and not empty; 0 < ``percent`` <= 100. Raises ValueError otherwise.
    """
    if not ordered or not 0 < percent <= PERCENT:
        raise ValueError("A percentile needs values, and a percentage above 0 up to 100.")
    return ordered[math.ceil(len(ordered) * percent / PERCENT) - 1]


def summary_of(measurements: Iterable[Measurement], figure: Figure) -> Summary | None:
    """A figure over its rounds."""
    return summarize(m.value for m in measurements if m.figure == figure)


def ratio_of(
    measurements: Sequence[Measurement], numerator: Figure, denominator: Figure
) -> Summary | None:
    """The ratio of two figures over the rounds that have both.

    Each round is divided by itself: what slows the machine down for a while slows both, and the
    median of the ratios stays where the ratio of the medians would move.
    """
    above = {m.round: m.value for m in measurements if m.figure == numerator}
    below = {m.round: m.value for m in measurements if m.figure == denominator}
    return summarize(above[number] / below[number] for number in above if below.get(number))
