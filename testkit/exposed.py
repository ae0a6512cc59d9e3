"""What the three programs expose at /metrics, out of their registries."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

import orjson

from testkit.running import ROOT

PROGRAMS: Final = {
    "web": ("RestAPI.app", "WalletCore.postgres.store"),
    "relay": ("RestAPI.relay",),
    "worker": ("NotificationWorker.worker",),
}
"""The modules of each that import all that it is made of."""

OURS: Final = "coffer_"
STANDARD: Final = frozenset({"up", "process_resident_memory_bytes", "process_cpu_seconds_total"})
"""What Prometheus and its library add: the first one to every program, the others to those of one
process."""

_SUFFIXES: Final = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}

_ASK: Final = """
import importlib, sys
import orjson
from prometheus_client import REGISTRY
for module in sys.argv[1:]:
    importlib.import_module(module)
found = [
    (collector._name, collector._type, list(collector._labelnames), collector._documentation)
    for collector in list(REGISTRY._collector_to_names)
    if getattr(collector, "_name", "").startswith("coffer_")
]
sys.stdout.buffer.write(orjson.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by the name that is documented: that of a counter ends with ``_total``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> frozenset[str]:
        """The names of its time series."""
        base = self.name.removesuffix("_total") if self.kind == "counter" else self.name
        return frozenset(base + suffix for suffix in _SUFFIXES[self.kind])


@functools.cache
def metrics_of(program: str) -> dict[str, Metric]:
    """The metrics of a program, one of PROGRAMS, by their names."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COFFER_")
    }
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", _ASK, *PROGRAMS[program]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
    )
    found: list[tuple[str, str, list[str], str]] = orjson.loads(done.stdout)
    metrics = [_metric(*one) for one in found]
    return {metric.name: metric for metric in metrics}


def all_metrics() -> dict[str, Metric]:
    """Those of all programs."""
    return {name: one for program in PROGRAMS for name, one in metrics_of(program).items()}


def _metric(name: str, kind: str, labels: list[Any], meaning: str) -> Metric:
    full = f"{name}_total" if kind == "counter" else name
    return Metric(full, kind, tuple(labels), meaning)
