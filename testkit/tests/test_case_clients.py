"""Both clients must present the same request to the service."""

from __future__ import annotations

import json
import threading
import wsgiref.simple_server
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from testkit.case_clients import HttpClient, WsgiClient

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def _echo(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer what came in. The stream is read as far as the server says it goes."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    seen = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "content_type": environ.get("CONTENT_TYPE") or None,
        "key": environ.get("HTTP_IDEMPOTENCY_KEY"),
        "body": environ["wsgi.input"].read(length).decode("latin-1"),
    }
    start_response("299 Odd", [("Content-Type", "application/json"), ("X-Seen", "yes")])
    return [json.dumps(seen).encode()]


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def get_environ(self) -> dict[str, Any]:
        """wsgiref calls a missing type text/plain; WSGI servers in use do not."""
        environ = super().get_environ()
        if self.headers.get("content-type") is None:
            environ["CONTENT_TYPE"] = ""
        return environ


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    """A real HTTP server that answers what came in."""
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, _echo, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", "/a?x=1&y=%20", {}, None),
        ("BREW", "/%00%ff/%2F", {}, None),
        ("POST", "/a", {"Content-Type": "application/json"}, b'{"a": 1}'),
        ("POST", "/a", {}, b"\xff\x00"),
        ("PATCH", "/a", {"Idempotency-Key": "schl\u00fcssel"}, b""),
        ("GET", "/", {"Idempotency-Key": ""}, None),
    ],
)
def test_both_clients_present_the_same(
    echo_url: str, method: str, path: str, headers: dict[str, str], body: bytes | None
) -> None:
    over_http = HttpClient(echo_url)(method, path, headers, body)
    in_process = WsgiClient(_echo)(method, path, headers, body)
    assert over_http.body == in_process.body
    for answer in (over_http, in_process):
        assert answer.status == 299
        assert answer.headers["x-seen"] == "yes"
        assert json.loads(answer.body)["method"] == method


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        HttpClient("http://127.0.0.1:1")("GET", "/", {}, None)
    with pytest.raises(ValueError, match="not an address"):
        HttpClient("localhost:8000")
