"""Rates and latencies out of two answers of ``GET /api/v1/status``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

HALF: Final = 0.5
MOST: Final = 0.99


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second but for ``commands_per_batch``; ``p50``, ``p99``: seconds, the upper bound of the
    bucket in which they are, or None where nothing was asked or all took longer than any bound.
    """

    requests: float
    failed: float
    entries: float
    commands_per_batch: float | None
    p50: float | None
    p99: float | None


def rates_of(before: Mapping[str, Any], now: Mapping[str, Any]) -> Rates | None:
    """What happened between the two; None if the service was started anew, or no time passed."""
    seconds = (
        datetime.fromisoformat(now["at"]) - datetime.fromisoformat(before["at"])
    ).total_seconds()
    requests = now["requests"]["count"] - before["requests"]["count"]
    failed = now["requests"]["failed"] - before["requests"]["failed"]
    entries = now["operations"]["entries"] - before["operations"]["entries"]
    batches = now["batches"]["count"] - before["batches"]["count"]
    commands = now["batches"]["commands"] - before["batches"]["commands"]
    if seconds <= 0 or min(requests, failed, entries, batches, commands) < 0:
        return None
    earlier = {one["le"]: one["count"] for one in before["requests"]["seconds"]["buckets"]}
    counts = [
        (float(one["le"]), one["count"] - earlier.get(one["le"], 0))
        for one in now["requests"]["seconds"]["buckets"]
    ]
    return Rates(
        requests / seconds,
        failed / seconds,
        entries / seconds,
        commands / batches if batches else None,
        quantile(counts, HALF),
        quantile(counts, MOST),
    )


def quantile(counts: Sequence[tuple[float, int]], part: float) -> float | None:
    """The bound below which ``part`` of all lies. ``counts``: cumulative, by rising bound, the last
    one infinite.

    >>> quantile([(0.1, 98), (0.5, 100), (float("inf"), 100)], 0.99)
    0.5
    """
    total = counts[-1][1] if counts else 0
    if total <= 0:
        return None
    bound = next(bound for bound, count in counts if count >= part * total)
    return None if bound == float("inf") else bound
