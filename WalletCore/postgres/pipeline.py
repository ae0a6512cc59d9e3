"""Statements that are sent together and answered together: libpq's pipeline mode.

psycopg's own pipeline hands each statement to the kernel by itself and looks for answers between
them, in 27 turns and 11 waits for the seven statements of a batch, which was most of its CPU time
when it is one command. This one queues them in libpq's buffer, sends them once and waits once. What
it knows of PostgreSQL's types, loaders and errors is psycopg's.
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

from __future__ import annotations

import re
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from typing import Any, Final, LiteralString

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

from WalletCore.postgres.arrays import Array

SILENCE_SECONDS: Final = 60.0
"""How long the server may send nothing at all. A statement ends after STATEMENT_TIMEOUT_SECONDS and
TCP notices a broken network; this is for a server that is stopped, and for one behind something
that keeps the connection alive without it."""

_BINARY: Final = int(Format.BINARY)
_PLACE: Final = re.compile(r"%s")


class Answer:
    """What became of a statement, once the pipeline has ended: its ``rows``, none before."""

    __slots__ = ("prepared_as", "rows")

    def __init__(self, prepared_as: LiteralString | None = None) -> None:
        self.rows: Sequence[tuple[Any, ...]] = ()
        self.prepared_as = prepared_as
        """The statement of which this is the preparation; None where it is its execution."""


class Pipeline:
    """The pipelines of one connection, one after the other. Belongs to the connection's thread."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._loading = Transformer(connection)
        self._encoding = connection.info.encoding
        self._names: dict[LiteralString, bytes] = {}
        """Under which name each statement is prepared on this connection."""
        self._numbers = count()
        self._awaited: list[Answer] = []
        self._marks = 0
        """How often the server was told that something ends here, and has not said so itself."""
        self._poll = select.poll()

    @contextmanager
    def running(self) -> Iterator[Pipeline]:
        """Statements that are sent in the ``with`` block are answered at its end.

        The first one that fails is raised there, as psycopg's error of its SQLSTATE, and none after
        it was done. Whatever is raised in the block, the connection is fit for use afterwards, or
        closed. Raises psycopg.Error.
        """
        self._pgconn.enter_pipeline_mode()
        try:
            try:
                yield self
            except BaseException:
                # What was sent must be answered before anything else can be asked.
                with suppress(psycopg.Error):
                    self._finish()
                raise
            self._finish()
        finally:
            self._awaited.clear()
            self._marks = 0
            self._leave()

    def send(self, statement: LiteralString, parameters: Sequence[Array] = ()) -> Answer:
        """Queue a statement with a ``%s`` for each of its parameters. Waits for nothing."""
        name = self._names.get(statement)
        if name is None:
            name = f"coffer_{next(self._numbers)}".encode()
            self._pgconn.send_prepare(name, _numbered(statement), [p.oid for p in parameters])
            self._names[statement] = name
            self._awaited.append(Answer(statement))
        formats = [_BINARY] * len(parameters)
        self._pgconn.send_query_prepared(name, parameters, formats, _BINARY)
        answer = Answer()
        self._awaited.append(answer)
        return answer

    def flush(self) -> None:
        """Let the server begin with what is queued; waits for nothing. Raises psycopg.Error.

        What comes afterwards is tried, too, where this fails, so it belongs into a transaction, in
        which that does nothing. With a mark, because a server that waits for the next statement
        without one is not idle: the limit of a transaction's idleness would not hold.
        """
        self._mark()
        self._pgconn.flush()

    def _finish(self) -> None:
        """Send what is queued and take all answers. Raises psycopg.Error."""
        self._mark()
        self._send_all()
        failed: PGresult | None = None
        found: list[tuple[Answer, PGresult]] = []
        try:
            for answer, result in zip(self._awaited, self._results(), strict=True):
                status = result.status
                if status == ExecStatus.TUPLES_OK:
                    found.append((answer, result))
                elif status != ExecStatus.COMMAND_OK:
                    if answer.prepared_as is not None:
                        del self._names[answer.prepared_as]
                    failed = failed or result  # those that were skipped come after it
        except psycopg.OperationalError:
            if failed is None:
                raise
            # The server's last words say more than that it hung up then.
        # Once all answers are taken: a value that cannot be read must leave none of them behind.
        for answer, result in found:
            self._loading.set_pgresult(result)
            answer.rows = self._loading.load_rows(0, result.ntuples, tuple)
        if failed is not None:
            raise error_from_result(failed, encoding=self._encoding)

    def _mark(self) -> None:
        self._pgconn.pipeline_sync()
        self._marks += 1

    def _leave(self) -> None:
        """End the mode. A connection on which answers are left would give them to the next
        statements; it ends here instead.
        """
        try:
            self._pgconn.exit_pipeline_mode()
        except psycopg.Error:
            # Not by psycopg's close(), after which it would no longer be called broken.
            self._pgconn.finish()

    def _send_all(self) -> None:
        """Hand everything to the kernel, taking in what comes meanwhile: a server whose answers
        nobody takes reads no more either.
        """
        while self._pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)

    def _results(self) -> Iterator[PGresult]:
        """One for each statement, as they come, up to the last of the marks.
        Raises psycopg.OperationalError when the connection breaks.
        """
        ended = False
        while True:
            if self._pgconn.is_busy():
                self._wait(select.POLLIN)
                continue
            result = self._pgconn.get_result()
            if result is None:
                # A statement's results end with None; a second one says that there is no more.
                if ended:
                    self._wait(select.POLLIN)
                ended = True
                continue
            ended = False
            if result.status == ExecStatus.PIPELINE_SYNC:
                self._marks -= 1
                if not self._marks:
                    return
                continue
            yield result

    def _wait(self, for_what: int) -> None:
        """Wait for the server, and take what it has sent. Raises psycopg.OperationalError."""
        if self._pgconn.status == ConnStatus.BAD:
            raise psycopg.OperationalError("the connection is closed")
        self._poll.register(self._pgconn.socket, for_what)
        ready = self._poll.poll(SILENCE_SECONDS * 1000)
        if not ready:
            self._pgconn.finish()
            raise psycopg.OperationalError(f"no answer for {SILENCE_SECONDS:.0f} s")
        if any(found & ~select.POLLOUT for _, found in ready):
            self._pgconn.consume_input()


@cache
def _numbered(statement: LiteralString) -> bytes:
    """``statement`` as PostgreSQL wants it: $1, $2 and so on."""
    numbers = count(1)
    return _PLACE.sub(lambda _: f"${next(numbers)}", statement).encode()
