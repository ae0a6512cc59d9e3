"""The plot of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.measurements import (
    DATABASE,
    WEB_SERVERS,
    Figure,
    Measurement,
    summarize,
    summary_of,
)
from benchmarks.targets import P99_LIMIT_MS

WIDTH_INCHES: Final = 11.0
HEIGHT_INCHES: Final = 4.5
DOTS_PER_INCH: Final = 120
BAR_WIDTH: Final = 0.38

_COLOURS: Final = ("#33658a", "#f26419")
_THROUGHPUT: Final = {
    "http_floor": "bare Flask\nroute",
    "deposits_spread": "deposits\nspread",
    "deposits_hot": "deposits\none wallet",
    "deposits_spread_keyed": "spread,\nkeyed",
    "deposits_hot_keyed": "one wallet,\nkeyed",
}
_PGBENCH: Final = {"pgbench_lock_spread": "pgbench, spread", "pgbench_lock_hot": "pgbench, one row"}
_LATENCY: Final = {"p99_spread": "spread", "p99_hot": "one wallet"}
_PERCENTILES: Final = ("p50_ms", "p95_ms", "p99_ms")


def draw(measurements: Sequence[Measurement], rate: int, file: Path) -> None:
    """Write a PNG: throughput on the left, latency at ``rate`` operations a second on the right."""
    canvas = Canvas(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
    _throughput(left, measurements)
    _latency(right, measurements, rate)
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
    axes.set_xticks(range(len(_THROUGHPUT)), list(_THROUGHPUT.values()), fontsize=8)
    axes.set_title("Operations a second under full load")
    axes.legend(fontsize=8)


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
