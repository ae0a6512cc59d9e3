"""Tables of a run, for the terminal and for the documentation. Nothing here does I/O."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from benchmarks.cpu import OTHERS
from benchmarks.machine import in_words
from benchmarks.measurements import (
    DATABASE,
    PACE,
    PERCENT,
    WEB_SERVERS,
    Figure,
    Measurement,
    summarize,
    summary_of,
)
from benchmarks.targets import Result

MISSING: Final = "-"
PACE_LIMIT_PERCENT: Final = 95.0
"""Below this share of a fixed pace, that is mentioned."""
SMOKE: Final = (
    "This was only a SMOKE TEST: it shows that everything runs. Its measurements are far too short "
    "for their figures to say anything, so no target is judged."
)
DISTURBED_PERCENT: Final = 5.0
"""From this share of the machine on, other programs are mentioned."""

_THROUGHPUT: Final = (
    ("http_floor", "a bare Flask route"),
    ("deposits_spread", "deposits over all wallets"),
    ("deposits_hot", "deposits on one wallet"),
    ("deposits_spread_keyed", "over all, with Idempotency-Key"),
    ("deposits_hot_keyed", "on one, with Idempotency-Key"),
    ("transfers_spread", "transfers between all wallets"),
    ("transfers_hot", "transfers from one to all"),
    ("bulk_spread", "bulk requests over all wallets"),
    ("bulk_hot", "bulk requests on one wallet"),
    ("unannounced_deposits", "over all, without relay and worker"),
    ("announced_deposits", "over all, with relay and worker"),
)
_PGBENCH: Final = (
    ("pgbench_lock_spread", "pgbench over all rows"),
    ("pgbench_lock_hot", "pgbench on one row"),
    ("pgbench_set_spread", "pgbench set-wise over all rows"),
    ("pgbench_set_hot", "pgbench set-wise on one row"),
)
_PACED: Final = (
    ("p99_spread", "over all wallets"),
    ("p99_hot", "on one wallet"),
    ("broker_up_p99", "with RabbitMQ, relay and worker"),
    ("broker_away_p99", "with RabbitMQ killed"),
    ("shop_p99", "the shop"),
    ("shop_busy_p99", "the shop, with 50 first log-ins a second"),
)
_WAYS: Final = (("through RabbitMQ", ""), ("without a broker", "_direct"))
_ANNOUNCING: Final = ("recorded_p99", "recorded_direct_p99", "backlog", "backlog_direct")
_CPU_DETAILS: Final = (
    ("server_cpu_us_per_operation", "server"),
    ("postgresql_cpu_us_per_operation", "PostgreSQL"),
    ("client_cpu_us_per_operation", "client"),
    ("relay_cpu_us_per_operation", "relay"),
    ("broker_cpu_us_per_operation", "RabbitMQ"),
    ("worker_cpu_us_per_operation", "worker"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, numbers to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [_line(line, widths) for line in lines]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([texts[0], _line(rule, widths), *texts[1:]])


def throughput_table(measurements: Sequence[Measurement]) -> str:
    """Operations a second: medians of the rounds, with the range."""
    rows = [
        [name, words, *(_range_of(measurements, Figure(s, name)) for s in WEB_SERVERS)]
        for name, words in _THROUGHPUT
    ]
    rows += [
        [name, words, *[_range_of(measurements, Figure(DATABASE, name))] * len(WEB_SERVERS)]
        for name, words in _PGBENCH
    ]
    return table(["figure", "operations a second", *WEB_SERVERS], rows)


def latency_table(measurements: Sequence[Measurement], rate: int) -> str:
    """Milliseconds at a fixed pace: medians of the rounds, the worst of all as the maximum."""
    rows = []
    for server in WEB_SERVERS:
        for name, words in _PACED:
            found = _measured(measurements, server, name)
            rows.append(
                [
                    f"{server}, {words}",
                    *(_median(found, f"{percent}_ms") for percent in ("p50", "p95", "p99")),
                    _worst(found, "max_ms"),
                    _median(found, "client_late_p99_ms"),
                    _worst(found, "client_late_max_ms"),
                ]
            )
    head = ["p50", "p95", "p99", "max", "client late p99", "client late max"]
    return table([f"ms at {rate} operations a second", *head], rows)


def announcing_table(measurements: Sequence[Measurement], options: dict[str, Any]) -> str:
    """The way of the events: from commit to record at a steady pace, and out of a backlog."""
    rows = []
    for server, (words, suffix) in itertools.product(WEB_SERVERS, _WAYS):
        # The figure of its p99 has all of them.
        delays = _measured(measurements, server, f"recorded{suffix}_p99")
        rows.append(
            [
                f"{server}, {words}",
                *(_median(delays, f"{percent}_ms") for percent in ("p50", "p95", "p99")),
                _worst(delays, "max_ms"),
                _range_of(measurements, Figure(server, f"backlog{suffix}")),
            ]
        )
    head = ["p50", "p95", "p99", "max", f"events a second out of {options['backlog']:,}"]
    return table(["ms from commit to record", *head], rows)


def cost_table(measurements: Sequence[Measurement]) -> str:
    """CPU time of one operation, by whose it was: under full load, at a pace, in a backlog."""
    figures = [(server, name) for server in WEB_SERVERS for name, _ in _THROUGHPUT]
    figures += [(DATABASE, name) for name, _ in _PGBENCH]
    figures += [(server, name) for server in WEB_SERVERS for name in _ANNOUNCING]
    rows = []
    for server, name in figures:
        found = _measured(measurements, server, name)
        rows.append([f"{server}, {name}", *(_median(found, detail) for detail, _ in _CPU_DETAILS)])
    return table(["CPU microseconds an operation", *(word for _, word in _CPU_DETAILS)], rows)


def targets_table(results: Sequence[Result]) -> str:
    """Every target with what was reached and the verdict."""
    return table(
        ["server", "target", "wanted", "reached", "verdict"],
        [
            [r.target.figure.server, r.target.title, r.target.wanted, r.reached, r.verdict]
            for r in results
        ],
    )


def remarks(measurements: Sequence[Measurement]) -> list[str]:
    """What a reader of the figures must know: failed requests, a pace that was too fast, and a
    machine that was not quiet.
    """
    lines = [
        f"{m.server} {m.name}, round {m.round}: {m.failed} requests FAILED; its figure counts the "
        "others only."
        for m in measurements
        if m.failed
    ]
    lines += [
        f"{m.server} {m.name}, round {m.round}: only {m.details[PACE]:.0f} % of the pace was "
        "REACHED; its figure is that of less load."
        for m in measurements
        if m.details.get(PACE, PERCENT) < PACE_LIMIT_PERCENT
    ]
    others = summarize(m.details[OTHERS] for m in measurements if OTHERS in m.details)
    if others is not None and others.highest > DISTURBED_PERCENT:
        lines.append(
            f"Other programs used {others.median:.0f} % of the machine meanwhile (up to "
            f"{others.highest:.0f} %): ratios are worth more than figures."
        )
    return lines


def whole(
    machine: dict[str, Any],
    options: dict[str, Any],
    measurements: Sequence[Measurement],
    results: Sequence[Result],
    notes: Sequence[str] = (),
) -> str:
    """Everything, as Markdown that is as well read on a terminal.

    ``notes``: what was not measured, and why.
    """
    about = (
        f"{in_words(machine)}. {options['rounds']} rounds of {options['seconds']:g} s each, "
        f"{options['connections']} connections, {options['wallets']} wallets. Medians of the "
        "rounds, lowest and highest in parentheses; ratios are taken within each round."
    )
    smoke = [SMOKE] if options.get("smoke") else []
    parts = [
        *smoke,
        about,
        throughput_table(measurements),
        latency_table(measurements, options["paced_rate"]),
        announcing_table(measurements, options),
        cost_table(measurements),
        targets_table(results),
        *smoke,
        *notes,
        *remarks(measurements),
    ]
    return "\n\n".join(parts)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cells[0].ljust(widths[0])]
    padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join(padded)} |"


def _measured(measurements: Iterable[Measurement], server: str, name: str) -> list[Measurement]:
    return [m for m in measurements if m.figure == Figure(server, name)]


def _range_of(measurements: Sequence[Measurement], figure: Figure) -> str:
    found = summary_of(measurements, figure)
    if found is None:
        return MISSING
    return f"{found.median:,.0f} ({found.lowest:,.0f} to {found.highest:,.0f})"


def _median(found: Sequence[Measurement], detail: str) -> str:
    return _detail(found, detail, lambda summary: summary.median)


def _worst(found: Sequence[Measurement], detail: str) -> str:
    return _detail(found, detail, lambda summary: summary.highest)


def _detail(found: Sequence[Measurement], detail: str, choose: Callable[[Any], float]) -> str:
    summary = summarize(m.details[detail] for m in found if detail in m.details)
    return MISSING if summary is None else f"{choose(summary):.1f}"
