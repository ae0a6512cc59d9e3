"""Where the time of a server process goes: py-spy (https://github.com/benfred/py-spy) under load.

Only samples of threads that hold the GIL count: it is the GIL that a server process runs out of. A
sample belongs to the package whose code runs at its top, and to the thread that it was taken in.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks.measurements import PERCENT
from benchmarks.options import Options
from benchmarks.programs import CannotMeasure, processes_of
from benchmarks.report import table
from benchmarks.saturation import WARM_UP_LOAD_SECONDS, Saturation
from benchmarks.stand import Server, Stand, make_wallets
from benchmarks.tools import only_path

PROFILED: Final = "deposits_spread"
SAMPLES_PER_SECOND: Final = 250
LEAD_SECONDS: Final = 2.0
"""The load goes on for so much longer than the profile."""
TIMEOUT_SECONDS: Final = 60.0
SHOWN_FUNCTIONS: Final = 25


def profile(options: Options, say: Callable[[str], None]) -> str:
    """Profile one process of each server for ``options.seconds``. Raises CannotMeasure."""
    parts = []
    with Stand() as stand:
        for web_server in options.servers:
            with stand.service(web_server) as server:
                say(f"Creating {options.wallets} wallets ...")
                ids = stand.folder / "spread.ids"
                ids.write_text("\n".join(make_wallets(server, options.wallets)))
                saturation = Saturation(stand.folder)
                saturation.run(server, ids, WARM_UP_LOAD_SECONDS)
                say(f"Profiling {web_server} for {options.seconds:g} s ...")
                stacks = _record(server, saturation, ids, options.seconds, stand.folder)
            parts.append(f"## {web_server}\n\n{summarize_stacks(stacks)}")
    return "\n\n".join(parts)


def summarize_stacks(lines: Iterable[str]) -> str:
    """Tables out of py-spy's raw form: ``frame;frame;... count`` a line, the thread first."""
    by_package: Counter[str] = Counter()
    by_function: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        thread = "committer" if any("committer.py" in frame for frame in frames[:6]) else "requests"
        by_package[f"{thread}: {package_of(frames[-1])}"] += int(count)
        by_function[frames[-1]] += int(count)
    total = sum(by_package.values()) or 1

    def rows(counter: Counter[str], limit: int | None) -> list[list[str]]:
        return [[name, f"{n / total * PERCENT:.1f} %"] for name, n in counter.most_common(limit)]

    return "\n\n".join(
        [
            table(["package at the top of the stack", "share"], rows(by_package, None)),
            table(["function", "share"], rows(by_function, SHOWN_FUNCTIONS)),
        ]
    )


def package_of(frame: str) -> str:
    """The package that a frame such as ``load (WalletCore/postgres/transactions.py:12)`` is in."""
    path = frame.rpartition("(")[2].partition(":")[0].rstrip(")")
    if not path.endswith(".py"):
        return "native"
    parts = Path(path).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return parts[0] if len(parts) > 1 and not path.startswith("/") else "standard library"


def _record(
    server: Server, saturation: Saturation, ids: Path, seconds: float, folder: Path
) -> list[str]:
    """Sample the busiest process of ``server`` while it is loaded."""
    worker = processes_of(server.pid)[-1]
    output = folder / "stacks.txt"
    command = [
        *(str(Path(sys.executable).with_name("py-spy")), "record", "--gil", "--threads"),
        *("--format", "raw", "--rate", str(SAMPLES_PER_SECOND), "--nolineno"),
        *("--duration", str(round(seconds)), "--output", str(output), "--pid", str(worker)),
    ]
    recorder = subprocess.Popen(
        command,
        env=only_path(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        saturation.run(server, ids, seconds + LEAD_SECONDS)
        _, said = recorder.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            recorder.kill()
        recorder.wait()
    if recorder.returncode != 0 or not output.exists():
        raise CannotMeasure(f"py-spy could not look into the server: {said.strip()}")
    return output.read_text().splitlines()
