"""A real service and a real browser, and an eye on what must never happen in a page.

The fixtures last as long as this package's tests run, no longer: Playwright's loop would be in the
way of other tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from RestAPI.tests.browser.service import Service
from RestAPI.tests.keyed import BOOTSTRAP
from testkit.browser import ARGUMENTS, browser_binary
from testkit.running import RunningService
from WalletCore.settings import MEMORY_URL

WAIT_MILLISECONDS: Final = 10_000
"""How long an element may take to come. Far more than any takes, on a machine with much to do."""

DESKTOP: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 375, "height": 740}

# The browser writes a line for every answer that is not good; that is no fault of a page.
_REFUSED_BY_THE_SERVICE: Final = re.compile(
    r"Failed to load resource: the server responded with a status of 4\d\d"
)
_TELL_VIOLATIONS: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`);
});
"""

OpenPage = Callable[..., Page]

expect.set_options(timeout=WAIT_MILLISECONDS)


@dataclass
class Watch:
    """Gathers what goes wrong in the pages of a test. ``allowed``: patterns of what may be said."""

    base_urls: tuple[str, ...]
    problems: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def on(self, context: BrowserContext) -> None:
        context.add_init_script(_TELL_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(f"page error: {error.error}"))
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        path = message.location["url"]
        if message.type != "error":
            return
        if _REFUSED_BY_THE_SERVICE.match(message.text) and "/api/" in path:
            return
        self.problems.append(f"console: {message.text} ({path})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((*self.base_urls, "data:", "blob:")):
            self.problems.append(f"another host: {request.url}")

    def check(self) -> None:
        left = [
            problem
            for problem in self.problems
            if not any(re.search(pattern, problem) for pattern in self.allowed)
        ]
        assert left == []


@pytest.fixture(scope="package")
def service() -> Iterator[Service]:
    """A service in open access."""
    with RunningService(MEMORY_URL, workers=1) as running:
        yield Service(running.base_url)


@pytest.fixture(scope="package")
def keyed_service() -> Iterator[Service]:
    """A service that asks for keys, asked with one that may do everything."""
    with RunningService(MEMORY_URL, workers=1, access="keys", bootstrap_key=BOOTSTRAP) as running:
        yield Service(running.base_url, BOOTSTRAP)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = browser_binary()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield chromium
        chromium.close()


@pytest.fixture
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """What the pages of the test do wrong; at the end there must be nothing of it."""
    watching = Watch(())
    yield watching
    watching.check()


@pytest.fixture
def open_page(browser: Browser, watch: Watch) -> Iterator[OpenPage]:
    """Opens a page of a service in a context of its own: ``open_page(service, "/#/wallets")``.

    Further arguments are those of Playwright's ``new_context``: locale, color_scheme, viewport ...
    """
    contexts: list[BrowserContext] = []

    def open_one(service: Service, path: str = "/", **options: Any) -> Page:
        given = {
            "viewport": DESKTOP,
            "locale": "en-US",
            "timezone_id": "UTC",
            "color_scheme": "light",
            "reduced_motion": "reduce",
            **options,
        }
        context = browser.new_context(base_url=service.base_url, **given)
        contexts.append(context)
        context.set_default_timeout(WAIT_MILLISECONDS)
        watch.base_urls = (*watch.base_urls, service.base_url)
        watch.on(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: OpenPage, service: Service) -> Page:
    """The console of the service in open access, on a desktop, light, in English."""
    return open_page(service)
