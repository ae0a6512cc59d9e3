# ruff: noqa: N999 - gunicorn's name for this file
"""How gunicorn serves Coffer: threads, one process per core, the store opened after the fork.

``python -m RestAPI server`` uses it; ``gunicorn -c RestAPI/gunicorn.conf.py`` would as well.
https://docs.gunicorn.org/en/stable/settings.html
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from RestAPI.access import bracketed, require_access
from RestAPI.wsgi import application
from WalletCore.log_level import block_signals, watch_signals
from WalletCore.settings import load_settings
from WalletCore.telemetry import forget_process

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

block_signals()
_settings = load_settings()
require_access(_settings)

wsgi_app = "RestAPI.wsgi:application"
bind = [f"{bracketed(_settings.host)}:{_settings.port}"]
workers = _settings.worker_count
threads = _settings.server_threads
worker_class = "RestAPI.gunicorn_parts.ProblemWorker"
logger_class = "RestAPI.gunicorn_parts.CofferLogger"
loglevel = _settings.log_level.lower()
proc_name = "coffer"

# Everything is imported once, before the fork, and shared by the workers as long as they do not
# change it.
preload_app = True
# The control socket is a way in that nobody here needs.
control_socket_disable = True

backlog = 2048
# Connections beyond the threads wait with the poller; this bounds them.
worker_connections = 1000 + threads
keepalive = 75
# A worker whose main loop hangs for so long is replaced.
timeout = 60
# When the master kills a worker that still works: below the 10 s after which a supervisor may kill
# the master. ProblemWorker itself stops waiting for requests earlier, and closes the store.
graceful_timeout = 9

# The heartbeat's file must not be on a disk that can stall.
worker_tmp_dir = str(SHARED_MEMORY) if os.access(SHARED_MEMORY, os.W_OK) else None

# Wide enough for the application's own words about a long key or cursor; beyond, ProblemWorker's.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 64 * 1024


def when_ready(server: Any) -> None:
    """Let Ctrl-C stop as gently as SIGTERM does, and the signals for the log reach the workers.

    Gunicorn itself would open log files anew on USR1, of which there are none, and replace itself
    on USR2, which the database of `make run` would not survive.
    """
    watch_signals(lambda: list(server.WORKERS))
    signal.signal(signal.SIGINT, lambda *_: server.signal(signal.SIGTERM, None))


def post_fork(server: Any, worker: Any) -> None:
    """Open the store in the worker.

    It does not wait for the database: gunicorn takes a worker that fails to boot as a reason to
    stop all others, and one that is replaced while the database is away must not be that.
    """
    watch_signals()
    worker.signals_before = server.SIG_QUEUE
    application.open()


def post_worker_init(_worker: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the master."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def worker_exit(_server: Any, _worker: Any) -> None:
    """Close the store, after the last request."""
    application.close()


def child_exit(_server: Any, worker: Any) -> None:
    """Forget the gauges of a worker, however it ended."""
    forget_process(worker.pid)
