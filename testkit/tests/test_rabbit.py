"""The broker that other tests stand on, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker

from testkit import apt, janitor, rabbit, services
from testkit.rabbit import PrivateRabbit
from testkit.running import ROOT
from testkit.waiting import eventually
from WalletCore.topology import Topology

QUORUM = {"x-queue-type": "quorum"}


@contextmanager
def channel_to(url: str) -> Iterator[BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


def keep(url: str, queue: str, text: bytes) -> None:
    """Put a message into a queue and wait until the broker has it."""
    with channel_to(url) as channel:
        channel.queue_declare(queue, durable=True, arguments=QUORUM)
        persistent = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", queue, text, persistent, mandatory=True)


def kept(url: str, queue: str) -> bytes | None:
    """The first message of a queue."""
    with channel_to(url) as channel:
        _, _, body = channel.basic_get(queue, auto_ack=True)
        return None if body is None else bytes(body)


def exists(url: str, kind: str, name: str) -> bool:
    """Whether the broker has the ``kind``, exchange or queue, of this name."""
    with channel_to(url) as channel:
        try:
            getattr(channel, f"{kind}_declare")(name, passive=True)
        except ChannelClosedByBroker:
            return False
        return True


@pytest.mark.faults
def test_what_was_confirmed_survives_being_killed_and_not_being_wiped(
    private_rabbit: PrivateRabbit,
) -> None:
    url = private_rabbit.url
    keep(url, "kept", b"message")
    private_rabbit.kill()
    with pytest.raises(AMQPConnectionError):
        pika.BlockingConnection(pika.URLParameters(url))
    assert private_rabbit.start() == url
    assert kept(url, "kept") == b"message"
    private_rabbit.wipe()
    assert private_rabbit.start() == url
    assert not exists(url, "queue", "kept")


@pytest.mark.faults
def test_a_stopped_node_comes_back_with_what_it_had(private_rabbit: PrivateRabbit) -> None:
    keep(private_rabbit.url, "kept", b"message")
    private_rabbit.stop()
    private_rabbit.stop()
    assert kept(private_rabbit.restart(), "kept") == b"message"


@pytest.mark.faults
def test_two_nodes_stand_beside_each_other_and_leave_nothing(
    private_rabbit: PrivateRabbit,
) -> None:
    with PrivateRabbit() as other:
        keep(private_rabbit.url, "kept", b"message")
        assert not exists(other.url, "queue", "kept")
        assert janitor.processes_with(other._mark)
    assert not janitor.processes_with(other._mark)
    assert not other._folder.exists()
    assert kept(private_rabbit.url, "kept") == b"message"


@pytest.mark.faults
def test_a_node_that_cannot_start_says_why_at_once() -> None:
    private = PrivateRabbit()
    private._data.write_text("not a folder")
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="RabbitMQ ended"):
        private.start()
    assert time.monotonic() - began < rabbit.START_TIMEOUT_SECONDS
    assert not janitor.processes_with(private._mark)
    private.close()


@pytest.mark.faults
def test_the_janitor_ends_a_node_whose_run_was_killed(tmp_path: Path) -> None:
    folder = services.make_run_folder()
    mark = f"{services.RUN_FOLDER_VARIABLE}={folder}"
    command = "from testkit.rabbit import amqp_url_of_run as url; print(url(), flush=True); input()"
    environment = {
        name: value for name, value in os.environ.items() if name != services.AMQP_URL_VARIABLE
    }
    with subprocess.Popen(
        [sys.executable, "-c", command],
        cwd=ROOT,
        env={**environment, services.RUN_FOLDER_VARIABLE: str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        run.kill()
    keep(url, "kept", b"message")
    assert janitor.processes_with(mark)
    janitor.clear_up(folder)
    eventually(lambda: not janitor.processes_with(mark), "the end of the node")
    assert not folder.exists()


def test_a_prefix_of_its_own_and_nothing_left_of_it(amqp_url: str, amqp_prefix: str) -> None:
    with rabbit.prefix_on(amqp_url) as prefix:
        assert prefix != amqp_prefix
        names = Topology(prefix, delivery_limit=3)
        with channel_to(amqp_url) as channel:
            for method, arguments in names.steps():
                getattr(channel, method)(**arguments)
        assert exists(amqp_url, "queue", names.dead_queue)
        assert exists(amqp_url, "exchange", names.exchange)
    for queue in (names.queue, names.dead_queue):
        assert not exists(amqp_url, "queue", queue)
    for exchange in (names.exchange, names.dead_exchange):
        assert not exists(amqp_url, "exchange", exchange)


def test_the_named_broker_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(services.AMQP_URL_VARIABLE, "amqp://broker.example/")
    assert rabbit.amqp_url_of_run() == "amqp://broker.example/"


def test_a_private_port_is_none_that_a_client_is_given() -> None:
    ports = {rabbit._free_port() for _ in range(20)}
    assert len(ports) == 20
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    assert max(ports) < int(given.split()[0])


def test_a_node_has_nothing_to_do_with_the_machines_broker(amqp_url: str) -> None:
    assert urlsplit(amqp_url).port != 5672 or services.AMQP_URL_VARIABLE in os.environ


def test_a_missing_program_is_installed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\n')
    apt_get.chmod(0o755)
    monkeypatch.setattr(apt, "POLICY", tmp_path / "policy")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv(services.RUN_FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    for _ in range(2):
        with pytest.raises(services.ServiceUnavailable, match="There is no thing here: apt-get"):
            services.installed("thing", lambda: None, "a-package", 10.0)
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["update -q", "install -y -q --no-install-recommends a-package"]
    assert services.installed("thing", lambda: "/found", "a-package") == "/found"


def test_services_of_installed_packages_stay_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(apt, "POLICY", policy)
    with apt._no_service_starts():
        assert subprocess.run([policy], check=False).returncode == 101
    assert not policy.exists()
    policy.write_text("the machine's own")
    with apt._no_service_starts():
        pass
    assert policy.read_text() == "the machine's own"
