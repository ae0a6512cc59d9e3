"""How a case reaches the service: in process through WSGI, or over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HTTP_TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 65_536
"""The size of a chunk of a body that is sent in chunks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client(Protocol):
    """Sends one request. ``path`` is percent-encoded and carries the query."""

    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """The answer to the request, whatever its status."""


class WsgiClient:
    """Calls a WSGI application in this process.

    The environment is made here, without a client library, so that nothing tidies up a request
    that is meant to be wrong.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """The application's answer, read to its end."""
        raw_path, _, query = path.partition("?")
        environ: dict[str, object] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            # PEP 3333: bytes as Latin-1 text.
            "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
            "RAW_URI": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1:8000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body or b""),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if _is_chunked(headers):
            # What gunicorn and granian do: the stream itself knows where it ends.
            environ["wsgi.input_terminated"] = True
        elif body is not None:
            environ["CONTENT_LENGTH"] = str(len(body))
        for name, value in headers.items():
            variable = name.upper().replace("-", "_")
            if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                variable = f"HTTP_{variable}"
            environ[variable] = value
        chunks, status, received = run_wsgi_app(self._app, environ, buffered=True)
        return Answer(
            status=int(status.split(" ", 1)[0]),
            headers={name.lower(): value for name, value in received},
            body=b"".join(chunks),
        )


class HttpClient:
    """Speaks HTTP/1.1 to a running service, one connection per request, each with ``api_key``
    unless it brings an Authorization of its own.

    Raises OSError if nobody listens at ``base_url`` (``http://host:port``), ValueError if that is
    not an address.
    """

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        self._api_key = api_key
        address = urlsplit(base_url)
        if address.scheme not in ("http", "https") or address.hostname is None:
            raise ValueError(f"{base_url!r} is not an address such as http://127.0.0.1:8000")
        self._secure = address.scheme == "https"
        self._host = address.hostname
        self._port = address.port
        self._prefix = address.path.rstrip("/")

    def __call__(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """The service's answer, also when it answers before the whole body is sent."""
        if self._api_key is not None and "authorization" not in map(str.lower, headers):
            headers = {**headers, "Authorization": f"Bearer {self._api_key}"}
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=HTTP_TIMEOUT_SECONDS)
        try:
            # Connecting is apart from sending, so that a service that is not there is an error.
            connection.connect()
            # A service that refuses a body before its end has its answer there to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._send(connection, method, self._prefix + path, headers, body)
            response = connection.getresponse()
            received = response.read()
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.getheaders()},
                body=received,
            )
        finally:
            connection.close()

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> None:
        if body is not None and _is_chunked(headers):
            chunks = (body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES))
            connection.request(method, path, chunks, dict(headers), encode_chunked=True)
        else:
            connection.request(method, path, body, dict(headers))


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return any(
        name.lower() == "transfer-encoding" and value.lower() == "chunked"
        for name, value in headers.items()
    )
