"""What every test of the repository can use: databases, a Redis, a broker, two options of pytest.

``--ignore-highload`` leaves the load tests out; ``--base-url URL`` runs the black-box cases against
a service that runs. With ``CI=true`` in the environment a skipped test makes the run fail.
"""

from __future__ import annotations

import collections
import logging
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from testkit import event_contract, rabbit, services
from WalletCore.settings import Settings

JANITOR_TIMEOUT_SECONDS = 60
INSTALLING_TEST_TIMEOUT_SECONDS = 480
"""The first test with a broker or a browser may have to install it, while those of other workers
wait."""
INSTALLED_FIXTURES = {"amqp_url", "private_rabbit", "browser"}
_JANITOR = pytest.StashKey["subprocess.Popen[bytes]"]()

# The deadline measures the machine rather than the code, and CI must find the same every time.
hypothesis.settings.register_profile(
    "coffer", deadline=None, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("coffer")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Define the options of this repository."""
    group = parser.getgroup("coffer")
    group.addoption("--ignore-highload", action="store_true", help="leave out the load tests")
    group.addoption(
        "--base-url",
        metavar="URL",
        help="run the black-box cases against the service that runs there",
    )
    group.addoption("--api-key", metavar="KEY", help="the key that that service asks for")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the run, in the process that the user started: the workers inherit from it."""
    # Neither the user's variables nor the user's .env have a say in what is tested.
    Settings.model_config["env_file"] = None
    # Not every batch's line, and no picture of every frame of a traceback, which takes seconds.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )
    if _is_worker(config):
        return
    _choose_services()
    folder = services.make_run_folder()
    os.environ[services.RUN_FOLDER_VARIABLE] = str(folder)
    config.stash[_JANITOR] = subprocess.Popen(
        [sys.executable, "-m", "testkit.janitor", str(folder)],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the janitor clear up, and wait until it has."""
    janitor = config.stash.get(_JANITOR, None)
    if janitor is not None:
        janitor.communicate(timeout=JANITOR_TIMEOUT_SECONDS)


def pytest_sessionstart() -> None:
    """From now on, hold every event that is made against asyncapi.yaml."""
    event_contract.WATCH.install()


def _is_worker(config: pytest.Config) -> bool:
    """Whether this is a worker process of pytest-xdist."""
    return hasattr(config, "workerinput")


def _choose_services() -> None:
    """Keep the named servers for the tests, and all other settings of the user away from them."""
    for ours, names, schemes in (
        (services.DATABASE_URL_VARIABLE, "COFFER_DATABASE_URL", ("postgresql:",)),
        (services.REDIS_URL_VARIABLE, "COFFER_REDIS_URL", ("redis:", "rediss:", "unix:")),
        (services.AMQP_URL_VARIABLE, "COFFER_AMQP_URL", ("amqp:", "amqps:")),
    ):
        url = os.environ.get(ours) or os.environ.get(names, "")
        if url.startswith(schemes):
            os.environ[ours] = url
    for name in list(os.environ):
        if name.startswith("COFFER_") and not name.startswith("COFFER_TEST_"):
            del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the load tests when asked to; give more time to those whose service may have to be
    installed.
    """
    for item in items:
        if not INSTALLED_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(INSTALLING_TEST_TIMEOUT_SECONDS))
    if config.getoption("--ignore-highload"):
        left_out = [item for item in items if item.get_closest_marker("highload")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Skip a test whose service cannot be had."""
    yield from _skipping()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Skip a test whose service cannot be had."""
    yield from _skipping()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Fail a test during which an event was made that asyncapi.yaml does not allow."""
    try:
        yield
    finally:
        event_contract.WATCH.raise_failures()


def _skipping() -> Generator[None]:
    try:
        yield
    except services.ServiceUnavailable as error:
        pytest.skip(str(error))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI, fail for a skipped test."""
    if not _is_worker(session.config) and os.environ.get("CI") == "true" and _skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped, and why."""
    skips = _skips(terminalreporter.config)
    if skips:
        terminalreporter.section("skipped", red=True, bold=True)
    for reason, count in skips.items():
        terminalreporter.line(f"{count} skipped: {reason}", red=True)
    if skips and os.environ.get("CI") == "true":
        terminalreporter.line("CI=true: a skipped test fails the run.", red=True)


def _skips(config: pytest.Config) -> collections.Counter[str]:
    """How many tests were skipped, by reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    # A report carries the file, the line and the reason.
    return collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        if isinstance(report.longrepr, tuple)
        else str(report.longrepr)
        for report in reports
    )


def _migrate(url: str) -> None:
    from WalletCore.postgres import migrate  # noqa: PLC0415 - not every test needs alembic

    migrate.upgrade(url)


@pytest.fixture(scope="session")
def test_databases() -> services.TestDatabases:
    """The maker of this worker's databases."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return services.TestDatabases(worker, _migrate, event_contract.check_database)


@pytest.fixture(scope="session")
def postgres_url(test_databases: services.TestDatabases) -> Iterator[str]:
    """The URL of this worker's own migrated database, shared by its tests."""
    with test_databases.migrated() as url:
        yield url


@pytest.fixture
def fresh_postgres_url(test_databases: services.TestDatabases) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    with test_databases.migrated() as url:
        yield url


@pytest.fixture
def empty_postgres_url(test_databases: services.TestDatabases) -> Iterator[str]:
    """The URL of a database of this test's own without any table."""
    with test_databases.empty() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of this worker's own Redis, shared by its tests."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    with services.redis_of_worker(int(worker)) as url:
        yield url


@pytest.fixture(scope="session")
def amqp_url() -> str:
    """The URL of a broker that all workers share: use names that begin with ``amqp_prefix``."""
    return rabbit.amqp_url_of_run()


@pytest.fixture
def amqp_prefix(amqp_url: str) -> Iterator[str]:
    """What this test's exchanges and queues are named with; they are deleted after it."""
    with rabbit.prefix_on(amqp_url) as prefix:
        yield prefix


@pytest.fixture
def private_rabbit() -> Iterator[rabbit.PrivateRabbit]:
    """A RabbitMQ of this test's own, started, to be killed and restarted at will."""
    with rabbit.PrivateRabbit() as private:
        yield private
