"""Group commit: many waiting commands, one transaction.

Request threads submit a command and wait. One thread takes whatever has gathered while the last
commit was under way (no timer), locks what it names, lets the domain decide it in memory, and
writes and commits it in one go. The more wait together, the cheaper each becomes; a hot wallet is
locked once per batch instead of once per command.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias
from uuid import UUID

from WalletCore.deciding import (
    Result,
    Submission,
    all_needs,
    busy,
    count_operations,
    counted,
    database_away,
    decide_batch,
    name_of,
    outcome_unknown,
    start_counting,
    too_much,
    wake,
)
from WalletCore.domain.commands import Command
from WalletCore.domain.errors import (
    CofferError,
    NotStorable,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from WalletCore.domain.money import Currencies
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.failures import (
    CommitFailure,
    Conflict,
    DataRefused,
    Defect,
    LockNotHad,
    StoreUnavailable,
    TooSlow,
)
from WalletCore.store import IdempotencyKey, Loaded, Outcome, Transaction, TransactionSource
from WalletCore.telemetry import (
    BATCH_SIZE,
    COMMIT_RETRIES,
    COMMIT_SECONDS,
    QUEUE_DEPTH,
    get_logger,
)
from WalletCore.tracing import NO_BATCHES, BatchTraces

FIRST_ERROR_STATUS: Final = 400

MAX_BATCH_COMMANDS: Final = 500
"""The most commands in one transaction, where each leg of a transfer counts as one; it bounds how
long its locks are held. (240 transfers of 100 legs in one batch took 4 s, twice as long as others
wait for a lock.) One that is more alone, a group of many, has a transaction of its own."""

SLOT_WAIT_SECONDS: Final = 0.5
"""How long a command waits for a place in the queue before it is refused as too much."""

QUEUE_WAIT_SECONDS: Final = 5.0
"""How long a command may stay in the queue; after that it is taken out, undone."""

OUTCOME_WAIT_SECONDS: Final = 30.0
"""How long a command whose transaction has begun is waited for. Statements, locks and connections
have shorter limits of their own; this one is for a database that neither answers nor goes away."""

MAX_CONFLICT_RETRIES: Final = 5
"""How often a batch is done again after a deadlock or a serialization failure."""

CONFLICT_PAUSE_SECONDS: Final = 0.005
"""The pause before that, times the number of the try."""

CLOSE_WAIT_SECONDS: Final = 20.0
"""How long closing waits for what is still in the queue."""

AfterCommit: TypeAlias = Callable[[set[UUID]], float]
"""Told the wallets whose answers are about to go out; says how many seconds those must wait."""


class Committer:
    """The one thread of this process that changes the ledger.

    ``waiting_limit``: commands that may wait at once, below the number of request threads, so that
    reads and health checks find a thread even when the database hangs. ``after_commit``: called
    between COMMIT and the answers (the balance cache). Make it after fork: threads survive none.
    """

    def __init__(
        self,
        source: TransactionSource,
        currencies: Currencies,
        *,
        waiting_limit: int,
        after_commit: AfterCommit | None = None,
        traces: BatchTraces = NO_BATCHES,
    ) -> None:
        self._source = source
        self._currencies = currencies
        self._after_commit = after_commit
        self._traces = traces
        self._slots = threading.BoundedSemaphore(waiting_limit)
        self._queue: SimpleQueue[Submission | None] = SimpleQueue()
        self._left_over: list[Submission] = []
        self._closing = False
        self._log = get_logger()
        start_counting()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def submit(
        self,
        command: Command,
        key: IdempotencyKey | None = None,
        origin: Origin = SERVICE,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """Wait until ``command`` is decided and durable; with ``dry_run`` only decided.

        Raises Overloaded (not done), WalletBusy (not done), Unavailable (not done), OutcomeUnknown.
        """
        submission = Submission(command, key, origin, dry_run=dry_run)
        with self._slot():
            self._put(submission)
            result = _result(submission, time.monotonic() + QUEUE_WAIT_SECONDS)
        if isinstance(result, CofferError):
            raise result
        return result

    def submit_each(self, submissions: Sequence[Submission]) -> list[Result]:
        """The same for each of many on its own: one refusal, or one that was not done, stops no
        other. They are put into the queue in slices, each after the one before, so that they hold
        up others no longer than any batch does. Raises Overloaded if none was begun.
        """
        results: list[Result] = []
        with self._slot():
            for start in range(0, len(submissions), MAX_BATCH_COMMANDS):
                part = submissions[start : start + MAX_BATCH_COMMANDS]
                results += self._each_of(part)
        return results

    def _each_of(self, part: Sequence[Submission]) -> list[Result]:
        """What became of each, those that did not get into the queue any more included."""
        refused: list[Result] = []
        put: list[Submission] = []
        for submission in part:
            try:
                self._put(submission)
            except Unavailable as error:
                refused.append(error)
            else:
                put.append(submission)
        until = time.monotonic() + QUEUE_WAIT_SECONDS
        return [*(_result(submission, until) for submission in put), *refused]

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """A place among those that may wait."""
        if not self._slots.acquire(timeout=SLOT_WAIT_SECONDS):
            raise counted(Overloaded("Too many commands wait already; this one was not done."))
        QUEUE_DEPTH.inc()
        try:
            yield
        finally:
            QUEUE_DEPTH.dec()
            self._slots.release()

    def _put(self, submission: Submission) -> None:
        if self._closing or not self.alive():
            raise counted(Unavailable("This process is shutting down; nothing was done."))
        self._queue.put(submission)

    def alive(self) -> bool:
        """Whether the thread is there; without it this process can change nothing."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Refuse what comes from now on, finish what waits, let go of the connection."""
        self._closing = True
        self._queue.put(None)
        self._thread.join(CLOSE_WAIT_SECONDS)

    def _run(self) -> None:
        """The committer thread. Whatever happens in here, nobody is left waiting."""
        while not self._closing or self._left_over or not self._queue.empty():
            batch = self._gather()
            if not batch:
                continue
            try:
                results = self._commit(batch, joinable=True)
            except Exception:  # noqa: BLE001 - a defect of ours must not end the thread
                self._report("commit_failed", len(batch))
                results = [outcome_unknown() for _ in batch]
            self._answer(batch, results)
            self._traces.flush()
        with suppress(Exception):
            self._source.close()

    def _gather(self) -> list[Submission]:
        """Wait for one command, then take all that is there, up to the limit."""
        waiting, self._left_over = deque(self._left_over), []
        batch: list[Submission] = []
        weight = 0
        with suppress(Empty):
            while weight < MAX_BATCH_COMMANDS:
                item = waiting.popleft() if waiting else self._queue.get(block=not batch)
                if item is None:
                    break
                if batch and weight + item.weight > MAX_BATCH_COMMANDS:
                    # A group that is larger than a batch has a transaction of its own.
                    waiting.appendleft(item)
                    break
                if item.claim.acquire(blocking=False):
                    batch.append(item)
                    weight += item.weight
        self._left_over = list(waiting)
        return batch

    def _join(self, transaction: Transaction, batch: list[Submission], loaded: Loaded) -> Loaded:
        """Let commands that came while this batch waited for its locks take part in it.

        A hot wallet is what is waited for, and whoever comes meanwhile wants the same one. At least
        one of their wallets must be locked already; the others, and their keys, are taken if that
        needs no waiting. Who cannot join goes into the next batch. Gives ``loaded`` with what was
        taken.
        """
        joining: list[Submission] = []
        weight = sum(submission.weight for submission in batch)
        with suppress(Empty):
            while weight < MAX_BATCH_COMMANDS:
                item = self._queue.get_nowait()
                if item is None:
                    self._queue.put(None)
                    break
                fits = weight + item.weight <= MAX_BATCH_COMMANDS
                if fits and not item.in_order and loaded.meets(item.needs):
                    joining.append(item)
                    weight += item.weight
                else:
                    self._left_over.append(item)
        known = {name_of(s.key) for s in batch if s.key}
        keys = sorted({name_of(s.key) for s in joining if s.key} - known)
        try:
            wallets = {id_ for item in joining for id_ in item.needs.wallets}
            further = sorted(wallets - loaded.wallets.keys())
            more = transaction.join(keys, further) if keys or further else Loaded({}, {})
        except BaseException:
            self._left_over += joining
            raise
        loaded = replace(
            loaded,
            wallets=loaded.wallets | more.wallets,
            remembered=loaded.remembered | more.remembered,
        )
        for item in joining:
            busy_key = item.key is not None and name_of(item.key) in more.busy_keys
            if busy_key or not loaded.covers(item.needs):
                self._left_over.append(item)
            elif item.claim.acquire(blocking=False):
                batch.append(item)
        return loaded

    def _commit(
        self, batch: list[Submission], *, skip_locked: bool = False, joinable: bool = False
    ) -> list[Result]:
        """Do ``batch`` in one transaction, or in smaller ones where it cannot be.

        ``joinable``: commands that come while it waits for its locks may be added to it.
        """
        for attempt in range(1, MAX_CONFLICT_RETRIES + 2):
            try:
                return self._attempt(batch, skip_locked=skip_locked, joinable=joinable)
            except Conflict:
                COMMIT_RETRIES.labels("conflict").inc()
                time.sleep(CONFLICT_PAUSE_SECONDS * attempt)
            except LockNotHad:
                if skip_locked:
                    break
                COMMIT_RETRIES.labels("lock").inc()
                return self._commit(batch, skip_locked=True)
            except (DataRefused, Defect, TooSlow) as failure:
                return self._bisect(batch, failure, skip_locked=skip_locked)
            except StoreUnavailable as lost:
                with suppress(Exception):
                    self._log.warning("database_lost", commands=len(batch), error=str(lost))
                make = outcome_unknown if lost.outcome_unknown else database_away
                return [counted(make()) for _ in batch]
        return [counted(busy()) for _ in batch]

    def _attempt(
        self, batch: list[Submission], *, skip_locked: bool, joinable: bool
    ) -> list[Result]:
        started = time.perf_counter()
        traces = self._traces.batch(lambda: [s.origin.traceparent for s in batch])
        with traces, self._source.begin() as transaction:
            try:
                keys = {name_of(s.key) for s in batch if s.key}
                loaded = transaction.load(
                    all_needs(s.needs for s in batch), sorted(keys), skip_locked=skip_locked
                )
                if joinable:
                    loaded = self._join(transaction, batch, loaded)
                results, changes, remembered = decide_batch(
                    batch, loaded, self._currencies, transaction.append
                )
            except CommitFailure:
                raise
            except Exception as error:
                raise Defect(f"{type(error).__name__} before anything was kept") from error
            transaction.save(changes, remembered)
        # What is committed must be answered, also where a log or a metric cannot be written.
        with suppress(Exception):
            seconds = time.perf_counter() - started
            BATCH_SIZE.observe(len(batch))
            COMMIT_SECONDS.observe(seconds)
            count_operations(changes)
            self._log.info("batch", commands=len(batch), duration_ms=round(seconds * 1000, 2))
        return results

    def _bisect(
        self, batch: list[Submission], failure: DataRefused | Defect | TooSlow, *, skip_locked: bool
    ) -> list[Result]:
        """Find the command that cannot be done, so that it cannot fail its neighbours; or do in
        parts what is too much for one time.
        """
        COMMIT_RETRIES.labels("data").inc()
        if len(batch) == 1:
            self._report("command_not_done", 1)
            if isinstance(failure, TooSlow):
                return [counted(too_much())]
            if isinstance(failure, Defect):
                return [counted(CofferError("Nothing was changed. The log says what happened."))]
            return [counted(NotStorable("The database refused this request's data."))]
        middle = len(batch) // 2
        return [
            *self._commit(batch[:middle], skip_locked=skip_locked),
            *self._commit(batch[middle:], skip_locked=skip_locked),
        ]

    def _answer(self, batch: Sequence[Submission], results: Sequence[Result]) -> None:
        """Wake the waiting threads; what the cache may still hold differently goes out later."""
        delay = self._invalidate(batch, results)
        for submission, result in zip(batch, results, strict=True):
            submission.result = result
        if delay > 0:
            timer = threading.Timer(delay, wake, (batch,))
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no thread to be had
                time.sleep(delay)
                wake(batch)
        else:
            wake(batch)

    def _invalidate(self, batch: Sequence[Submission], results: Sequence[Result]) -> float:
        if self._after_commit is None:
            return 0.0
        touched = {
            wallet
            for submission, result in zip(batch, results, strict=True)
            if isinstance(result, OutcomeUnknown)
            or (isinstance(result, Outcome) and result.status < FIRST_ERROR_STATUS)
            for wallet in submission.needs.wallets
        }
        return self._after_commit(touched) if touched else 0.0

    def _report(self, event: str, commands: int) -> None:
        """Log the exception at hand, if the log takes it."""
        with suppress(Exception):
            self._log.exception(event, commands=commands)


def _result(submission: Submission, until: float) -> Result:
    """Wait for what becomes of a command that is in the queue; it may stay there ``until`` then."""
    if not submission.done.acquire(timeout=max(0.0, until - time.monotonic())):
        if submission.claim.acquire(blocking=False):
            return counted(
                Overloaded("The command waited for too long and was taken out, not done.")
            )
        if not submission.done.acquire(timeout=OUTCOME_WAIT_SECONDS):
            return counted(outcome_unknown())
    return counted(outcome_unknown()) if submission.result is None else submission.result
