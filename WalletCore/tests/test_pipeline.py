"""Statements that are sent together: their answers, errors, and what a break leaves behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest

from testkit.proxy import Proxy, proxied_url, server_address
from testkit.waiting import eventually
from WalletCore.postgres import pipeline as pipelines
from WalletCore.postgres.arrays import integers, texts
from WalletCore.postgres.connect import committer_connection
from WalletCore.postgres.pipeline import Answer, Pipeline

ECHO = "SELECT unnest(%s::bigint[])"
ECHO_TEXTS = "SELECT unnest(%s::text[])"
DIVIDE = "SELECT 1 / unnest(%s::bigint[])"
NONSENSE = "SELECT nonsense"
LARGE_TEXTS = ["x" * 500_000] * 8
"""Far more than the buffers of the kernel and of libpq, on the way there and back."""


@pytest.fixture
def pipeline(postgres_url: str) -> Iterator[Pipeline]:
    with committer_connection(postgres_url) as connection:
        yield Pipeline(connection)


def echoed(pipeline: Pipeline, *values: int) -> list[int]:
    with pipeline.running():
        answer = pipeline.send(ECHO, (integers(values),))
    return [row[0] for row in answer.rows]


def run(pipeline: Pipeline, answers: list[Answer], *sent: tuple[LiteralString, Any]) -> None:
    """Send all, and put the answers, which an error must not hide, into ``answers``."""
    with pipeline.running():
        for statement, make in sent:
            answers.append(pipeline.send(statement, (make(),) if make else ()))


def test_every_statement_has_its_own_answer_again_and_again(pipeline: Pipeline) -> None:
    for round_ in range(3):
        with pipeline.running() as running:
            one = running.send(ECHO, (integers([round_, 2]),))
            none = running.send("SET application_name = 'coffer-test'")
            two = running.send(ECHO_TEXTS, (texts(["a", None]),))
            same = running.send(ECHO, (integers([]),))
            assert not one.rows  # there are no answers before the end
        assert (one.rows, none.rows, two.rows, same.rows) == (
            [(round_,), (2,)], (), [("a",), (None,)], []
        )  # fmt: skip


def test_a_pipeline_may_be_empty(pipeline: Pipeline) -> None:
    with pipeline.running():
        pass
    assert echoed(pipeline, 1) == [1]


def test_more_than_any_buffer_goes_both_ways(pipeline: Pipeline) -> None:
    with pipeline.running() as running:
        answers = [running.send(ECHO_TEXTS, (texts(LARGE_TEXTS),)) for _ in range(2)]
    assert all([row[0] for row in answer.rows] == LARGE_TEXTS for answer in answers)


def test_the_first_error_is_raised_and_nothing_after_it_is_done(pipeline: Pipeline) -> None:
    answers: list[Answer] = []
    with pytest.raises(psycopg.errors.DivisionByZero) as caught:
        run(
            pipeline,
            answers,
            (ECHO, lambda: integers([1])),
            (DIVIDE, lambda: integers([0])),
            ("CREATE TABLE must_not_be (id int)", None),
            (NONSENSE, None),
        )
    assert caught.value.diag.message_primary == "division by zero"
    assert [answer.rows for answer in answers] == [[(1,)], (), (), ()]
    assert echoed(pipeline, 2) == [2]
    found = pipeline.connection.execute("SELECT to_regclass('must_not_be')").fetchone()
    assert found == (None,)


def test_what_could_not_be_prepared_is_prepared_anew(pipeline: Pipeline) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedColumn):
            run(pipeline, [], (NONSENSE, None), (ECHO_TEXTS, lambda: texts(["skipped"])))
    with pipeline.running() as running:
        answer = running.send(ECHO_TEXTS, (texts(["b"]),))
    assert answer.rows == [("b",)]


def test_whatever_is_raised_in_it_the_connection_is_fit_for_use(pipeline: Pipeline) -> None:
    with pytest.raises(UnicodeEncodeError):
        run(pipeline, [], (ECHO, lambda: integers([1])), (ECHO_TEXTS, lambda: texts(["\ud800"])))
    assert echoed(pipeline, 3) == [3]
    assert pipeline.connection.execute("SELECT 4").fetchone() == (4,)


def test_an_error_of_ours_goes_before_those_of_the_server(pipeline: Pipeline) -> None:
    with pytest.raises(UnicodeEncodeError):
        run(pipeline, [], (NONSENSE, None), (ECHO_TEXTS, lambda: texts(["\ud800"])))
    assert echoed(pipeline, 5) == [5]


def killed(url: str, victim: int) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (victim,))


def test_a_session_that_is_ended_is_told_by_its_last_words(
    postgres_url: str, pipeline: Pipeline
) -> None:
    victim = pipeline.connection.info.backend_pid
    timer = threading.Timer(0.3, killed, (postgres_url, victim))
    timer.start()
    with pytest.raises(psycopg.errors.AdminShutdown), pipeline.running() as running:
        running.send("SELECT pg_sleep(30)")
    timer.join()
    assert pipeline.connection.broken


def test_a_session_that_is_gone_is_an_operational_error(
    postgres_url: str, pipeline: Pipeline
) -> None:
    killed(postgres_url, pipeline.connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        echoed(pipeline, 1)
    assert pipeline.connection.broken
    with pytest.raises(psycopg.OperationalError):
        echoed(pipeline, 1)


def test_a_closed_connection_is_an_operational_error(pipeline: Pipeline) -> None:
    pipeline.connection.close()
    with pytest.raises(psycopg.OperationalError):
        echoed(pipeline, 1)


def test_a_link_that_breaks_in_an_answer_is_an_operational_error(postgres_url: str) -> None:
    """The server is there, but what it sends ends in the middle of a row."""
    connection: psycopg.Connection[Any] = committer_connection(postgres_url)
    pipeline = Pipeline(connection)
    timer = threading.Timer(0.3, killed, (postgres_url, connection.info.backend_pid))
    timer.start()
    with pytest.raises(psycopg.OperationalError), pipeline.running() as running:
        running.send("SELECT repeat('x', 1000000), pg_sleep(0.05) FROM generate_series(1, 1000)")
    timer.join()
    connection.close()


# -- What must not stay behind -----------------------------------------------------------------


class Interruption(BaseException):
    """What a signal brings, at any moment."""


@contextmanager
def interrupted_after(seconds: float, error: type[BaseException]) -> Iterator[None]:
    """Raise ``error`` in this thread, which must be the main one, wherever it is then."""

    def interrupt(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGURG, interrupt)
    timer = threading.Timer(seconds, signal.pthread_kill, (threading.get_ident(), signal.SIGURG))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGURG, before)


def test_a_value_that_cannot_be_read_leaves_no_answer_behind(pipeline: Pipeline) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.DataError):
            run(
                pipeline,
                [],
                ("SELECT 'infinity'::timestamptz", None),
                (ECHO, lambda: integers([1])),
            )
        assert echoed(pipeline, 6) == [6]


def test_who_is_interrupted_while_waiting_never_gets_the_answers_later(pipeline: Pipeline) -> None:
    with pytest.raises(Interruption), interrupted_after(0.2, Interruption):
        run(pipeline, [], ("SELECT pg_sleep(0.5)", None), (ECHO, lambda: integers([1])))
    assert pipeline.connection.broken
    with pytest.raises(psycopg.OperationalError):
        echoed(pipeline, 7)


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "SILENCE_SECONDS", 0.3)
    with Proxy(server_address(postgres_url)) as proxy:
        pipeline = Pipeline(committer_connection(proxied_url(postgres_url, proxy)))
        assert echoed(pipeline, 1) == [1]
        proxy.black_hole()
        with pytest.raises(psycopg.OperationalError, match="no answer"):
            echoed(pipeline, 2)
        assert pipeline.connection.broken


# -- What goes ahead ---------------------------------------------------------------------------


def test_between_two_parts_the_limit_of_idleness_holds(
    postgres_url: str, pipeline: Pipeline
) -> None:
    """A process that is stopped there keeps its locks no longer than anywhere else."""
    state = "SELECT state FROM pg_stat_activity WHERE pid = %s"
    with psycopg.connect(postgres_url, autocommit=True) as other, pipeline.running() as running:
        running.send("BEGIN")
        first = running.send(ECHO, (integers([1]),))
        running.flush()
        pid = pipeline.connection.info.backend_pid
        eventually(
            lambda: other.execute(state, (pid,)).fetchone() == ("idle in transaction",),
            "the server's waiting",
        )
        second = running.send(ECHO, (integers([2]),))
        running.send("ROLLBACK")
    assert (first.rows, second.rows) == ([(1,)], [(2,)])


def in_two_parts(pipeline: Pipeline, answers: list[Answer]) -> None:
    """The first of them fails."""
    with pipeline.running() as running:
        running.send("BEGIN")
        running.send("CREATE TABLE must_not_be (id int)")
        running.send(DIVIDE, (integers([0]),))
        running.flush()
        answers.append(running.send(ECHO_TEXTS, (texts(["later"]),)))
        running.flush()
        running.send("COMMIT")


def test_after_a_part_that_fails_nothing_is_done_in_its_transaction(pipeline: Pipeline) -> None:
    answers: list[Answer] = []
    with pytest.raises(psycopg.errors.DivisionByZero):
        in_two_parts(pipeline, answers)
    assert [answer.rows for answer in answers] == [()]
    found = pipeline.connection.execute("SELECT to_regclass('must_not_be')").fetchone()
    assert found == (None,)
    with pipeline.running() as running:
        again = running.send(ECHO_TEXTS, (texts(["b"]),))
    assert again.rows == [("b",)]
