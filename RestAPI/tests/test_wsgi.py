"""The application for any server: opened once per process, closed by the process that opened it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from pydantic import SecretStr
from werkzeug.test import Client

from RestAPI.tests.running import ROOT, environment
from RestAPI.wsgi import Service
from WalletCore.settings import MEMORY_URL, Settings

MEMORY = Settings(database_url=SecretStr(MEMORY_URL), redis_url=None, amqp_url=None)
AWAY = Settings(
    database_url=SecretStr("postgresql://nobody@/coffer?host=/nowhere"),
    redis_url=None,
    amqp_url=None,
)
UNREACHABLE = Settings(database_url=SecretStr("nonsense://"), redis_url=None, amqp_url=None)


def test_the_first_request_opens_it() -> None:
    service = Service(MEMORY)
    client = Client(service)
    assert client.post("/api/v1/wallets").status_code == 201
    assert len(client.get("/api/v1/wallets").get_json()["items"]) == 1
    service.close()
    service.close()


def test_many_first_requests_open_it_once() -> None:
    service = Service(MEMORY)
    opened: list[object] = []
    threads = [threading.Thread(target=lambda: opened.append(service.open())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 16
    assert len({id(app) for app in opened}) == 1
    service.close()


FORKING = """
import os
from RestAPI.wsgi import application
from werkzeug.test import Client

client = Client(application)
for _ in range(3):
    assert client.post("/api/v1/wallets").status_code == 201
child = os.fork()
if child == 0:
    # A thread does not survive a fork: with the parent's store this would wait for ever.
    assert client.post("/api/v1/wallets").status_code == 201
    assert len(client.get("/api/v1/wallets").get_json()["items"]) == 1
    application.close()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert len(client.get("/api/v1/wallets").get_json()["items"]) == 3
assert client.post("/api/v1/wallets").status_code == 201
print("done")
"""


def test_a_forked_process_opens_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        cwd=ROOT,
        env=environment(COFFER_DATABASE_URL="memory://", COFFER_LOG_LEVEL="ERROR"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_store_that_does_not_open_is_503_and_tried_again() -> None:
    service = Service(UNREACHABLE)
    for _ in range(2):
        answer = Client(service).get("/api/v1/wallets")
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert "nonsense" not in answer.get_data(as_text=True)


def test_closing_in_another_process_leaves_the_store_alone() -> None:
    service = Service(MEMORY)
    client = Client(service)
    client.post("/api/v1/wallets")
    service._pid = os.getppid()
    service.close()
    service._pid = os.getpid()
    assert len(client.get("/api/v1/wallets").get_json()["items"]) == 1
    service.close()


def test_a_request_after_the_end_is_refused_and_opens_nothing() -> None:
    service = Service(MEMORY)
    client = Client(service)
    assert client.post("/api/v1/wallets").status_code == 201
    service.close()
    answer = client.post("/api/v1/wallets")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert service._store is None


def test_it_opens_without_the_database_and_without_waiting() -> None:
    service = Service(AWAY)
    started = time.monotonic()
    service.open()
    assert time.monotonic() - started < 5
    assert Client(service).get("/health/live").status_code == 200
    answer = Client(service).get("/health/ready")
    assert (answer.status_code, answer.get_json()["missing"]) == (503, ["database"])
    service.close()
