"""Lets holds expire by themselves: a thread beside every store that changes the ledger.

Any number of processes may do it at once; the rule decides under the wallet's lock, so that each
hold expires once. What came due while nobody was there expires when somebody is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final
from uuid import UUID

from WalletCore.domain.commands import ExpireHold
from WalletCore.domain.errors import CofferError
from WalletCore.store import Outcome
from WalletCore.telemetry import get_logger

POLL_SECONDS: Final = 0.4
"""Between two looks; a hold expires within a second of its time."""

MAX_DUE_HOLDS: Final = 500
"""Of one look; with so many the next one follows at once."""

EXPIRING_THREADS: Final = 16
"""Those that wait together share a transaction."""

CLOSE_WAIT_SECONDS: Final = 5.0


class HoldExpirer:
    """``due``: gives up to so many holds whose time is over, as (wallet id, hold id), and may raise
    CofferError; ``execute``: does a command.
    """

    def __init__(
        self,
        due: Callable[[int], list[tuple[UUID, UUID]]],
        execute: Callable[[ExpireHold], Outcome],
    ) -> None:
        self._due = due
        self._execute = execute
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hold-expirer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; what it has begun is finished."""
        self._stop.set()
        self._thread.join(CLOSE_WAIT_SECONDS)

    def _run(self) -> None:
        with ThreadPoolExecutor(EXPIRING_THREADS, thread_name_prefix="expiring") as pool:
            pause = POLL_SECONDS
            while not self._stop.wait(pause):
                pause = POLL_SECONDS
                try:
                    holds = self._due(MAX_DUE_HOLDS)
                    expired = sum(pool.map(self._expire, holds))
                except CofferError:
                    continue  # the database is away; whoever asks for anything is told so
                except Exception:  # noqa: BLE001 - whatever it is, the others must still expire
                    with suppress(Exception):
                        get_logger().exception("holds_not_expired")
                    continue
                # What could not be done (a locked wallet) would come again at once.
                if expired == len(holds) == MAX_DUE_HOLDS:
                    pause = 0.0

    def _expire(self, hold: tuple[UUID, UUID]) -> bool:
        """Whether it was done."""
        wallet_id, hold_id = hold
        with suppress(CofferError):
            self._execute(ExpireHold(wallet_id, hold_id))
            return True
        return False
