"""Pictures of the pages with the same wallets every time, for the documentation.

`make screenshots` keeps them in docs/screenshots (COFFER_TEST_SCREENSHOTS names the folder); every
other run only looks whether they can be taken.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from RestAPI.tests.browser.conftest import PHONE, OpenPage
from RestAPI.tests.browser.service import Service
from RestAPI.tests.browser.test_shop import item, log_in
from testkit.running import RunningService
from WalletCore.settings import MEMORY_URL

FOLDER_VARIABLE: Final = "COFFER_TEST_SCREENSHOTS"
MAX_PICTURE_BYTES: Final = 200_000
MOVE_PAUSE_SECONDS: Final = 0.5
RATES_MILLISECONDS: Final = 4500
SCREEN: Final = {"width": 1280, "height": 860}

WALLETS: Final = (
    ("anna", "Savings", "USD", "12500.00"),
    ("anna", "Travel", "EUR", "1840.75"),
    ("bob", "Daily", "USD", "310.40"),
    ("carol", "Shop till", "JPY", "1250000"),
    ("dmitry", "Reserve", "KWD", "92.125"),
    ("erin", None, "USD", "0.99"),
)
MOVES: Final = (
    ("WITHDRAW", "820.00", "rent-11", "Rent for November"),
    ("DEPOSIT", "2400.00", "payroll-481", "Salary"),
    ("WITHDRAW", "64.30", "order-1001", "Two tickets"),
    ("WITHDRAW", "1200.00", "tuition-7", None),
    ("DEPOSIT", "150.00", "refund-33", "Returned lamp"),
    ("WITHDRAW", "18.99", "order-1002", None),
    ("DEPOSIT", "75.50", "cashback-11", None),
)


@pytest.fixture(scope="package")
def town() -> Iterator[tuple[Service, str]]:
    """A service with a few wallets in it, and the id of the first."""
    with RunningService(MEMORY_URL, workers=1) as running:
        service = Service(running.base_url)
        yield service, fill(service)


def fill(service: Service) -> str:
    made = [
        service.wallet(balance, owner=owner, currency=currency, **({"name": name} if name else {}))
        for owner, name, currency, balance in WALLETS
    ]
    first, _, third, *_ = [str(wallet["id"]) for wallet in made]
    for kind, amount, reference, description in MOVES:
        time.sleep(MOVE_PAUSE_SECONDS)  # so that the plot has a shape
        service.operate(first, kind, amount, reference=reference, description=description)
    transfer = {"source_wallet_id": first, "target_wallet_id": third, "amount": "250.00"}
    service.ask("POST", "transfers", {**transfer, "reference": "gift-5"})
    service.ask("POST", f"wallets/{first}/holds", {"amount": "340.00", "reference": "booking-12"})
    service.ask("PATCH", f"wallets/{made[-1]['id']}", {"status": "frozen"})
    return first


VIEWS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "wallets": ("/", {}),
    "wallet": ("/#/wallets/{id}", {}),
    "phone": ("/#/wallets/{id}", {"viewport": PHONE, "device_scale_factor": 2}),
    "dark": ("/#/wallets/{id}", {"color_scheme": "dark", "locale": "ru-RU"}),
    "live": ("/#/live", {}),
    "ledger": ("/#/ledger", {}),
    "shop": ("/shop", {}),
}


def enter_the_shop(page: Page) -> None:
    """Log in, and buy a cup and a pen."""
    log_in(page, "anna")
    for bought, named in (("cup", "Cup"), ("pen", "Pen")):
        item(page, bought).get_by_role("button").click()
        expect(page.locator(".inventory")).to_contain_text(named)
    page.mouse.move(0, 0)


def see_rates(page: Page) -> None:
    """They come out of two answers, and a line out of three."""
    expect(page.locator(".figures.rates dd").first).not_to_have_text("—")
    page.wait_for_timeout(RATES_MILLISECONDS)


PREPARED: Final[dict[str, Callable[[Page], None]]] = {"shop": enter_the_shop, "ledger": see_rates}
"""What is done on a page before its picture is taken."""


@pytest.mark.parametrize("name", VIEWS)
def test_a_picture_is_taken(
    open_page: OpenPage, town: tuple[Service, str], name: str, tmp_path: Path
) -> None:
    service, wallet_id = town
    path, options = VIEWS[name]
    page: Page = open_page(service, path.format(id=wallet_id), **{"viewport": SCREEN, **options})
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    page.wait_for_load_state("load")
    if name in PREPARED:
        PREPARED[name](page)
    folder = Path(os.environ.get(FOLDER_VARIABLE, tmp_path))
    picture = folder / f"{name}.png"
    page.screenshot(path=picture)
    assert 0 < picture.stat().st_size <= MAX_PICTURE_BYTES
