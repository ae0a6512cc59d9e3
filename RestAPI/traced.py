"""The span of a request. Wrapped around the application only where traces are recorded.

The request goes on with the span's own traceparent, so that it is what commands and their events
carry. https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from RestAPI.edge import QUIET_RULES, RULE, logged_method, printable_path
from RestAPI.entrance import REQUEST_ID
from RestAPI.reading import parse_traceparent
from WalletCore.telemetry import mask_secrets
from WalletCore.tracing import Span, SpanContext, Tracer, parse_context

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

OTHER_METHOD: Final = "_OTHER"
"""What the conventions call a method that is none of HTTP's."""


class Traced:
    """Wraps ``app``, of which every request becomes a span of ``tracer``.

    A long answer's span ends with its first part, as its line in the log does.
    """

    def __init__(self, app: WSGIApplication, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        parent = parse_context(parse_traceparent(environ))
        if parent is None and environ["PATH_INFO"] in QUIET_RULES:
            # What machines ask all the time is nobody's trace, unless they say so.
            return self._app(environ, start_response)
        context = self._tracer.root() if parent is None else parent.child()
        environ["HTTP_TRACEPARENT"] = context.traceparent
        if not context.sampled:
            return self._app(environ, start_response)
        started, status = time.time_ns(), "500"

        def start(answered: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = answered[:3]
            if exc_info:
                return start_response(answered, headers, exc_info)
            return start_response(answered, headers)

        try:
            return self._app(environ, start)
        finally:
            with suppress(Exception):  # the request keeps its answer
                self._tracer.record(_span(environ, (context, parent), started, int(status)))


def _span(
    environ: WSGIEnvironment,
    contexts: tuple[SpanContext, SpanContext | None],
    started_ns: int,
    status: int,
) -> Span:
    """No query, no header, no body: nothing that may be secret, and no money."""
    rule = environ.get(RULE)
    method = logged_method(environ, OTHER_METHOD)
    attributes = {
        "http.request.method": method,
        "http.response.status_code": status,
        "url.path": mask_secrets(printable_path(environ["PATH_INFO"])),
        "url.scheme": environ["wsgi.url_scheme"],
        "coffer.request_id": environ.get(REQUEST_ID, ""),
    }
    if rule is not None:
        attributes["http.route"] = rule
    name = "HTTP" if method == OTHER_METHOD else method
    return Span(
        name=f"{name} {rule}" if rule is not None else name,
        kind="server",
        context=contexts[0],
        parent=contexts[1],
        started_ns=started_ns,
        ended_ns=time.time_ns(),
        attributes=attributes,
        error=str(status) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None,
    )
