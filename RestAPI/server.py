"""``python -m RestAPI server``: what lies between the settings and a server that serves.

The metrics' folder must be named before anything imports prometheus_client, so this module imports
what does only inside its functions.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from WalletCore.database import (
    embedded_database,
    has_working_key,
    require_currencies,
    require_schema,
)
from WalletCore.log_level import block_signals
from WalletCore.metrics_folder import METRICS_FOLDER_VARIABLE
from WalletCore.settings import Settings

if TYPE_CHECKING:
    from RestAPI.wsgi import Service

CONFIG_FILE: Final = Path(__file__).resolve().parent / "gunicorn.conf.py"

GRANIAN_BACKLOG_CONNECTIONS: Final = 2048
GRANIAN_STOP_SECONDS: Final = 8
"""Until it kills a worker that still works: below the 10 s after which a supervisor may kill us. It
bounds requests and store together; there is no limit for the requests alone to be set."""

GRANIAN_HEADER_MILLISECONDS: Final = 10_000
"""For the headers of a request, as BODY_TIMEOUT_SECONDS of gunicorn's worker. For the body granian
has no limit (none of its settings is one), and a thread waits for it: behind it put a proxy that
reads requests whole wherever clients are not to be trusted."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises CannotRun; ends by SystemExit."""
    # In every thread that is started from here on.
    block_signals()
    prepare_metrics_folder(settings)

    from RestAPI.access import (  # noqa: PLC0415
        require_a_key,
        require_access,
        require_secret,
        tell_of_access,
    )
    from WalletCore.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    require_access(settings)
    require_secret(settings)
    with embedded_database(settings) as complete:
        if not complete.in_memory and complete.database_url is not None:
            url = complete.database_url.get_secret_value()
            require_schema(url)
            require_currencies(url, complete.currencies)
            require_a_key(complete, lambda: has_working_key(url))
        tell_of_access(complete)
        if complete.web_server == "granian":
            _serve_granian(complete)
        else:
            _serve_gunicorn()


def prepare_metrics_folder(settings: Settings) -> None:
    """Name and empty the folder where several processes count together, unless one is named.

    One process counts in its memory. The port is in the name, so that two servers on one data
    folder do not empty each other's.
    """
    if METRICS_FOLDER_VARIABLE in os.environ or settings.worker_count == 1:
        return
    folder = settings.data_dir.resolve() / "metrics" / str(settings.port)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.db"):
        stale.unlink(missing_ok=True)
    os.environ[METRICS_FOLDER_VARIABLE] = str(folder)


def _serve_gunicorn() -> None:
    from gunicorn.app.base import Application  # noqa: PLC0415

    class Server(Application):  # type: ignore[misc]  # gunicorn has no types
        """Gunicorn with our file and nothing else: neither arguments nor GUNICORN_CMD_ARGS."""

        def load_config(self) -> None:
            self.load_config_from_file(str(CONFIG_FILE))

        def load(self) -> Service:
            from RestAPI.wsgi import application  # noqa: PLC0415

            return application

    Server().run()


def _serve_granian(settings: Settings) -> None:
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    from WalletCore.log_level import watch_signals  # noqa: PLC0415

    watch_signals(lambda: [one.pid for one in multiprocessing.active_children() if one.pid])
    to_our_handler: dict[str, Any] = {"handlers": [], "propagate": True}
    Granian(
        "RestAPI.wsgi:open_application",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.host,
        port=settings.port,
        workers=settings.worker_count,
        blocking_threads=settings.server_threads,
        backlog=GRANIAN_BACKLOG_CONNECTIONS,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=GRANIAN_HEADER_MILLISECONDS),
        log_level=LogLevels(settings.log_level.lower()),
        log_dictconfig={
            "formatters": {},
            "handlers": {},
            "loggers": {"_granian": to_our_handler, "granian.access": to_our_handler},
        },
        respawn_failed_workers=True,
        workers_kill_timeout=GRANIAN_STOP_SECONDS,
        process_name=None,
    ).serve()
