"""Traces: the port, what does nothing, and how a batch is told of. No OpenTelemetry in here.

One transaction, one publish and one record serve many requests. So a batch is a span of its own,
with a link to the span of each request in it, and each of these traces gets a short span that
links back: whoever looks at one request sees when it was committed, published and recorded, and
finds the batch. A batch that serves one request alone is part of that one's trace.
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from WalletCore.settings import Settings

TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)
"""https://www.w3.org/TR/trace-context/#traceparent-header"""

_SAMPLED: Final = 1

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class SpanContext:
    """Which span it is. ``sampled``: it is recorded, and so should be what follows from it."""

    trace_id: int
    span_id: int
    sampled: bool

    @property
    def traceparent(self) -> str:
        """As a header and in an event."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    def child(self) -> SpanContext:
        """The context of a new span below this one."""
        return SpanContext(self.trace_id, new_id(64), self.sampled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span that has ended. Times in nanoseconds since 1970. ``error``: the type of a failure."""

    name: str
    kind: SpanKind
    context: SpanContext
    parent: SpanContext | None
    started_ns: int
    ended_ns: int
    attributes: Attributes = field(default_factory=dict)
    links: Sequence[SpanContext] = ()
    error: str | None = None


class Tracer(Protocol):
    """Where spans go."""

    @property
    def on(self) -> bool:
        """Whether anything is recorded at all; nobody needs to ask for anything else if not."""

    def root(self) -> SpanContext:
        """The context of a new trace, sampled or not."""

    def record(self, span: Span) -> None:
        """Take a span that has ended and whose context is sampled. Never waits for anything."""

    def close(self) -> None:
        """Send what is there, for a bounded time."""


class NoTraces:
    """The tracer where no endpoint is configured."""

    on: Final = False

    def root(self) -> SpanContext:
        """A context that is not sampled."""
        return SpanContext(new_id(128), new_id(64), sampled=False)

    def record(self, span: Span) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing is open."""


NO_TRACES: Final = NoTraces()


def open_tracer(settings: Settings, role: str) -> Tracer:
    """The tracer of this process, which is a ``role``: server, relay or worker.

    Call it after fork: it owns a thread. Without COFFER_OTLP_ENDPOINT nothing is imported.
    """
    if settings.otlp_endpoint is None:
        return NO_TRACES
    from WalletCore.otlp import OtlpTracer  # noqa: PLC0415

    return OtlpTracer(settings.otlp_endpoint.get_secret_value(), settings.trace_ratio, role)


def parse_context(traceparent: object) -> SpanContext | None:
    """What a traceparent says; None for anything that is no valid one."""
    if not isinstance(traceparent, str) or not TRACEPARENT.fullmatch(traceparent):
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))


def new_id(bits: int) -> int:
    """A random id of so many bits, never zero. ``random`` seeds itself anew after a fork."""
    return random.getrandbits(bits) or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWords:
    """How the spans of a kind of batch are named. ``size``: the attribute with the number of all
    its members, traced or not; ``part``: the name of the span in each member's own trace.
    """

    name: str
    kind: SpanKind
    size: str
    part: str
    part_kind: SpanKind
    attributes: Attributes = field(default_factory=dict)


def commit_words(database: str | None = None) -> BatchWords:
    """Of group commit. ``database``: its name in the semantic conventions."""
    return BatchWords(
        name="commit",
        kind="client" if database else "internal",
        size="coffer.batch.commands",
        part="committed",
        part_kind="internal",
        attributes={"db.system.name": database, "db.operation.name": "COMMIT"} if database else {},
    )


def publish_words(exchange: str) -> BatchWords:
    """Of the relay."""
    return BatchWords(
        name=f"publish {exchange}",
        kind="producer",
        size="messaging.batch.message_count",
        part=f"published {exchange}",
        part_kind="producer",
        attributes={
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "send",
            "messaging.operation.name": "publish",
            "messaging.destination.name": exchange,
        },
    )


def process_words(queue: str | None) -> BatchWords:
    """Of the worker, which consumes ``queue`` or, for None, reads the event log itself."""
    source = queue or "event log"
    attributes = {"messaging.operation.type": "process", "messaging.operation.name": "record"}
    if queue is not None:
        attributes |= {"messaging.system": "rabbitmq", "messaging.destination.name": queue}
    return BatchWords(
        name=f"record {source}",
        kind="consumer",
        size="messaging.batch.message_count",
        part=f"recorded {source}",
        part_kind="consumer",
        attributes=attributes,
    )


class BatchTraces:
    """Tells of the batches of one thread."""

    def __init__(self, tracer: Tracer, words: BatchWords) -> None:
        self._tracer = tracer
        self._words = words
        self._ended: list[tuple[Sequence[object], int, int, str | None]] = []
        self.on = tracer.on

    def batch(self, members: Callable[[], Sequence[object]]) -> AbstractContextManager[None]:
        """What happens inside is the batch; ``members``, asked at its end, gives a traceparent or
        None for each. It is recorded by ``flush``, after those who wait were answered.
        """
        return self._timed(members) if self.on else nullcontext()

    @contextmanager
    def _timed(self, members: Callable[[], Sequence[object]]) -> Iterator[None]:
        started, error = time.time_ns(), None
        try:
            yield
        except Exception as failure:
            error = type(failure).__name__
            raise
        finally:
            self._ended.append((members(), started, time.time_ns(), error))

    def flush(self) -> None:
        """Record the batches that have ended since."""
        if not self._ended:
            return
        ended, self._ended = self._ended, []
        for members, started, until, error in ended:
            self.tell(members, started, until, error)

    def tell(
        self, members: Sequence[object], started_ns: int, ended_ns: int, error: str | None = None
    ) -> None:
        """Record a batch of ``members``: the traceparent of each, or None."""
        # What it tells of has happened: nothing here may make that fail.
        with suppress(Exception):
            # A transfer has several events and a bulk many commands, all of one request.
            contexts = [parse_context(member) for member in dict.fromkeys(members)]
            traced = [context for context in contexts if context is not None and context.sampled]
            if traced:
                self._record(traced, len(members), (started_ns, ended_ns), error)

    def _record(
        self, traced: list[SpanContext], count: int, times: tuple[int, int], error: str | None
    ) -> None:
        words = self._words
        parent = traced[0] if len(traced) == 1 else None
        root = SpanContext(new_id(128), new_id(64), sampled=True)
        context = parent.child() if parent is not None else root
        common: dict[str, Any] = {"started_ns": times[0], "ended_ns": times[1], "error": error}
        self._tracer.record(
            Span(
                name=words.name,
                kind=words.kind,
                context=context,
                parent=parent,
                attributes={**words.attributes, words.size: count},
                links=traced,
                **common,
            )
        )
        if parent is not None:
            return
        for member in traced:
            self._tracer.record(
                Span(
                    name=words.part,
                    kind=words.part_kind,
                    context=member.child(),
                    parent=member,
                    attributes=words.attributes,
                    links=(context,),
                    **common,
                )
            )


NO_BATCHES: Final = BatchTraces(NO_TRACES, commit_words())
"""Tells nothing; any thread may have it."""
