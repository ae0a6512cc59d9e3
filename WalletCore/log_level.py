"""How much the log tells, and how that is changed while the process runs.

SIGUSR1 tells one level more, SIGUSR2 one level less, between ERROR and DEBUG; at either end it
stays there. Send it to the main process, which passes it on to its workers.

Both signals are blocked in every thread and taken by one thread that waits for nothing else. So
they interrupt no system call, and they end nothing: not a worker that has only just been started,
and not one that leaves the main thread to a server written in another language. Processes that are
started later inherit the mask, and the level by the environment.
https://man7.org/linux/man-pages/man7/signal.7.html
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import structlog

LEVELS: Final = ("ERROR", "WARNING", "INFO", "DEBUG")
"""From the least that is told to the most."""

LEVEL_VARIABLE: Final = "COFFER_LOG_LEVEL"
"""The setting, which processes that are started later read."""

MORE: Final = signal.SIGUSR1
LESS: Final = signal.SIGUSR2

LIBRARY_LEVEL: Final = logging.WARNING
"""The most that other libraries tell: only what is wrong matters."""

SERVER_LOGGERS: Final = ("gunicorn.error", "_granian")
"""Those of the web servers have levels of their own; they follow ours."""

Children = Callable[[], Iterable[int]]
"""The process ids of the workers that there are now."""


class _Lines(structlog.make_filtering_bound_logger("notset")):  # type: ignore[misc]
    """A logger whose filter can change: the methods of the class are exchanged, so that those of
    levels that are off do nothing at all, in loggers that were made before as well.
    """


class _Known:
    level: str = "INFO"
    changing = threading.Lock()


def logger_class(level: str) -> type[Any]:
    """The class for structlog's ``wrapper_class``, at ``level``, one of LEVELS."""
    set_level(level)
    return _Lines


def level() -> str:
    """The level that is in effect in this process."""
    return _Known.level


def set_level(level: str) -> None:
    """Tell what is at ``level``, one of LEVELS, and above it, and nothing below it."""
    number = logging.getLevelNamesMapping()[level]
    for name, method in vars(structlog.make_filtering_bound_logger(number)).items():
        if not name.startswith("__"):
            setattr(_Lines, name, method)
    _Known.level = level
    logging.getLogger().setLevel(max(number, LIBRARY_LEVEL))
    for server in SERVER_LOGGERS:
        logging.getLogger(server).setLevel(number)


def step(*, more: bool) -> str:
    """One level more or less, if there is one; gives the level that is in effect then."""
    with _Known.changing:
        before = LEVELS.index(_Known.level)
        after = min(before + 1, len(LEVELS) - 1) if more else max(before - 1, 0)
        old, new = LEVELS[before], LEVELS[after]
        # Told while the more talkative of the two is in effect; no other would show it.
        if more:
            set_level(new)
        with suppress(Exception):
            structlog.get_logger().warning(
                "log_level", level_now=new, level_before=old, pid=os.getpid()
            )
        if not more:
            set_level(new)
        os.environ[LEVEL_VARIABLE] = new
        return new


def block_signals() -> None:
    """Let neither signal end this process. For the main thread, before there are others."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (MORE, LESS))


def watch_signals(children: Children = tuple) -> None:
    """Follow the signals from now on, and pass them on to ``children``.

    For the main thread, before others are started; once per process, after a fork anew.
    """
    block_signals()
    threading.Thread(target=_watch, args=(children,), name="log-level", daemon=True).start()


def _watch(children: Children) -> None:
    while True:
        number = signal.sigwait((MORE, LESS))
        step(more=number == MORE)
        for pid in list(children()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
