"""Stopping a program that is no HTTP server: SIGTERM and Ctrl-C call a function."""

from __future__ import annotations

import signal
from collections.abc import Callable


def on_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT. For the main thread; ``stop`` must not wait."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
