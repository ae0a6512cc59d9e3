"""RabbitMQ for the tests: the broker that the environment names, or private nodes.

A private node shares nothing with a broker that the machine has: neither data, cookie and
configuration nor any port.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from testkit.janitor import end_processes, processes_with
from testkit.services import (
    AMQP_URL_VARIABLE,
    RUN_FOLDER_VARIABLE,
    ServiceUnavailable,
    installed,
    lock,
    new_folder,
    run_folder,
)
from testkit.waiting import eventually
from WalletCore.topology import Topology

INSTALL_TIMEOUT_SECONDS: Final = 300.0
START_TIMEOUT_SECONDS: Final = 60.0
STOP_TIMEOUT_SECONDS: Final = 30.0
NAMES_LIMIT_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.05
"""Looking more often would take a good part of a core from the node that is to start."""
GONE_LOOKS: Final = 10
LOG_TAIL_CHARACTERS: Final = 4000

PORTS: Final = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections (32768 and up). From among those a client
that keeps trying to reach a dead node is given the node's own port some day: TCP then connects it
to itself, and the node cannot have its port back.
"""
PORT_ATTEMPTS: Final = 100

SCRIPTS: Final = (
    # Not those in the PATH if it can be helped: as root they change to the user rabbitmq, who can
    # not write to the folders of a test, and to the machine's own folders.
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
)

_prefix_numbers = itertools.count(1)


class PrivateRabbit:
    """A RabbitMQ of a test's own, to be killed and restarted at will.

    It is a single node without plugins. ``url`` stays the same. Used as a context manager it is
    started, and removed at the end. Raises ServiceUnavailable where there is no RabbitMQ.
    """

    def __init__(self) -> None:
        if not Path("/proc/self/environ").exists():
            raise ServiceUnavailable(
                f"A private RabbitMQ needs Linux; name a broker with {AMQP_URL_VARIABLE}."
            )
        self._binary = rabbitmq_binary()
        self._folder = new_folder("rabbit")
        self._data = self._folder / "data"
        self._port = _free_port()
        self._distribution_port = _free_port()
        self._epmd_port = _free_port()
        self._name = f"coffer-{self._port}@localhost"
        # All processes of the node have it in their environment, and no others.
        self._mark = f"HOME={self._folder}"
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/%2F"

    def start(self) -> str:
        """Start it and wait until a connection opens; returns its URL.

        Raises RuntimeError with the end of its log if it ends instead.
        """
        with self._log().open("ab") as log:
            # The shell ends at once, so that the node is nobody's child: the one who started it may
            # end before it, and init waits for it in the end.
            subprocess.run(
                ["sh", "-c", '"$0" "$@" &', self._binary, *self._arguments()],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=True,
            )
        eventually(self._answers_or_dead, f"RabbitMQ, see {self._log()}", START_TIMEOUT_SECONDS)
        if self._gone():
            raise RuntimeError(
                f"RabbitMQ ended: {self._log().read_text(errors='replace')[-LOG_TAIL_CHARACTERS:]}"
            )
        return self.url

    def kill(self) -> None:
        """Kill it with SIGKILL: at once, unless a quorum queue was declared a moment ago.

        RabbitMQ before 3.13.3 writes the name of a new one to the disk up to a second late. One
        that is killed by then comes back with a queue that has lost what was confirmed and never
        finds a leader, until somebody deletes it (https://github.com/rabbitmq/ra/pull/443).
        """
        with contextlib.suppress(TimeoutError):
            eventually(self._has_written_names, "the names of the queues", NAMES_LIMIT_SECONDS)
        self._end()

    def restart(self) -> str:
        """Kill it if it runs, and start it anew."""
        self.kill()
        return self.start()

    def stop(self) -> None:
        """Stop it in an orderly way, as an administrator would."""
        with contextlib.suppress(FileNotFoundError):
            pid = int((self._folder / "pid").read_text())
            # The file outlives a killed node, and the number may be another process's by now.
            if pid in processes_with(self._mark):
                os.kill(pid, signal.SIGTERM)
        eventually(
            lambda: not processes_with(self._mark), "the end of RabbitMQ", STOP_TIMEOUT_SECONDS
        )

    def wipe(self) -> None:
        """Kill it and remove its data: the next start begins with an empty broker."""
        self._end()
        shutil.rmtree(self._data, ignore_errors=True)

    def close(self) -> None:
        """Kill it and remove what it left."""
        self._end()
        shutil.rmtree(self._folder)

    def _arguments(self) -> list[str]:
        """Arguments of erl, which the script hands on.

        A node that is named here rather than by RabbitMQ does not wait for epmd, the daemon that
        tells nodes each other's ports, which saves a second. After a minute RabbitMQ misses it and
        starts one, in the node's environment.
        """
        return [
            "-noinput",
            *("-sname", self._name, "-start_epmd", "false"),
            *("-erl_epmd_port", str(self._distribution_port)),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
        ]

    def _environment(self) -> dict[str, str]:
        """Nothing of the user's: RABBITMQ_ and ERL_ variables would have a say."""
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(folder),
            RUN_FOLDER_VARIABLE: str(run_folder()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            # The script becomes the node instead of waiting for it; -noinput makes up for it.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            # By default every node would bind its first thread to the first core.
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
            # None of the files of configuration exists: reading even an empty one takes RabbitMQ
            # most of a second.
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.sh"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILES": str(folder / "none.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "no_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
        }

    def _end(self) -> None:
        """Kill the node and the small programs that it has started."""
        eventually(lambda: end_processes(self._mark) == 0, "the end of the killed RabbitMQ")

    def _has_written_names(self) -> bool:
        """Whether every quorum queue, each a folder, is in the file of their names."""
        for file in self._data.glob("*/quorum/*/names.dets"):
            names = file.read_bytes()
            queues = (entry.name for entry in file.parent.iterdir() if entry.is_dir())
            if not all(queue.encode() in names for queue in queues):
                return False
        return True

    def _log(self) -> Path:
        return self._folder / "output.log"

    def _answers_or_dead(self) -> bool:
        time.sleep(POLL_SECONDS)
        with contextlib.suppress(OSError):
            # pika takes its time, and logs every failure.
            socket.create_connection(("127.0.0.1", self._port), STOP_TIMEOUT_SECONDS).close()
            return _opens(self.url)
        return self._gone()

    def _gone(self) -> bool:
        """Whether it has ended. A program that takes another's place has no environment for a
        moment, and the script does that several times: one look is not enough.
        """
        for _ in range(GONE_LOOKS):
            if processes_with(self._mark):
                return False
            time.sleep(POLL_SECONDS)
        return True

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill and remove."""
        self.close()


def rabbitmq_binary() -> str:
    """The path of the script rabbitmq-server. On Debian root installs it if need be, without
    starting the service; otherwise raises ServiceUnavailable.
    """
    return installed("rabbitmq-server", _find_script, "rabbitmq-server", INSTALL_TIMEOUT_SECONDS)


def _find_script() -> str | None:
    return next(filter(None, map(shutil.which, (*SCRIPTS, "rabbitmq-server"))), None)


def amqp_url_of_run() -> str:
    """The URL of the named broker, or of one private node for all workers of the run.

    A node takes seconds of both cores to start, so the first caller starts it, and the janitor ends
    it after the run.
    """
    named = os.environ.get(AMQP_URL_VARIABLE)
    if named:
        return named
    started = run_folder() / "rabbit.url"
    with lock("shared-rabbit"):
        if not started.exists():
            started.write_text(PrivateRabbit().start())
        return started.read_text()


@contextlib.contextmanager
def prefix_on(url: str) -> Iterator[str]:
    """A new prefix of names on a broker that others use too; what bears those names is deleted at
    the end.
    """
    prefix = f"coffer-test-{secrets.token_hex(3)}-{next(_prefix_numbers)}"
    yield prefix
    names = Topology(prefix, delivery_limit=1)
    with _connection(url) as connection:
        channel = connection.channel()
        # Deleting what is not there is no error.
        for queue in (names.queue, names.dead_queue):
            channel.queue_delete(queue)
        for exchange in (names.exchange, names.dead_exchange):
            channel.exchange_delete(exchange)


def _opens(url: str) -> bool:
    from pika.exceptions import AMQPError  # noqa: PLC0415 - not every test needs pika

    with contextlib.suppress(AMQPError), _connection(url):
        return True
    return False


def _connection(url: str) -> Any:
    """A pika.BlockingConnection, which closes as a context manager."""
    import pika  # noqa: PLC0415 - not every test needs it

    return pika.BlockingConnection(pika.URLParameters(url))


def _free_port() -> int:
    """A port of PORTS that nobody listens on and nobody in this run was given."""
    for port in secrets.SystemRandom().sample(PORTS, PORT_ATTEMPTS):
        with contextlib.suppress(OSError):
            (run_folder() / f"port-{port}").touch(exist_ok=False)
            socket.create_server(("127.0.0.1", port)).close()
            return port
    raise RuntimeError(f"none of {PORT_ATTEMPTS} ports from {PORTS.start} up is free")
