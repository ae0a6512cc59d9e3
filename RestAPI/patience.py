"""How long a request may take to arrive, for those that arrive bit by bit.

A server that watches it (RestAPI.gunicorn_parts) puts here, for each of its threads, how the time
begins anew; under another server nothing needs to be said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_of_thread = threading.local()


def renewed_by(begin: Callable[[], None]) -> None:
    """``begin`` starts the time of this thread's request anew."""
    _of_thread.begin = begin


def renew() -> None:
    """Start the time anew: a good part of the request has come."""
    begin: Callable[[], None] | None = getattr(_of_thread, "begin", None)
    if begin is not None:
        begin()
