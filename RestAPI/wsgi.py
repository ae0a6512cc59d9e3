"""The service as a WSGI application for any server that forks or spawns its workers.

A store owns threads and connections, which do not survive a fork. So it is opened in the process
that serves: by ``application.open()`` where the server tells of its forks (gunicorn), by
``open_application`` where it asks for a factory (granian), and otherwise with the first request.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterable
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from RestAPI.app import Application, create_app
from RestAPI.shop_errors import error_response
from WalletCore.domain.errors import Unavailable
from WalletCore.log_level import watch_signals
from WalletCore.open_store import open_store
from WalletCore.settings import Settings, load_settings
from WalletCore.store import Store
from WalletCore.telemetry import configure_logging, forget_process, get_logger
from WalletCore.tracing import NO_TRACES, Tracer, open_tracer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

COLLECT_AFTER_OBJECTS = 50_000
"""A request leaves no cycles to speak of; looking for some after every 700 objects costs 5 %."""


def _settle() -> None:
    """Take what lives as long as the process out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 50)


class Service:
    """The application of whichever process it finds itself in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._pid: int | None = None
        self._app: Application | None = None
        self._store: Store | None = None
        self._tracer: Tracer = NO_TRACES
        self._closed_pid: int | None = None

    def open(self) -> WSGIApplication:
        """Open the store in this process, unless it is open, and return the application on it.

        It does not wait for the database. Raises what ``open_store`` raises, and Unavailable after
        ``close``.
        """
        with self._opening:
            if self._closed_pid == os.getpid():
                raise Unavailable("The service is stopping. Retry, another one may answer.")
            if self._app is None or self._pid != os.getpid():
                # What another process opened before it forked stays that process's to close.
                self._tracer = open_tracer(self._settings, "server")
                self._store = open_store(self._settings, wait=False, tracer=self._tracer)
                self._app = create_app(self._settings, self._store, self._tracer)
                self._pid = os.getpid()
                _settle()
                # Runs at the end of a program and of a child of multiprocessing, which atexit does
                # not, and only in the process that asked for it.
                Finalize(None, self.close, exitpriority=1)
            return self._app

    def end_streams(self) -> None:
        """Let streams and a profile end, which wait for no stop; the rest goes on.

        Not for a signal's handler: what it interrupts may hold a lock.
        """
        app = self._app
        if app is not None and self._pid == os.getpid():
            app.end_long_requests()

    def close(self) -> None:
        """Close the store if this process has opened one, after its last request.

        A request that comes later is refused: nobody would close a store opened for it.
        """
        with self._opening:
            if self._store is None or self._pid != os.getpid():
                return
            if self._app is not None:
                self._app.close()
            self._store.close()
            self._tracer.close()
            self._store = self._app = self._pid = None
            self._closed_pid = os.getpid()
        forget_process(os.getpid())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        app: WSGIApplication | None = self._app
        if app is None or self._pid != os.getpid():
            try:
                app = self.open()
            except Unavailable as error:
                return error_response(error, environ["PATH_INFO"])(environ, start_response)
            except Exception:  # noqa: BLE001 - whatever the store's libraries raise
                get_logger().exception("store_not_opened")
                closed = Unavailable("The service could not be opened yet. Retry.")
                return error_response(closed, environ["PATH_INFO"])(environ, start_response)
        return app(environ, start_response)


def open_application() -> Service:
    """The application with its store open: the factory for granian, called in each worker."""
    watch_signals()
    application.open()
    _watch_for_stop(application.end_streams)
    return application


def _watch_for_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` in a thread of its own on SIGTERM or SIGINT, whoever handles these afterwards.

    Granian waits for every answer before it tells anybody that it stops. For the main thread.
    https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                stop()

    threading.Thread(target=watch, name="stop-watcher", daemon=True).start()


_settings = load_settings()
configure_logging(_settings)
application = Service(_settings)
"""What a WSGI server serves: ``RestAPI.wsgi:application``."""
