"""The floor: what Flask on the same server can do when it does nothing.

One bare route at the path of the real one. It parses the same body with the project's JSON library
and answers a document of the same shape and size. No checks, no log, no metrics, no wallet.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import granian
import orjson
from flask import Flask, Response, request
from gunicorn.app.base import Application

from benchmarks.measurements import GRANIAN
from RestAPI.server import CONFIG_FILE, serve
from WalletCore.settings import load_settings

app = Flask("floor")


@app.post("/api/v1/wallets/<wallet_id>/operation")
def operate(wallet_id: str) -> Response:
    """Answer with what came in."""
    order: dict[str, Any] = orjson.loads(request.get_data())
    document = {
        "id": "01994a5d-ac96-774b-bcce-b302099a8057",
        "wallet_id": wallet_id,
        "operation_type": order["operation_type"],
        "amount": order["amount"],
        "currency": "USD",
        "previous_balance": "0.00",
        "new_balance": order["amount"],
        "seq": 1,
        "status": "COMPLETED",
        "reference": order["reference"],
        "description": None,
        "metadata": order["metadata"],
        "created_at": "2030-01-31T12:00:00.000000Z",
    }
    return Response(orjson.dumps(document), content_type="application/json")


@app.get("/ping")
def ping() -> Response:
    """Say that the server is up."""
    return Response(b'{"ping":"pong"}', content_type="application/json")


def main() -> None:
    """Serve it as ``python -m RestAPI server`` serves the service, on the server that is set."""
    settings = load_settings()
    if settings.web_server == GRANIAN:
        real = granian.Granian

        def on_the_floor(_target: str, *, factory: bool, **options: Any) -> Any:
            del factory
            return real("benchmarks.floor:app", **options)

        with mock.patch("granian.Granian", on_the_floor):
            serve(settings)
    else:
        GunicornFloor().run()


class GunicornFloor(Application):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn with the service's own file, but with another application and without its store."""

    def load_config(self) -> None:
        """Take the service's file, but for what it does around its store."""
        self.load_config_from_file(str(CONFIG_FILE))
        for hook in ("post_fork", "worker_exit", "child_exit"):
            self.cfg.set(hook, _do_nothing)

    def load(self) -> Flask:
        """What is served."""
        return app


def _do_nothing(_server: object, _worker: object) -> None:
    """Stand in for a hook."""


if __name__ == "__main__":
    main()
