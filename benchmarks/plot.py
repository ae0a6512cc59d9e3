"""The plot of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measurements import (
    DATABASE,
    GUNICORN,
    WEB_SERVERS,
    Figure,
    Measurement,
    summarize,
    summary_of,
)
from benchmarks.stand import ROOT
from benchmarks.targets import (
    BACKLOG_EVENTS_PER_SECOND,
    P99_LIMIT_MS,
    RECORDED_P50_LIMIT_MS,
    RECORDED_P99_LIMIT_MS,
)

# While it is imported it looks for a folder for its list of fonts: not in the user's own ones.
os.environ["MPLCONFIGDIR"] = str(ROOT / ".local/matplotlib")

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

WIDTH_INCHES: Final = 11.0
HEIGHT_INCHES: Final = 8.0
DOTS_PER_INCH: Final = 120
BAR_WIDTH: Final = 0.38

_COLOURS: Final = ("#33658a", "#f26419")
_THROUGHPUT: Final = {
    "http_floor": "bare Flask\nroute",
    "deposits_spread": "deposits\nspread",
    "deposits_hot": "deposits\none wallet",
    "deposits_spread_keyed": "spread,\nkeyed",
    "deposits_hot_keyed": "one wallet,\nkeyed",
    "transfers_spread": "transfers\nspread",
    "transfers_hot": "transfers,\none gives",
    "unannounced_deposits": "spread, no\nrelay, worker",
    "announced_deposits": "spread, with\nrelay, worker",
}
_PGBENCH: Final = {"pgbench_lock_spread": "pgbench, spread", "pgbench_lock_hot": "pgbench, one row"}
_LATENCY: Final = {"p99_spread": "spread", "p99_hot": "one wallet"}
_PERCENTILES: Final = ("p50_ms", "p95_ms", "p99_ms")
_WAYS: Final = (("", "through RabbitMQ"), ("_direct", "without a broker"))


def draw(measurements: Sequence[Measurement], rate: int, backlog: int, file: Path) -> None:
    """Write a PNG. Above: throughput, and latency at ``rate`` operations a second; below: the way
    of the events from commit to record at that rate, and out of a ``backlog`` of so many.
    """
    canvas = Canvas(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    (throughput, latency), (recorded, drained) = canvas.subplots(2, 2, width_ratios=[3, 2])
    _throughput(throughput, measurements)
    _latency(latency, measurements, rate)
    _recorded(recorded, measurements, rate)
    _drained(drained, measurements, backlog)
    for axes in (throughput, recorded):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    canvas.savefig(file, dpi=DOTS_PER_INCH, metadata={"Software": None})


def _throughput(axes: Axes, measurements: Sequence[Measurement]) -> None:
    for place, server in enumerate(WEB_SERVERS):
        for column, name in enumerate(_THROUGHPUT):
            found = summary_of(measurements, Figure(server, name))
            if found is None:
                continue
            axes.bar(
                column + (place - 0.5) * BAR_WIDTH,
                found.median,
                BAR_WIDTH,
                yerr=[[found.median - found.lowest], [found.highest - found.median]],
                color=_COLOURS[place],
                label=server if column == 0 else None,
                capsize=3,
            )
    for style, (name, words) in zip(("--", ":"), _PGBENCH.items(), strict=True):
        found = summary_of(measurements, Figure(DATABASE, name))
        if found is not None:
            axes.axhline(found.median, linestyle=style, color="black", linewidth=1, label=words)
    axes.set_xticks(range(len(_THROUGHPUT)), list(_THROUGHPUT.values()), fontsize=6)
    axes.set_title("Operations a second under full load")


def _latency(axes: Axes, measurements: Sequence[Measurement], rate: int) -> None:
    columns = [(kind, percentile) for kind in _LATENCY for percentile in _PERCENTILES]
    for place, server in enumerate(WEB_SERVERS):
        for column, (kind, percentile) in enumerate(columns):
            figure = Figure(server, kind)
            found = summarize(m.details[percentile] for m in measurements if m.figure == figure)
            if found is not None:
                axes.bar(
                    column + (place - 0.5) * BAR_WIDTH,
                    found.median,
                    BAR_WIDTH,
                    color=_COLOURS[place],
                )
    axes.axhline(P99_LIMIT_MS, linestyle="--", color="black", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(
        range(len(columns)),
        [f"{percentile[:3]}\n{_LATENCY[kind]}" for kind, percentile in columns],
        fontsize=7,
    )
    axes.set_title(f"Latency at {rate:,} operations a second, ms")


def _recorded(axes: Axes, measurements: Sequence[Measurement], rate: int) -> None:
    for place, (suffix, words) in enumerate(_WAYS):
        figure = Figure(GUNICORN, f"recorded{suffix}_p99")
        for column, percentile in enumerate(_PERCENTILES):
            found = summarize(m.details[percentile] for m in measurements if m.figure == figure)
            if found is not None:
                axes.bar(
                    column + (place - 0.5) * BAR_WIDTH,
                    found.median,
                    BAR_WIDTH,
                    yerr=[[found.median - found.lowest], [found.highest - found.median]],
                    color=_COLOURS[place],
                    label=words if column == 0 else None,
                    capsize=3,
                )
    for column, limit in ((0, RECORDED_P50_LIMIT_MS), (2, RECORDED_P99_LIMIT_MS)):
        edges = [column - BAR_WIDTH, column + BAR_WIDTH]
        axes.plot(edges, [limit, limit], linestyle="--", color="black", linewidth=1)
    axes.set_xticks(range(len(_PERCENTILES)), [percentile[:3] for percentile in _PERCENTILES])
    axes.set_title(f"From commit to record at {rate:,} operations a second, ms")


def _drained(axes: Axes, measurements: Sequence[Measurement], backlog: int) -> None:
    for place, (suffix, _) in enumerate(_WAYS):
        found = summary_of(measurements, Figure(GUNICORN, f"backlog{suffix}"))
        if found is not None:
            axes.bar(
                place,
                found.median,
                2 * BAR_WIDTH,
                yerr=[[found.median - found.lowest], [found.highest - found.median]],
                color=_COLOURS[place],
                capsize=3,
            )
    axes.axhline(BACKLOG_EVENTS_PER_SECOND, linestyle="--", color="black", linewidth=1)
    axes.set_xticks(range(len(_WAYS)), [words for _, words in _WAYS])
    axes.set_title(f"Events a second out of a backlog of {backlog:,}")
