"""A RabbitMQ of the stand's own (`testkit.rabbit`): data, ports and cookie are shared with nobody.

It runs with its own default settings, and writes to the folder of the stand, which is on a disk.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock
from urllib.parse import urlsplit

from pika.frame import ProtocolHeader, decode_frame

from benchmarks.programs import CannotMeasure
from testkit.janitor import processes_with
from testkit.rabbit import PrivateRabbit
from testkit.services import RUN_FOLDER_VARIABLE, ServiceUnavailable

GREETING_TIMEOUT_SECONDS: Final = 5.0
RECEIVE_BYTES: Final = 65536


class BrokerMissing(Exception):
    """There is no RabbitMQ here. The text says why."""


class Broker:
    """A RabbitMQ that runs; ``url`` stays the same when it is killed and started again."""

    def __init__(self, rabbit: PrivateRabbit) -> None:
        self._rabbit = rabbit
        self.url = rabbit.url
        self._port = urlsplit(rabbit.url).port or 0

    @property
    def pid(self) -> int:
        """The number of its first process, which is nobody's child; 0 if there is none."""
        return min(processes_with(f"RABBITMQ_NODE_PORT={self._port}"), default=0)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._rabbit.kill()

    def start(self) -> None:
        """Start it again. Raises CannotMeasure."""
        try:
            self._rabbit.start()
        except (OSError, RuntimeError) as error:
            raise CannotMeasure(f"RabbitMQ does not come back: {error}") from None

    def version(self) -> str:
        """Its version, out of the first thing that it says to a client (AMQP 0-9-1, 4.2.2)."""
        address = ("127.0.0.1", self._port)
        received, frame = b"", None
        with socket.create_connection(address, GREETING_TIMEOUT_SECONDS) as client:
            client.sendall(ProtocolHeader().marshal())
            while frame is None and (part := client.recv(RECEIVE_BYTES)):
                received += part
                _, frame = decode_frame(received)
        greeting: Any = frame
        return str(greeting.method.server_properties["version"]) if greeting else "unknown"


@contextlib.contextmanager
def private_broker(folder: Path) -> Iterator[Broker]:
    """A new and empty RabbitMQ in ``folder``, killed and removed at the end.

    Its processes carry the folder in their environment, by which the stand's janitor finds them if
    we cannot end them ourselves. Raises BrokerMissing.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {RUN_FOLDER_VARIABLE: str(folder)}))
        try:
            rabbit = stack.enter_context(PrivateRabbit())
        except ServiceUnavailable as error:
            raise BrokerMissing(str(error)) from None
        except (OSError, RuntimeError) as error:  # TimeoutError is an OSError
            raise BrokerMissing(f"RabbitMQ does not start: {error}") from None
        yield Broker(rabbit)
