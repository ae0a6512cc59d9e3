"""``python -m benchmarks``: what ``make bench`` runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.measurements import WEB_SERVERS
from benchmarks.options import Options
from benchmarks.paced import PACED_RATE
from benchmarks.plot import draw
from benchmarks.profile import PROFILED, profile
from benchmarks.programs import CannotMeasure, terminate_as_interrupt
from benchmarks.report import whole
from benchmarks.sizes import BYTES_PER_ENTRY, SIZES, measure_sizes
from benchmarks.sizes_report import judge_sizes, whole_of_sizes
from benchmarks.stand import ROOT
from benchmarks.suite import NAMES, Run, measure
from benchmarks.targets import Result, judge

RESULTS: Final = ROOT / "benchmarks/results"
DOCUMENT: Final = ROOT / "docs/benchmarks.md"
DOCUMENT_PLOT: Final = ROOT / "docs/benchmarks.png"
DOCUMENT_RESULT: Final = RESULTS / "published.json"
"""The figures that the documentation shows; the only ones that are kept in the repository."""
BEGIN_TABLES: Final = "<!-- tables: written by python -m benchmarks --publish -->"
END_TABLES: Final = "<!-- end of tables -->"
SIZES_RESULT: Final = RESULTS / "published-sizes.json"
BEGIN_SIZES: Final = "<!-- sizes: written by python -m benchmarks --sizes --publish -->"
END_SIZES: Final = "<!-- end of sizes -->"

QUICK: Final = Options(
    rounds=1,
    seconds=1.0,
    wallets=500,
    backlog=5_000,
    shop_seconds=2.0,
    users=500,
    smoke=True,
)

MIN_WALLETS: Final = 2
MIN_BACKLOG_EVENTS: Final = 1000
"""Two batches: from the first record to the last one must be some time."""
MAX_BACKLOG_EVENTS: Final = 1_000_000

SIZES_ROUNDS: Final = 3
BYTES_PER_GB: Final = 1e9

INTERRUPTED_EXIT_CODE: Final = 130
"""128 and the number of SIGINT, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep. Returns the exit code: 0 also when targets are missed."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.quick and parsed.publish:
        parser.error("--quick is a smoke test; its figures are not published")
    if parsed.sizes and (parsed.only or parsed.profile or parsed.backlog):
        parser.error("--sizes goes with --quick, --rounds, --seconds, --wallets, --server alone")
    options = _options(parsed)
    try:
        with terminate_as_interrupt():
            if parsed.profile:
                print(profile(options, _say))
                return 0
            run = measure_sizes(options, _say) if parsed.sizes else measure(options, _say)
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing is kept.", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
    keep = _keep_sizes if parsed.sizes else _keep
    keep(run, publish=parsed.publish)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the service against a bare Flask route on the same server and against "
        "pgbench on the same PostgreSQL, and the way of its events through RabbitMQ to their "
        "notifications. Starts what it needs by itself and removes it again.",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke test; nothing is judged")
    parser.add_argument("--rounds", type=_positive_int, help="how often to measure everything")
    parser.add_argument("--seconds", type=_positive, help="how long each measurement takes")
    parser.add_argument("--wallets", type=_wallets, help="how many wallets to spread over")
    parser.add_argument("--backlog", type=_backlog, help="how many events wait to be recorded")
    parser.add_argument(
        "--shop-seconds", type=_positive, help="how long each measurement of the shop takes"
    )
    parser.add_argument("--users", type=_wallets, help="how many users the shop has")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        type=_beginning,
        help=f"measure only what begins so (may be repeated): {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--server", action="append", choices=WEB_SERVERS, help="measure only this server"
    )
    parser.add_argument(
        "--publish", action="store_true", help="put the tables and the plot into docs/benchmarks.md"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help=f"instead, show where a server's time goes ({PROFILED}), by py-spy",
    )
    parser.add_argument(
        "--sizes",
        action="store_true",
        help="instead, measure deposits and reads with many entries in place and, beside it, "
        f"without; on gunicorn, {SIZES_ROUNDS} rounds, unless told otherwise. "
        f"{', '.join(f'{size:,}' for size in SIZES)} entries take "
        f"{sum(SIZES) * BYTES_PER_ENTRY / BYTES_PER_GB:.0f} GB under /var/tmp and 5 minutes or "
        "more to be made (500,000 took 14 s), and 12 minutes to be measured; with --quick there "
        "are 1,000 and 10,000, and it is a smoke test of 80 s",
    )
    return parser


def _options(parsed: argparse.Namespace) -> Options:
    given: dict[str, Any] = {
        "rounds": parsed.rounds,
        "seconds": parsed.seconds,
        "wallets": parsed.wallets,
        "backlog": parsed.backlog,
        "shop_seconds": parsed.shop_seconds,
        "users": parsed.users,
        "servers": tuple(parsed.server) if parsed.server else None,
        "only": tuple(parsed.only) if parsed.only else None,
    }
    usual = Options(rounds=SIZES_ROUNDS) if parsed.sizes else Options()
    base = QUICK if parsed.quick else usual
    return dataclasses.replace(base, **{k: v for k, v in given.items() if v is not None})


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _wallets(text: str) -> int:
    value = int(text)
    if value < MIN_WALLETS:
        raise argparse.ArgumentTypeError(f"must be at least {MIN_WALLETS}: transfers need two")
    return value


def _backlog(text: str) -> int:
    value = int(text)
    if not MIN_BACKLOG_EVENTS <= value <= MAX_BACKLOG_EVENTS:
        raise argparse.ArgumentTypeError(
            f"must be {MIN_BACKLOG_EVENTS} to {MAX_BACKLOG_EVENTS} events"
        )
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError("must be 1 to 600 seconds")
    return value


def _beginning(text: str) -> str:
    if not any(name.startswith(text) for name in NAMES):
        raise argparse.ArgumentTypeError(f"must begin one of {', '.join(NAMES)}")
    return text


def _keep(run: Run, *, publish: bool) -> None:
    """Print the run, and write it to RESULTS as JSON and as a plot."""
    results = judge(run.measurements, smoke=run.options["smoke"])
    text = whole(run.machine, run.options, run.measurements, results, run.notes)
    now = datetime.now(UTC)
    stored = _store(run, results, f"{now:%Y%m%dT%H%M%SZ}", now)
    plot = stored.with_suffix(".png")
    draw(run.measurements, PACED_RATE, run.options["backlog"], plot)
    print(f"\n{text}\n\nKept in {stored.relative_to(ROOT)} and {plot.relative_to(ROOT)}")
    if publish:
        _publish(f"Measured on {now:%Y-%m-%d}. {text}", BEGIN_TABLES, END_TABLES)
        shutil.copy(stored, DOCUMENT_RESULT)
        shutil.copy(plot, DOCUMENT_PLOT)


def _keep_sizes(run: Run, *, publish: bool) -> None:
    """The same for ``--sizes``, which has no plot."""
    server, sizes = run.options["servers"][0], run.options["sizes"]
    results = judge_sizes(run.measurements, server, sizes, smoke=run.options["smoke"])
    text = whole_of_sizes(run.machine, run.options, run.measurements, results)
    now = datetime.now(UTC)
    stored = _store(run, results, f"sizes-{now:%Y%m%dT%H%M%SZ}", now)
    print(f"\n{text}\n\nKept in {stored.relative_to(ROOT)}")
    if publish:
        _publish(f"Measured on {now:%Y-%m-%d}. {text}", BEGIN_SIZES, END_SIZES)
        shutil.copy(stored, SIZES_RESULT)


def _store(run: Run, results: Sequence[Result], name: str, now: datetime) -> Path:
    """Write the run to RESULTS as JSON."""
    document = {
        "measured_at": now.isoformat(timespec="seconds"),
        "machine": run.machine,
        "options": run.options,
        "notes": run.notes,
        "targets": [result.document() for result in results],
        "measurements": [measurement.document() for measurement in run.measurements],
    }
    RESULTS.mkdir(exist_ok=True)
    stored = RESULTS / f"{name}.json"
    stored.write_text(json.dumps(document, indent=1) + "\n")
    return stored


def _publish(text: str, begin: str, end: str) -> None:
    """Put ``text`` between two marks of the document."""
    before, _, rest = DOCUMENT.read_text().partition(begin)
    after = rest.partition(end)[2]
    DOCUMENT.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
