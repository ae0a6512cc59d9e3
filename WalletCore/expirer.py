"""Lets holds expire by themselves: a thread beside every store that changes the ledger.

Any number of processes may do it at once; the rule decides under the wallet's lock, so that each
hold expires once. What came due while nobody was there expires when somebody is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import orjson

from WalletCore.domain.commands import ExpireHold
from WalletCore.domain.errors import CofferError, WalletBusy
from WalletCore.domain.model import HoldStatus
from WalletCore.store import Outcome
from WalletCore.telemetry import HOLDS_EXPIRED, get_logger

POLL_SECONDS: Final = 0.4
"""Between two looks; a hold expires within a second of its time."""

MAX_DUE_HOLDS: Final = 500
"""Of one look; with so many the next one follows at once."""

EXPIRING_THREADS: Final = 16
"""Those that wait together share a transaction."""

BUSY_PAUSE_SECONDS: Final = 1.0
"""How long a wallet that somebody else keeps locked is left alone; it doubles up to the next one.
Each try makes the whole committer wait for the lock."""
MAX_BUSY_PAUSE_SECONDS: Final = 60.0

CLOSE_WAIT_SECONDS: Final = 5.0

Due: TypeAlias = Callable[[int, Collection[UUID]], list[tuple[UUID, UUID]]]
"""Gives up to so many holds whose time is over, as (wallet id, hold id), but none of these wallets.
May raise CofferError."""


@dataclass(slots=True)
class _Busy:
    """A wallet that was locked: how long it is left alone, and until when."""

    pause: float
    until: float


class HoldExpirer:
    """``execute``: does a command."""

    def __init__(self, due: Due, execute: Callable[[ExpireHold], Outcome]) -> None:
        self._due = due
        self._execute = execute
        self._stop = threading.Event()
        self._busy: dict[UUID, _Busy] = {}
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
                    holds = self._due(MAX_DUE_HOLDS, self._left_alone())
                    expired = sum(pool.map(self._expire, holds))
                except CofferError:
                    continue  # the database is away; whoever asks for anything is told so
                except Exception:  # noqa: BLE001 - whatever it is, the others must still expire
                    with suppress(Exception):
                        get_logger().exception("holds_not_expired")
                    continue
                if expired:
                    HOLDS_EXPIRED.inc(expired)
                # What could not be done would come again at once.
                if expired == len(holds) == MAX_DUE_HOLDS:
                    pause = 0.0

    def _left_alone(self) -> list[UUID]:
        """The wallets that were locked a moment ago."""
        now = time.monotonic()
        return [wallet_id for wallet_id, busy in self._busy.items() if busy.until > now]

    def _expire(self, hold: tuple[UUID, UUID]) -> bool:
        """Whether it has expired now."""
        wallet_id, hold_id = hold
        busy = self._busy.get(wallet_id)
        if self._stop.is_set() or (busy is not None and busy.until > time.monotonic()):
            return False
        try:
            outcome = self._execute(ExpireHold(wallet_id, hold_id))
        except WalletBusy:
            pause = BUSY_PAUSE_SECONDS if busy is None else busy.pause * 2
            pause = min(pause, MAX_BUSY_PAUSE_SECONDS)
            self._busy[wallet_id] = _Busy(pause, time.monotonic() + pause)
            return False
        except CofferError:
            return False
        self._busy.pop(wallet_id, None)
        # By this process's clock it may not be due yet.
        return bool(orjson.loads(outcome.body)["status"] == HoldStatus.EXPIRED)
