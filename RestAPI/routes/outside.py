"""What lies outside the API: health, metrics, the pages of the console, the shop and the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flask import Response

from RestAPI.endpoint import endpoint, json_response
from RestAPI.reading import JSON_TYPE
from RestAPI.schemas.outside import Liveness, Pong, Readiness
from WalletCore.domain.errors import RETRY_AFTER_SECONDS, CofferError
from WalletCore.domain.model import Document
from WalletCore.store import Store
from WalletCore.telemetry import METRICS_CONTENT_TYPE, READY, render_metrics

STATIC_FOLDER: Final = Path(__file__).resolve().parent.parent / "static"
HTML_TYPE: Final = "text/html; charset=utf-8"
YAML_TYPE: Final = "application/yaml"
"""https://www.rfc-editor.org/rfc/rfc9512: always UTF-8, so there is no charset to name."""

TAG: Final = "Service"
UNAVAILABLE: Final = 503


class HealthRoutes:
    """Whether the service works, for people and for machines."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @endpoint(tag=TAG, responses={200: Pong})
    def ping(self) -> Document:
        """Ask for a sign of life

        Answered before anything else is looked at.
        """
        return {"ping": "pong"}

    @endpoint(tag=TAG, responses={200: Liveness})
    def live(self) -> Document:
        """Ask whether the process is alive

        It does not look at the database: a process must not be restarted because that is away.
        """
        return {"status": "alive"}

    @endpoint(tag=TAG, responses={200: Readiness, 503: Readiness})
    def ready(self) -> Response:
        """Ask whether requests can be done

        503 names what is missing.
        """
        missing = self._store.missing()
        if missing:
            response = json_response({"status": "not ready", "missing": missing}, UNAVAILABLE)
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        return json_response({"status": "ready", "missing": []})

    @endpoint(tag=TAG, responses={200: None}, media_type="text/plain")
    def metrics(self) -> Response:
        """Read the metrics

        In the text format of Prometheus, for all processes of this server.
        """
        try:
            READY.set(0 if self._store.missing() else 1)
        except CofferError:
            READY.set(0)
        return Response(render_metrics(), content_type=METRICS_CONTENT_TYPE)


class PageRoutes:
    """The pages for people, the OpenAPI document that the second of them shows, and the AsyncAPI
    document of the events.
    """

    def __init__(self, document: bytes) -> None:
        self._document = document
        self._console = (STATIC_FOLDER / "console.html").read_bytes()
        self._shop = (STATIC_FOLDER / "shop.html").read_bytes()
        self._docs = (STATIC_FOLDER / "docs.html").read_bytes()
        self._asyncapi = (STATIC_FOLDER / "asyncapi.yaml").read_bytes()

    def openapi(self) -> Response:
        """The OpenAPI document."""
        return Response(self._document, content_type=JSON_TYPE)

    def asyncapi(self) -> Response:
        """The AsyncAPI document."""
        return Response(self._asyncapi, content_type=YAML_TYPE)

    def console(self) -> Response:
        """The console."""
        return Response(self._console, content_type=HTML_TYPE)

    def shop(self) -> Response:
        """The shop."""
        return Response(self._shop, content_type=HTML_TYPE)

    def docs(self) -> Response:
        """The documentation, in Swagger UI."""
        return Response(self._docs, content_type=HTML_TYPE)
