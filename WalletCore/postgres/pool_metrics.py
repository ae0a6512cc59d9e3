"""How many connections to PostgreSQL this process holds, for the metrics.

Looked at now and then by a thread, because the process that is asked for the metrics is only one of
several, and because counting each use would cost every read a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import Counter, Gauge
from sqlalchemy import Engine
from sqlalchemy.pool import QueuePool

SAMPLE_SECONDS: Final = 2.0
CLOSE_WAIT_SECONDS: Final = 1.0

WAIT_NOTED_SECONDS: Final = 0.005
"""A read that had its connection sooner has not waited: it takes microseconds to get a free one."""

POOL_IN_USE = Gauge(
    "coffer_pool_in_use", "Connections of the read pools in use.", multiprocess_mode="livesum"
)
POOL_OPEN = Gauge(
    "coffer_pool_open", "Connections of the read pools, in use or not.", multiprocess_mode="livesum"
)
POOL_SIZE = Gauge(
    "coffer_pool_size", "The most connections of the read pools.", multiprocess_mode="livesum"
)
POOL_WAITS = Counter(
    "coffer_pool_waits", "Reads that waited for a free connection, or for a new one to be made."
)
COMMITTER_CONNECTIONS = Gauge(
    "coffer_committer_connections",
    "Connections on which the ledger is written.",
    multiprocess_mode="livesum",
)

HasConnection = Callable[[], bool]


class PoolSampler:
    """A thread that looks at the pool of ``engine`` and at ``committers``, each of which says
    whether it has a connection. Make it after fork.
    """

    def __init__(self, engine: Engine, committers: Sequence[HasConnection]) -> None:
        self._engine = engine
        self._committers = committers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pool-sampler", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(CLOSE_WAIT_SECONDS)

    def sample(self) -> None:
        """Look once."""
        pool = self._engine.pool
        if isinstance(pool, QueuePool):
            POOL_IN_USE.set(pool.checkedout())
            POOL_OPEN.set(pool.checkedout() + pool.checkedin())
            POOL_SIZE.set(pool.size())
        COMMITTER_CONNECTIONS.set(sum(has() for has in self._committers))

    def _run(self) -> None:
        self.sample()
        while not self._stop.wait(SAMPLE_SECONDS):
            self.sample()
