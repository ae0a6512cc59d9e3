"""Spans to an OpenTelemetry collector, by OTLP over HTTP. Imported only if one is configured.

Only the way out is OpenTelemetry's: its BatchSpanProcessor, a bounded queue and a thread of its
own, and its exporter. The spans are made here once they have ended, as one object each: to start
and end one by the SDK takes several times as long, and a request has up to four.
Headers, certificates and compression are set as for any exporter, by OTEL_EXPORTER_OTLP_HEADERS
and its like, and OTEL_RESOURCE_ATTRIBUTES adds attributes.
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status, StatusCode
from prometheus_client import Counter
from uuid_utils import uuid4

from WalletCore.telemetry import get_logger
from WalletCore.tracing import Span, SpanContext, new_id

TRACES_PATH: Final = "/v1/traces"
"""What OTLP appends to the address of a collector."""

MAX_QUEUED_SPANS: Final = 8192
"""What waits to be sent; the oldest go first where it is more. Some 8 MB."""
MAX_SENT_SPANS: Final = 512
SEND_INTERVAL_MILLISECONDS: Final = 1000.0
SEND_TIMEOUT_SECONDS: Final = 5.0
"""For one request to the collector, with its retries."""

CLOSE_WAIT_SECONDS: Final = 1.0
"""How long the end of a process may wait for the collector."""

TELL_INTERVAL_SECONDS: Final = 60.0
"""Between two lines of the log that spans cannot be sent."""

SPANS = Counter("coffer_trace_spans", "Spans of traces.", ["result"])

_KINDS: Final = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}
_FLAGS: Final = {sampled: trace.TraceFlags(int(sampled)) for sampled in (False, True)}
_SCOPE: Final = InstrumentationScope("coffer")
_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)


class OtlpTracer:
    """Sends to the collector at ``endpoint``; of the traces that begin here, the share ``ratio``.

    A trace that a caller began is recorded if the caller says so. Owns a thread.
    """

    on: Final = True

    def __init__(self, endpoint: str, ratio: float, role: str) -> None:
        # The libraries tell of each failed request and each lost span; the exporter below says it.
        for name in ("opentelemetry", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._sampler = TraceIdRatioBased(ratio)
        self._resource = Resource.create(
            {
                "service.namespace": "coffer",
                "service.name": f"coffer-{role}",
                "service.instance.id": str(uuid4()),
                "process.pid": os.getpid(),
            }
        )
        exporter = OTLPSpanExporter(traces_url(endpoint), timeout=SEND_TIMEOUT_SECONDS)
        self._processor = BatchSpanProcessor(
            TellingExporter(exporter),
            max_queue_size=MAX_QUEUED_SPANS,
            schedule_delay_millis=SEND_INTERVAL_MILLISECONDS,
            max_export_batch_size=MAX_SENT_SPANS,
        )

    def root(self) -> SpanContext:
        """See Tracer."""
        trace_id = new_id(128)
        decision = self._sampler.should_sample(None, trace_id, "").decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        return SpanContext(trace_id, new_id(64), sampled)

    def record(self, span: Span) -> None:
        """See Tracer."""
        attributes = span.attributes
        if span.error is not None:
            attributes = {**attributes, "error.type": span.error}
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(span.context, remote=False),
                parent=None if span.parent is None else _context(span.parent, remote=True),
                resource=self._resource,
                attributes=attributes,
                links=[trace.Link(_context(link, remote=True)) for link in span.links],
                kind=_KINDS[span.kind],
                status=_UNSET if span.error is None else _ERROR,
                start_time=span.started_ns,
                end_time=span.ended_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Send what is there, but wait no longer than CLOSE_WAIT_SECONDS for the collector; what is
        left ends with the process.
        """
        closing = threading.Thread(target=self._processor.shutdown, name="last-spans", daemon=True)
        closing.start()
        closing.join(CLOSE_WAIT_SECONDS)


class TellingExporter(SpanExporter):
    """Exports by ``exporter``, counts, and says in the log when that fails: now and then."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._log = get_logger()
        self._lost = 0
        self._told_at = -TELL_INTERVAL_SECONDS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter. Raises nothing."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever a library raises, these spans are lost
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            SPANS.labels("sent").inc(len(spans))
            if self._lost:
                self._log.info("traces_sent_again", spans_lost=self._lost)
                self._lost, self._told_at = 0, -TELL_INTERVAL_SECONDS
            return result
        SPANS.labels("lost").inc(len(spans))
        self._lost += len(spans)
        if time.monotonic() - self._told_at >= TELL_INTERVAL_SECONDS:
            self._told_at = time.monotonic()
            self._log.warning("traces_not_sent", spans_lost=self._lost)
        return result

    def shutdown(self) -> None:
        """See SpanExporter."""
        self._exporter.shutdown()


def traces_url(endpoint: str) -> str:
    """Where spans are posted: ``endpoint``, the address of a collector, and the path of OTLP,
    unless that is in it already.
    """
    path = urlsplit(endpoint).path.rstrip("/")
    return endpoint if path.endswith(TRACES_PATH) else endpoint.rstrip("/") + TRACES_PATH


def _context(context: SpanContext, *, remote: bool) -> trace.SpanContext:
    return trace.SpanContext(
        context.trace_id, context.span_id, is_remote=remote, trace_flags=_FLAGS[context.sampled]
    )
