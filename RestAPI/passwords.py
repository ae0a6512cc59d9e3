"""Passwords: Argon2id, a bounded number at once, on threads that leave the machine to others.

One hashing takes some 20 ms of a core and 7 MiB. Whoever is hashed for waits on a request thread,
so the number of those who wait is bounded, too; beyond it the answer is 503.
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Final, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from WalletCore.domain.errors import Overloaded
from WalletCore.telemetry import get_logger

MEMORY_KIB: Final = 7168
PASSES: Final = 5
LANES: Final = 1
"""A row of OWASP's table, all of which are as strong: measured with 47104 KiB and one pass 68 ms,
19456 and two 28 ms, 12288 and three 24 ms, 9216 and four 20 ms, 7168 and five 18 ms."""

HASHINGS_AT_ONCE: Final = 1
"""Per process, of which there is one per core: more would only take turns."""

MAX_WAITING_HASHINGS: Final = 16
"""Those who wait for that, some 0.4 s at most, each on a request thread: a quarter of them all."""

HASHING_WAIT_SECONDS: Final = 10.0
"""How long a hashing is waited for on a machine that has no time for it."""

HASHING_NICENESS: Final = 10
"""Threads that hash get a tenth of the time of one that answers, where both want it."""

Answer = TypeVar("Answer")


class Passwords:
    """Hashes and verifies. Make it after fork: it owns threads."""

    def __init__(self, waiting_limit: int = MAX_WAITING_HASHINGS) -> None:
        self._hasher = PasswordHasher(
            time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID
        )
        self._places = threading.BoundedSemaphore(HASHINGS_AT_ONCE + waiting_limit)
        self._pool = ThreadPoolExecutor(
            HASHINGS_AT_ONCE, thread_name_prefix="hashing", initializer=_step_back
        )

    def hash(self, password: str) -> str:
        """The hash to keep of a new password. Raises Overloaded."""
        wanted = _prepared(password)
        return self._run(lambda: self._hasher.hash(wanted))

    def matches(self, password: str, password_hash: str) -> bool:
        """Whether this is the password. Costs as much as ``hash``. Raises Overloaded."""
        wanted = _prepared(password)

        def verify() -> bool:
            try:
                return self._hasher.verify(password_hash, wanted)
            except InvalidHashError:
                get_logger().error("password_hash_not_valid")
                return False
            except VerificationError:
                return False

        return self._run(verify)

    def outdated(self, password_hash: str) -> bool:
        """Whether a good hash has other parameters than new ones have."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[[], Answer]) -> Answer:
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many people log in at this moment; try again in a second.")
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._places.release()
            raise Overloaded("The service is stopping; try again.") from None
        # Given back when it is done or cancelled, and not where nobody waits for it any more.
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(HASHING_WAIT_SECONDS)
        except (FutureTimeout, CancelledError):
            future.cancel()
            raise Overloaded("Checking the password took too long; try again.") from None


def _prepared(password: str) -> bytes:
    """The same bytes for what looks the same, however it was typed (RFC 8265, section 4.2)."""
    return normalize("NFC", password).encode()


def _step_back() -> None:
    """Let this thread have what time is left. On Linux a thread has a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)
