"""Every JSON case of ``tests_data``: in memory and on PostgreSQL in process, or, with
``--base-url URL``, only over HTTP against the service that runs there."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from RestAPI.app import create_app
from testkit.case_clients import Answer, HttpClient, WsgiClient
from testkit.cases import CASES_FOLDER, Case, Runner, answer_problems, load_cases
from testkit.following import recording
from WalletCore.open_store import open_store
from WalletCore.settings import MEMORY_URL, Settings

MIN_CASES = 700

Seen = tuple[Mapping[str, Any], Mapping[str, Any], Answer]

CASES = list(load_cases())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test per case and store; with a base URL, per case over HTTP."""
    if "store_name" in metafunc.fixturenames:
        base_url = metafunc.config.getoption("--base-url")
        stores = ("http",) if base_url else ("memory", "postgres")
        runs = [(store, case) for store in stores for case in CASES if case.runs_on(store)]
        metafunc.parametrize(
            ("store_name", "case"), runs, ids=[f"{store}:{case.label}" for store, case in runs]
        )


def _in_process(url: str) -> Iterator[WsgiClient]:
    settings = Settings(
        database_url=SecretStr(url),
        redis_url=None,
        amqp_url=None,
        jwt_secret=SecretStr("a-secret-of-the-tests-that-is-long-enough"),
    )
    store = open_store(settings)
    yield WsgiClient(create_app(settings, store))
    store.close()


@pytest.fixture(scope="module")
def memory_client() -> Iterator[WsgiClient]:
    """The application on a memory store of its own."""
    yield from _in_process(MEMORY_URL)


@pytest.fixture(scope="module")
def postgres_client(postgres_url: str) -> Iterator[WsgiClient]:
    """The application on this test process' PostgreSQL database, and a worker beside it."""
    with recording(postgres_url):
        yield from _in_process(postgres_url)


@pytest.fixture(scope="module")
def http_client(pytestconfig: pytest.Config) -> HttpClient:
    """The service at ``--base-url``."""
    wanted = pytestconfig.getoption
    return HttpClient(wanted("--base-url"), wanted("--api-key"))


@pytest.fixture(scope="module")
def runners() -> dict[str, Runner]:
    """One runner per store for the whole module: it remembers where the event log ended."""
    return {}


def test_case(
    store_name: str, case: Case, runners: dict[str, Runner], request: pytest.FixtureRequest
) -> None:
    """The case comes out as it is written, and each single expectation of it can fail."""
    if store_name not in runners:
        runners[store_name] = Runner(request.getfixturevalue(f"{store_name}_client"))
    seen: list[Seen] = []
    runners[store_name].run(case, observe=lambda *step: seen.append(step))
    blind = [
        f"step for {step['request']['path'][:80]}: {wrong}"
        for step, variables, answer in seen
        for wrong in _made_wrong(step["expect"])
        if not answer_problems(wrong, answer, variables)
    ]
    assert blind == [], "expectations that are made wrong and still hold"


def test_the_names_are_unique() -> None:
    """A name stands for one case, whatever folder it lies in."""
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)


def test_no_file_is_overlooked() -> None:
    """Every JSON file but the schema is a case, and none has gone missing unnoticed."""
    files = set(CASES_FOLDER.rglob("*.json")) - {CASES_FOLDER / "case.schema.json"}
    assert files == {case.path for case in CASES}
    assert len(files) >= MIN_CASES


def _made_wrong(expect: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Copies of an expectation, each with one leaf that cannot be right."""
    for path, value in _leaves(expect, ()):
        wrong: Any = _wrong(path, value)
        if wrong is None:
            continue
        spoiled = copy.deepcopy(dict(expect))
        place: Any = spoiled
        for token in path[:-1]:
            place = place[token]
        place[path[-1]] = wrong
        yield spoiled


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    elif isinstance(value, list) and value and path != ("absent",):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def _wrong(path: tuple[Any, ...], value: Any) -> Any:
    """Something else than ``value``; None where nothing else can be said (``$any``, ``$saved``)."""
    if path[-1] in ("$any", "$saved") or "$not" in path:
        return None
    if path == ("absent",):
        return [""]
    if path[-1] == "$regex":
        return "(?!)"
    if path[-1] == "$type":
        return "boolean" if value != "boolean" else "string"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return f"{value}, made wrong"
