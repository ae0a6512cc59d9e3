"""Profiles of a process: what is in them, their limits, and the command that asks for one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import orjson
import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from RestAPI.tests.keyed import World
from RestAPI.tests.running import ROOT, Server, environment, running
from testkit.running import free_port
from testkit.waiting import eventually
from WalletCore import profiling
from WalletCore.domain.errors import ProfileRunning, Unavailable
from WalletCore.flame_graph import WIDTH_PIXELS, speedscope, svg
from WalletCore.keys import Scope
from WalletCore.profiling import (
    DEEPER,
    MAX_PROFILE_SECONDS,
    MIN_PROFILE_SECONDS,
    OTHER_STACKS,
    WAITING,
    Function,
    Profile,
    Profiler,
    called_at,
    short_path,
)

NUMBER: Final = {"type": "number"}
SAMPLED: Final = {
    "type": "object",
    "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "sampled"},
        "name": {"type": "string"},
        "unit": {
            "enum": ["none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"]
        },
        "startValue": NUMBER,
        "endValue": NUMBER,
        "samples": {"type": "array", "items": {"type": "array", "items": NUMBER}},
        "weights": {"type": "array", "items": NUMBER},
    },
}
SPEEDSCOPE: Final = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "name": {"type": "string"},
        "exporter": {"type": "string"},
        "activeProfileIndex": NUMBER,
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "additionalProperties": False,
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": NUMBER,
                            "col": NUMBER,
                        },
                    },
                }
            },
        },
        "profiles": {"type": "array", "items": SAMPLED},
    },
}
"""What github.com/jlfwong/speedscope says in src/lib/file-format-spec.ts, of sampled profiles."""


def stacks_of(document: Any) -> list[tuple[list[str], int]]:
    """The names of each stack, and its weight; the document is checked first."""
    Draft202012Validator(SPEEDSCOPE).validate(document)
    (profile,) = document["profiles"]
    frames = document["shared"]["frames"]
    assert len(profile["samples"]) == len(profile["weights"])
    assert profile["endValue"] - profile["startValue"] == sum(profile["weights"])
    return [
        ([frames[place]["name"] for place in sample], weight)
        for sample, weight in zip(profile["samples"], profile["weights"], strict=True)
    ]


@contextmanager
def doing(work: Callable[[threading.Event], None], name: str = "worker-1") -> Iterator[None]:
    """A thread that does ``work`` until the end of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def spin(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(200))


def wait(stop: threading.Event) -> None:
    stop.wait()


def dive(stop: threading.Event, depth: int = profiling.MAX_FRAMES + 20) -> None:
    if depth:
        dive(stop, depth - 1)
    else:
        spin(stop)


@contextmanager
def under_load(server: Server, threads: int = 8) -> Iterator[str]:
    """A server that has deposits to do all the time. Gives the wallet's id."""
    _, wallet = server.ask("POST", "/api/v1/wallets", {"currency": "USD"})
    path = f"/api/v1/wallets/{wallet['id']}/operation"
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            status, _ = server.ask("POST", path, {"operation_type": "DEPOSIT", "amount": 1})
            assert status in (200, 503)

    started = [threading.Thread(target=load) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield wallet["id"]
    finally:
        stop.set()
        for thread in started:
            thread.join()


# -- A real server ----------------------------------------------------------------------------


def test_a_server_under_load_shows_what_it_does(tmp_path: Path, fresh_postgres_url: str) -> None:
    settings = {"COFFER_DATABASE_URL": fresh_postgres_url, "COFFER_WORKERS": "1"}
    wanted = {"Committer._attempt", "decide_batch", "PostgresTransaction.save"}
    functions: set[str] = set()
    stacks: list[tuple[list[str], int]] = []
    document: Any = None
    with running(tmp_path, **settings) as server, under_load(server):
        for _ in range(8):  # where the machine is busy, a few looks more are needed
            status, document = server.ask("GET", "/api/v1/profile?seconds=3")
            assert status == 200, document
            stacks = stacks_of(document)
            functions |= {name for stack, _ in stacks for name in stack}
            if wanted <= functions:
                break
    assert wanted <= functions, functions
    of_committer = [stack for stack, _ in stacks if "Committer._attempt" in stack]
    assert all(stack[0] == "thread committer" for stack in of_committer)
    # The request that asked is not in it, nor is anything that waits or says where it is.
    assert "Profiler.profile" not in functions
    assert WAITING not in functions
    assert document["name"].startswith("Process ")
    assert ", one of 1: " in document["name"]
    files = {frame.get("file", "") for frame in document["shared"]["frames"]}
    assert "WalletCore/committer.py" in files
    assert not any(file.startswith("/") for file in files)


@pytest.mark.parametrize("web_server", ["gunicorn", "granian"])
def test_one_at_a_time_and_none_holds_up_a_stop(tmp_path: Path, web_server: str) -> None:
    with running(tmp_path, COFFER_WEB_SERVER=web_server) as server:
        answers: list[tuple[int, Any]] = []
        path = f"/api/v1/profile?seconds={MAX_PROFILE_SECONDS}&waiting=true"
        first = threading.Thread(target=lambda: answers.append(server.ask("GET", path)))
        first.start()
        time.sleep(1)
        status, headers, body = server.send(
            b"GET /api/v1/profile?seconds=1 HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert status == 503
        problem = orjson.loads(body)
        assert problem["code"] == "profile_running"
        assert headers["retry-after"] == str(problem["retry_after_seconds"])
        assert MAX_PROFILE_SECONDS - 10 < int(headers["retry-after"]) < MAX_PROFILE_SECONDS
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 6
        first.join()
    ((status, document),) = answers
    assert status == 200
    assert stacks_of(document)


def test_only_an_admin_may_ask(world: World) -> None:
    path = "/api/v1/profile?seconds=1"
    assert world.call("GET", path, None).status_code == 401
    for scope in set(Scope) - {Scope.ADMIN}:
        assert world.call("GET", path, world.key(scope)).status_code == 403
    assert world.call("GET", path, world.key(Scope.ADMIN)).status_code == 200


def test_a_picture_has_no_script_and_says_what_it_is(client: FlaskClient) -> None:
    with doing(spin):
        answer = client.get("/api/v1/profile?seconds=1&format=svg")
    assert answer.content_type == "image/svg+xml"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    titles = [element.text for element in picture(answer.get_data()).iter(f"{SVG}title")]
    assert any(title is not None and title.startswith("spin (") for title in titles)


# -- What is seen -----------------------------------------------------------------------------


def test_work_is_told_from_waiting() -> None:
    with doing(spin, "worker-1"), doing(spin, "worker_2"), doing(wait, "waiter-1"):
        busy = Profiler().profile(1)
        everything = Profiler().profile(1, waiting=True)
    roots = {stack[0].name for stack in busy.stacks}
    assert "thread worker" in roots
    assert "thread waiter" not in roots
    waiters = [s for s in everything.stacks if s[0].name == "thread waiter"]
    assert {stack[-1].name for stack in waiters} == {WAITING}
    assert busy.pid == os.getpid()
    assert busy.samples > 5
    assert busy.waiting >= busy.samples
    spun = sum(n for s, n in busy.stacks.items() if "spin" in {f.name for f in s})
    # Both work, and share Python's lock.
    assert spun >= busy.samples


def test_what_is_deeper_or_beyond_is_counted_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with doing(dive):
        deep = next(
            stack for stack in Profiler().profile(1).stacks if "dive" in {f.name for f in stack}
        )
    # The thread, the frames, and what stands for the rest.
    assert len(deep) == 1 + profiling.MAX_FRAMES + 1
    assert deep[-1].name == DEEPER
    monkeypatch.setattr(profiling, "MAX_STACKS", 1)
    with doing(spin), doing(dive, "diver"):
        stacks = Profiler().profile(1).stacks
    assert len(stacks) == 2
    assert stacks[Function(OTHER_STACKS),] > 0


def test_looking_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    with doing(dive):
        free = Profiler().profile(1)
        monkeypatch.setattr(profiling, "MAX_SHARE_OF_TIME", 0.0001)
        bound = Profiler().profile(1)
    assert 0 < bound.samples < free.samples / 2


def test_one_at_a_time_and_an_early_end() -> None:
    profiler = Profiler()
    before = sys.getswitchinterval()
    found: list[Profile] = []
    thread = threading.Thread(target=lambda: found.append(profiler.profile(30)))
    with doing(spin):
        thread.start()
        eventually(lambda: profiler._ends_at, "its beginning")
        with pytest.raises(ProfileRunning, match="Retry in"):
            profiler.profile(1)
        profiler.end()
        thread.join(5)
    assert found[0].seconds < 10
    assert sys.getswitchinterval() == before
    with pytest.raises(Unavailable, match="shutting down"):
        profiler.profile(1)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("lock.acquire(timeout=max(0.0, until - clock()))", "acquire"),
        ("self.queue.get(block=not batch)", "get"),
        ("wait()", "wait"),
        ("a.b.c(d.e(f), g(*h))", "c"),
        ("first(\n    1\n).second(\n    2\n)", "second"),
    ],
)
def test_what_is_called_is_found_whatever_its_arguments(call: str, name: str) -> None:
    import dis

    code = compile(call, "x", "eval")
    calls = [i.offset for i in dis.get_instructions(code) if i.opname.startswith("CALL")]
    assert called_at(code, calls[-1]) == name
    assert called_at(code, 0) == ""


def test_a_path_says_nothing_of_where_the_service_is() -> None:
    assert short_path(profiling.__file__) == "WalletCore/profiling.py"
    assert short_path(threading.__file__) == "threading.py"
    assert short_path("/somebody/elses/thing.py") == "thing.py"
    assert short_path("<string>") == "<string>"


# -- How it is written ------------------------------------------------------------------------

SVG: Final = "{http://www.w3.org/2000/svg}"
ODD: Final = '<script>alert("1")</script>&\x00\x1b\ud800]]>'


def picture(text: str | bytes) -> ET.Element:
    """The picture, checked: it has nothing that a policy would forbid."""
    root = ET.fromstring(text)
    names = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert names <= {"svg", "g", "title", "rect", "text"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or name in ("style", "href")}
    return root


def made(stacks: dict[tuple[Function, ...], int]) -> Profile:
    return Profile(pid=7, seconds=2.0, samples=200, waiting=3, cost=0.01, stacks=stacks)


def test_names_are_escaped_whatever_they_are() -> None:
    odd = made({(Function(ODD, ODD, 1), Function("b")): 5})
    told = [element.text or "" for element in picture(svg(odd, 1)).iter(f"{SVG}title")]
    assert told[0].startswith('<script>alert("1")</script>&')
    stacks_of(orjson.loads(orjson.dumps(speedscope(made({(Function("<b>"),): 5}), 1))))


def test_widths_are_shares_and_weights_are_time() -> None:
    main, left, right = Function("main"), Function("left", "a.py", 3), Function("right", "b.py", 4)
    profile = made({(main, left): 30, (main, right): 10})
    boxes = {
        title.text: float(rect.attrib["width"])
        for group in picture(svg(profile, 2)).iter(f"{SVG}g")
        for title, rect in [(group[0], group[1])]
    }
    widths = {str(words).split(" ")[0].rstrip(":"): width for words, width in boxes.items()}
    assert widths["main"] == pytest.approx(WIDTH_PIXELS - 0.5)
    assert widths["left"] == pytest.approx(WIDTH_PIXELS * 0.75 - 0.5)
    assert widths["right"] == pytest.approx(WIDTH_PIXELS * 0.25 - 0.5)
    assert "left (a.py:3): 30 times, 75.0 %" in boxes
    # 200 looks in 2 s: one is 10 ms.
    stacks = stacks_of(speedscope(profile, 2))
    assert stacks == [(["main", "left"], 300_000), (["main", "right"], 100_000)]


def test_nothing_seen_is_no_error() -> None:
    assert "No thread did anything but wait." in "".join(picture(svg(made({}), 1)).itertext())
    assert stacks_of(speedscope(made({}), 1)) == []


# -- The command ------------------------------------------------------------------------------


def command(*arguments: str, folder: Path, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "RestAPI", "profile", *arguments],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_writes_what_it_was_asked_for(tmp_path: Path) -> None:
    key = "ck_0123456789abcdef_" + "k" * 43
    with running(tmp_path, COFFER_ACCESS="keys", COFFER_BOOTSTRAP_KEY=key) as server:
        url = f"--url=http://127.0.0.1:{server.port}"
        code, told = command("1", url, folder=tmp_path, COFFER_KEY=key)
        assert (code, told.splitlines()[-1]) == (0, "Written to profile.speedscope.json.")
        stacks_of(orjson.loads((tmp_path / "profile.speedscope.json").read_bytes()))
        file = tmp_path / "key"
        file.write_text(key + "\n")
        graph = tmp_path / "graph.svg"
        options = [f"--key-file={file}", f"--output={graph}", "--format=svg", "--waiting"]
        code, told = command("1", url, *options, folder=tmp_path)
        assert code == 0, told
        picture(graph.read_bytes())
        wrong = "ck_0123456789abcdef_" + "x" * 43
        for variables in ({}, {"COFFER_KEY": wrong}):
            code, told = command("1", url, folder=tmp_path, **variables)
            assert code == 2
            assert "A profile needs a key of the scope admin" in told
            assert wrong not in told
            assert "Traceback" not in told


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    away = f"--url=http://127.0.0.1:{free_port()}"
    empty = tmp_path / "empty"
    empty.touch()
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\x00")
    for arguments, variables, words in (
        (["1", away], {}, "does not answer (ConnectionRefusedError). Is it running"),
        (["1", "--url=ftp://x"], {}, "--url must be such as"),
        (["1", "--url=http://user:secret@x"], {}, "--url must be such as"),
        (["1", away, f"--key-file={empty}"], {}, "holds no key: one line, ck_..."),
        (["1", away, f"--key-file={binary}"], {}, "cannot be read as a key: UnicodeDecodeError"),
        (["1", away], {"COFFER_KEY": "two words"}, "COFFER_KEY holds no key"),
        ([str(MIN_PROFILE_SECONDS - 1), away], {}, "is not in the range"),
        ([str(MAX_PROFILE_SECONDS + 1), away], {}, "is not in the range"),
    ):
        code, told = command(*arguments, folder=tmp_path, **variables)
        assert code == 2
        assert words in told
        assert "Traceback" not in told
        assert "secret" not in told
