"""What the metrics of all processes of this server add up to, as numbers that only grow."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from RestAPI.edge import QUIET_RULES
from WalletCore.domain.model import Document
from WalletCore.telemetry import collect_metrics

STREAM_RULE: Final = "/api/v1/notifications/stream"
"""Takes as long as somebody listens, which says nothing about the service."""

_SERVER_ERROR: Final = "5"
"""The first digit of such a status."""
_INFINITE: Final = "+Inf"


def read_figures() -> Document:
    """``{requests, operations, queue, batches}`` as in the schema Status, since the start."""
    totals: dict[str, float] = defaultdict(float)
    buckets: dict[str, float] = defaultdict(float)
    for metric in collect_metrics():
        for sample in metric.samples:
            name, labels, value = sample.name, sample.labels, sample.value
            if labels.get("rule") in QUIET_RULES:
                continue
            if name == "coffer_http_requests_total":
                totals["requests"] += value
                if labels["status"].startswith(_SERVER_ERROR):
                    totals["failed"] += value
            elif name.startswith("coffer_http_request_seconds_"):
                if labels["rule"] == STREAM_RULE:
                    continue
                if "le" in labels:
                    buckets[_bound(labels["le"])] += value
                else:
                    totals[name] += value
            elif name.startswith("coffer_"):
                totals[name] += value
    return {
        "requests": {
            "count": int(totals["requests"]),
            "failed": int(totals["failed"]),
            "seconds": {
                "count": int(totals["coffer_http_request_seconds_count"]),
                "sum": round(totals["coffer_http_request_seconds_sum"], 6),
                "buckets": [
                    {"le": bound, "count": int(buckets[bound])}
                    for bound in sorted(buckets, key=float)
                ],
            },
        },
        "operations": {"entries": int(totals["coffer_operations_total"])},
        "queue": max(0, int(totals["coffer_queue_commands"])),
        "batches": {
            "count": int(totals["coffer_batch_commands_count"]),
            "commands": int(totals["coffer_batch_commands_sum"]),
        },
    }


def _bound(given: str) -> str:
    """A bucket's bound, written the shortest way."""
    return given if given == _INFINITE else f"{float(given):g}"
