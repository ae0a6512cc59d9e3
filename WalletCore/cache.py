"""The balance cache on Redis, with leases: it never answers behind an acknowledged write.

A reader that misses takes a lease, reads PostgreSQL, and fills the value only if the lease is still
its own. The writer deletes value and lease after COMMIT and before it answers; so whatever a reader
read before that COMMIT cannot be filled any more. Every interleaving of writers, readers, flushes
and expiries was checked by an exhaustive model; tombstones and set-if-newer fail it.

If the delete fails, the answer waits until lease and value must have expired. Keys carry the run id
of the Redis process, so that one that comes back from a file on disk serves nothing of before.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import RedisError
from redis.retry import Retry

from WalletCore.domain.model import Document
from WalletCore.telemetry import CACHE_READS, get_logger

VALUE_TTL_MILLISECONDS: Final = 2000
LEASE_TTL_MILLISECONDS: Final = 500
EXPIRY_MARGIN_MILLISECONDS: Final = 100

UNDELETED_WAIT_SECONDS: Final = (
    VALUE_TTL_MILLISECONDS + LEASE_TTL_MILLISECONDS + EXPIRY_MARGIN_MILLISECONDS
) / 1000
"""A lease taken just before COMMIT may fill until it expires, and that value lives its own time."""

SOCKET_TIMEOUT_SECONDS: Final = 0.1
"""A balance comes from PostgreSQL in 0.1 ms; waiting longer for a cache makes no sense."""

PAUSE_SECONDS: Final = 1.0
"""After a time-out Redis is left alone for this long: reads go to PostgreSQL, writes wait."""

MAX_POOL_CONNECTIONS: Final = 128
TRIES: Final = 3

READ_OR_LEASE: Final = """
local value = redis.call('GET', KEYS[1])
if value then return value end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
FILL: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    redis.call('DEL', KEYS[2])
    return 1
end
return 0
"""

Answer = TypeVar("Answer")


class NullCache:
    """No cache: every read goes to the store, and nothing is ever to be forgotten."""

    def read(self, wallet_id: UUID, load: Callable[[], Document]) -> Document:  # noqa: ARG002
        """What ``load`` gives."""
        return load()

    def forget(self, wallet_ids: set[UUID]) -> float:  # noqa: ARG002
        """No answer has to wait."""
        return 0.0

    def close(self) -> None:
        """Nothing to let go of."""


class BalanceCache:
    """The cache at ``url``. Shared by the threads of one process; made after fork."""

    def __init__(self, url: str) -> None:
        self._run_id = ""
        self._run_id_moment = 0
        self._paused_until = 0.0
        self._log = get_logger()
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=SOCKET_TIMEOUT_SECONDS,
            socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
            max_connections=MAX_POOL_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._connected,
        )
        self._read_or_lease = self._redis.register_script(READ_OR_LEASE)
        self._fill = self._redis.register_script(FILL)
        self._changing = threading.Lock()

    def read(self, wallet_id: UUID, load: Callable[[], Document]) -> Document:
        """The balance of a wallet: cached, or loaded and then cached if nothing came since.

        Never fails for Redis' sake; raises what ``load`` raises.
        """
        if time.monotonic() < self._paused_until:
            CACHE_READS.labels("bypass").inc()
            return load()
        token = secrets.token_bytes(8)
        try:
            found = self._stable(
                lambda run_id: self._read_or_lease(
                    keys=_keys(run_id, wallet_id), args=[token, LEASE_TTL_MILLISECONDS]
                )
            )
        except Exception as error:  # noqa: BLE001 - no fault of the cache is worth a read
            self._failed(error)
            CACHE_READS.labels("error").inc()
            return load()
        if isinstance(found, bytes):
            CACHE_READS.labels("hit").inc()
            document: Document = orjson.loads(found)
            return document
        CACHE_READS.labels("miss").inc()
        document = load()
        if found == 1:
            try:
                self._fill(
                    keys=_keys(self._run_id, wallet_id),
                    args=[token, orjson.dumps(document), VALUE_TTL_MILLISECONDS],
                )
            except Exception as error:  # noqa: BLE001 - the answer is there already
                self._failed(error)
        return document

    def forget(self, wallet_ids: set[UUID]) -> float:
        """Delete what is cached of these wallets, in one round trip, after COMMIT.

        Gives the seconds that the answers must wait before they go out: 0 if it is deleted, or if
        nothing listens at Redis' address any more (a dead Redis serves nobody, its successor has
        another run id); otherwise the time in which everything cached expires by itself.
        """
        if time.monotonic() < self._paused_until:
            return UNDELETED_WAIT_SECONDS
        for last in (False, True):
            try:
                self._stable(
                    lambda run_id: self._redis.delete(
                        *(key for wallet_id in wallet_ids for key in _keys(run_id, wallet_id))
                    )
                )
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing was deleted
                if _nobody_listens(error):
                    return 0.0
                if not last and not _timed_out(error):
                    # The connection may have died long ago in the pool; a new one tells.
                    self._redis.connection_pool.disconnect(inuse_connections=False)
                    continue
                self._failed(error)
                return UNDELETED_WAIT_SECONDS
            else:
                return 0.0
        raise AssertionError("the last try returns")

    def close(self) -> None:
        """Close every connection."""
        self._redis.close()

    def _stable(self, ask: Callable[[str], Answer]) -> Answer:
        """Ask under the run id of the Redis that answers: if it restarted meanwhile, ask again."""
        for _ in range(TRIES):
            if not self._run_id:
                self._redis.ping()
            run_id = self._run_id
            answer = ask(run_id)
            if run_id == self._run_id:
                return answer
        raise RedisError("Redis restarts again and again")

    def _connected(self, connection: AbstractConnection) -> None:
        """Ask, on each new connection, which Redis process it reached."""
        connection.on_connect()  # type: ignore[no-untyped-call]
        connection.send_command("INFO", "server")  # type: ignore[no-untyped-call]
        run_id, moment = _identity(connection.read_response())
        with self._changing:
            # A thread that was held up may bring the id of a process that is dead by now.
            if moment >= self._run_id_moment:
                self._run_id, self._run_id_moment = run_id, moment

    def _failed(self, error: Exception) -> None:
        if _nobody_listens(error):
            return
        with self._changing:
            if time.monotonic() >= self._paused_until:
                self._log.warning("cache_away", error=type(error).__name__)
            self._paused_until = time.monotonic() + PAUSE_SECONDS


def _keys(run_id: str, wallet_id: UUID) -> list[str]:
    """The keys of a wallet's value and lease; the braces keep both on one node of a cluster."""
    return [f"coffer:{run_id}:{{{wallet_id}}}:value", f"coffer:{run_id}:{{{wallet_id}}}:lease"]


def _identity(info: Any) -> tuple[str, int]:
    """The run id and the server's clock in microseconds, from the answer to INFO."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        return fields["run_id"].strip(), int(fields["server_time_usec"])
    except (KeyError, ValueError):
        raise RedisError("INFO names no run_id and server_time_usec") from None


def _nobody_listens(error: BaseException) -> bool:
    """Whether the connect was refused: behind this address (and no proxy) there is no process."""
    cause = error.__cause__ or error.__context__
    return isinstance(cause, ConnectionRefusedError | FileNotFoundError)


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
