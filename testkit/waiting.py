"""Waiting for something to come true, with a limit: the only kind of waiting in these tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

DEFAULT_LIMIT_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.005

Value = TypeVar("Value")


def eventually(
    ask: Callable[[], Value], what: str, limit_seconds: float = DEFAULT_LIMIT_SECONDS
) -> Value:
    """The first answer of ``ask`` that counts as true.

    Raises TimeoutError, which says ``what`` did not come, after ``limit_seconds``.
    """
    deadline = time.monotonic() + limit_seconds
    while not (value := ask()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit_seconds} s")
        time.sleep(POLL_SECONDS)
    return value
