"""What has to stay as it is when there are many entries, and the table of it. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.machine import in_words
from benchmarks.measurements import Figure, Measurement, summary_of
from benchmarks.report import MISSING, SMOKE, remarks, table
from benchmarks.targets import Result, Target, result_of

SIZE_RATIO_LIMIT: Final = 1.5
"""How many times slower than on an empty ledger anything may be."""

EMPTY: Final = "empty"
DEPOSITS: Final = "deposits_spread"
KINDS: Final = {
    DEPOSITS: "deposits over all wallets, operations a second",
    "history": "a page of history, ms",
    "balance_at": "a balance at a moment, ms",
    "statement": "a statement, ms",
    "search": "a search by reference, ms",
}
"""What is measured on each size, in words."""


def size_name(kind: str, entries: int, empty: bool = False) -> str:
    """The name of a figure: on so many entries, or on the empty ledger beside them."""
    return f"{kind}_{entries}_{EMPTY}" if empty else f"{kind}_{entries}"


def size_targets(server: str, entries: int) -> list[Target]:
    """Of one size, in the order of KINDS: each against the empty ledger beside it."""
    targets = []
    for kind in KINDS:
        below = kind != DEPOSITS
        bound = SIZE_RATIO_LIMIT if below else 1 / SIZE_RATIO_LIMIT
        figure = Figure(server, size_name(kind, entries))
        reference = Figure(server, size_name(kind, entries, empty=True))
        targets.append(Target(figure, bound, reference, below=below))
    return targets


def judge_sizes(
    measurements: Sequence[Measurement], server: str, sizes: Sequence[int], *, smoke: bool = False
) -> list[Result]:
    """Every target of every size, judged, unless this was a ``smoke`` test."""
    return [
        result_of(measurements, target, smoke=smoke)
        for entries in sizes
        for target in size_targets(server, entries)
    ]


def sizes_table(measurements: Sequence[Measurement], results: Sequence[Result]) -> str:
    """By size: the empty ledger, the grown one, and how they compare."""
    rows = []
    for number, result in enumerate(results):
        kind = list(KINDS)[number % len(KINDS)]
        figure, empty = result.target.figure, result.target.reference
        entries = int(figure.name.removeprefix(f"{kind}_"))
        cells = [_median(measurements, each, kind) for each in (empty, figure) if each]
        wanted = result.target.wanted
        rows.append([f"{entries:,}", KINDS[kind], *cells, wanted, result.reached, result.verdict])
    head = ["entries", "medians", "empty", "with them", "ratio wanted", "reached"]
    return table([*head, f"within {SIZE_RATIO_LIMIT:g} times"], rows)


def whole_of_sizes(
    machine: dict[str, Any],
    options: dict[str, Any],
    measurements: Sequence[Measurement],
    results: Sequence[Result],
) -> str:
    """Everything, as Markdown that is as well read on a terminal."""
    about = (
        f"{in_words(machine)}. {options['servers'][0]}, {options['rounds']} rounds of "
        f"{options['seconds']:g} s of deposits each, {options['connections']} connections, "
        f"{options['wallets']} wallets; reads one after the other. Medians of the rounds; ratios "
        "are taken within each round, lowest and highest in parentheses."
    )
    smoke = [SMOKE] if options.get("smoke") else []
    return "\n\n".join(
        [*smoke, about, sizes_table(measurements, results), *smoke, *remarks(measurements)]
    )


def _median(measurements: Sequence[Measurement], figure: Figure, kind: str) -> str:
    found = summary_of(measurements, figure)
    if found is None:
        return MISSING
    return f"{found.median:,.0f}" if kind == DEPOSITS else f"{found.median:.2f}"
