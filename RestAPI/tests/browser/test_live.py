"""What happens, as it happens: over a stream, by polling, and marked as read."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from RestAPI.tests.browser.axe import grave_faults
from RestAPI.tests.browser.conftest import PHONE, OpenPage, Watch
from RestAPI.tests.browser.service import ASK_TIMEOUT_SECONDS, Service
from testkit.running import RunningService
from WalletCore.settings import MEMORY_URL

STREAM = re.compile(r"/notifications/stream")
CUT = "net::ERR_FAILED"
"""What the browser says of a request that a test has cut."""
STATE_MILLISECONDS = 20_000
"""How long another state may take: a pause of the console is up to 15 seconds."""
WITHIN_MILLISECONDS = 5000
"""How soon what another client does is to be seen."""
MOST_ROWS = 400
"""As in live_feed.js."""
BURST = 130
"""More than two pages of what is polled."""


def live(open_page: OpenPage, service: Service, owner: str, **options: object) -> Page:
    page = open_page(service, f"/#/live?user_id={owner}", **options)
    expect(page.locator(".following")).to_be_visible()
    return page


def expect_state(page: Page, state: str) -> None:
    """The state in words comes to begin with ``state``."""
    expect(page.locator(".following")).to_have_text(
        re.compile(rf"^{state}\b"), timeout=STATE_MILLISECONDS
    )


def new_owner() -> str:
    return f"live{uuid4().hex}"


def texts(page: Page) -> list[str]:
    """The texts of the notifications in the page, newest first."""
    return page.locator(".notice p:nth-of-type(1)").all_inner_texts()


def test_what_another_client_does_appears_by_itself(open_page: OpenPage, service: Service) -> None:
    owner = new_owner()
    wallet = service.wallet("1.00", owner=owner)
    page = live(open_page, service, owner)
    expect_state(page, "Live")
    expect(page.locator(".notice")).to_have_count(2)
    service.operate(wallet["id"], "DEPOSIT", "7.25")
    expect(page.locator(".notice").first).to_contain_text(
        "Deposit of 7.25 USD, balance 8.25 USD", timeout=WITHIN_MILLISECONDS
    )
    expect(page.locator(".notice")).to_have_count(3)
    page.locator(".notice").first.get_by_role("link").click()
    expect(page).to_have_url(re.compile(rf"#/wallets/{wallet['id']}$"))


def test_unread_ones_are_counted_and_marked(open_page: OpenPage, service: Service) -> None:
    owner = new_owner()
    wallet = service.wallet("1.00", owner=owner)
    other = service.wallet("1.00", owner=new_owner())
    page = live(open_page, service, owner)
    expect(page.locator(".badge.unread")).to_have_text("2 unread")
    expect(page).to_have_title("(2) Live · Coffer")
    service.operate(wallet["id"], "DEPOSIT", "2")
    expect(page.locator(".badge.unread")).to_have_text("3 unread")
    page.locator(".notice").first.get_by_role("button", name="Mark as read").click()
    expect(page.locator(".badge.unread")).to_have_text("2 unread")
    expect(page.locator(".notice").first.get_by_role("button")).to_be_hidden()
    expect(page.locator(".notice").nth(1).get_by_role("button")).to_be_focused()
    page.get_by_role("button", name="Mark all as read").click()
    expect(page.locator(".badge.unread")).to_have_text("0 unread")
    expect(page).to_have_title("Live · Coffer")
    expect(page.locator("#said")).to_contain_text("2 notifications are marked as read.")
    found = service.ask("GET", f"notifications?user_id={owner}&unread=true")
    assert found["items"] == []
    untouched = service.ask("GET", f"notifications?wallet_id={other['id']}&unread=true")
    assert len(untouched["items"]) == 2


def test_it_is_narrowed_to_a_wallet(open_page: OpenPage, service: Service) -> None:
    owner = new_owner()
    first, second = (service.wallet("1.00", owner=owner) for _ in range(2))
    page = live(open_page, service, owner)
    expect(page.locator(".notice")).to_have_count(4)
    page.get_by_label("Wallet id").fill("no id")
    expect(page.get_by_role("alert")).to_have_text("This is no id of a wallet.")
    page.get_by_label("Wallet id").fill(first["id"])
    expect(page.locator(".notice")).to_have_count(2)
    expect(page).to_have_url(re.compile(f"wallet_id={first['id']}"))
    service.operate(second["id"], "DEPOSIT", "1")
    service.operate(first["id"], "DEPOSIT", "3")
    expect(page.locator(".notice").first).to_contain_text("Deposit of 3.00 USD")
    expect(page.locator(".notice")).to_have_count(3)


def test_older_ones_come_as_one_scrolls(open_page: OpenPage, service: Service) -> None:
    owner = new_owner()
    wallet = service.wallet(owner=owner)
    for _ in range(BURST):
        service.operate(wallet["id"], "DEPOSIT", "1")
    page = live(open_page, service, owner)
    expect(page.locator(".notice")).not_to_have_count(0)
    for _ in range(4):
        page.mouse.wheel(0, 100_000)
        page.wait_for_timeout(200)
    expect(page.locator(".notice")).to_have_count(BURST + 1)
    expect(page.locator(".notice").last).to_contain_text("Wallet opened")


def test_a_bounded_number_of_rows_is_kept(open_page: OpenPage, service: Service) -> None:
    owner = new_owner()
    wallet = service.wallet(owner=owner)
    page = live(open_page, service, owner)
    expect_state(page, "Live")
    for _ in range(MOST_ROWS - 1):
        service.operate(wallet["id"], "DEPOSIT", "1")
    expect(page.locator(".notice")).to_have_count(MOST_ROWS, timeout=STATE_MILLISECONDS)
    expect(page.locator(".notice").last).to_contain_text("Wallet opened")
    service.operate(wallet["id"], "DEPOSIT", "2")
    expect(page.locator(".notice").first).to_contain_text("Deposit of 2.00 USD")
    expect(page.locator(".notice")).to_have_count(MOST_ROWS)
    expect(page.locator(".notice").last).not_to_contain_text("Wallet opened")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".notice").last).to_contain_text("Wallet opened")
    expect(page.locator(".notice")).to_have_count(MOST_ROWS)
    page.get_by_role("button", name="To the newest").click()
    expect(page.locator(".notice").first).to_contain_text("Deposit of 2.00 USD")


def test_a_cut_stream_is_polled_on_without_loss_or_doubling(
    open_page: OpenPage, service: Service, watch: Watch
) -> None:
    watch.allowed.append(CUT)
    owner = new_owner()
    wallet = service.wallet("1.00", owner=owner)
    page = live(open_page, service, owner)
    expect_state(page, "Live")
    page.route(STREAM, lambda route: route.abort())
    # The stream that runs already ends with the page.
    page.reload()
    expect_state(page, "Polling")
    for number in range(2, BURST + 2):
        service.operate(wallet["id"], "DEPOSIT", str(number))
    expect(page.locator(".notice")).to_have_count(BURST + 2, timeout=STATE_MILLISECONDS)
    deposits = [text for text in texts(page) if text.startswith("Deposit")]
    assert [text.split()[2] for text in deposits] == [
        f"{number}.00" for number in range(BURST + 1, 0, -1)
    ]
    page.unroute(STREAM)
    expect_state(page, "Live")
    service.operate(wallet["id"], "DEPOSIT", "0.01")
    expect(page.locator(".notice").first).to_contain_text("Deposit of 0.01 USD")
    expect(page.locator(".notice")).to_have_count(BURST + 3)


def test_what_a_broken_stream_missed_comes_after_it(
    open_page: OpenPage, service: Service, watch: Watch
) -> None:
    watch.allowed.append(CUT)
    owner = new_owner()
    wallet = service.wallet("1.00", owner=owner)
    page = open_page(service, "/")
    cut = True

    def once(route: Route) -> None:
        """Answer the first time with a stream that ends at its first word, then not at all."""
        nonlocal cut
        if not cut:
            route.abort()
            return
        cut = False
        cursor = service.ask("GET", "notifications?order=oldest&limit=1")["next_cursor"]
        route.fulfill(
            status=200, content_type="text/event-stream", body=f"retry: 2000\nid: {cursor}\n\n"
        )

    page.route(STREAM, once)
    page.goto(f"/#/live?user_id={owner}")
    expect_state(page, "Polling")
    service.operate(wallet["id"], "DEPOSIT", "5.5")
    expect(page.locator(".notice").first).to_contain_text(
        "Deposit of 5.50 USD", timeout=STATE_MILLISECONDS
    )
    expect(page.locator(".notice")).to_have_count(3)


def test_a_service_that_is_away_is_told_and_found_again(
    open_page: OpenPage, service: Service, watch: Watch
) -> None:
    watch.allowed.append(CUT)
    owner = new_owner()
    wallet = service.wallet("1.00", owner=owner)
    page = open_page(service, "/")
    page.route(STREAM, lambda route: route.abort())
    page.goto(f"/#/live?user_id={owner}")
    expect_state(page, "Polling")
    page.route(re.compile(r"/api/v1/"), lambda route: route.abort())
    expect_state(page, "Away")
    service.operate(wallet["id"], "DEPOSIT", "9")
    page.unroute_all()
    expect_state(page, "Live")
    expect(page.locator(".notice").first).to_contain_text("Deposit of 9.00 USD")
    expect(page.locator(".notice")).to_have_count(3)


@pytest.fixture(scope="module")
def full_service() -> Iterator[Service]:
    """A service with one place for a stream."""
    with RunningService(MEMORY_URL, workers=1, max_streams=1) as running:
        yield Service(running.base_url)


def test_without_a_place_for_a_stream_it_polls(
    open_page: OpenPage, full_service: Service, watch: Watch
) -> None:
    watch.allowed.append("status of 503")
    wallet = full_service.wallet("1.00")
    stream = f"{full_service.base_url}/api/v1/notifications/stream"
    with urllib.request.urlopen(stream, timeout=ASK_TIMEOUT_SECONDS):
        page = live(open_page, full_service, wallet["owner"])
        expect_state(page, "Polling")
        full_service.operate(wallet["id"], "DEPOSIT", "4")
        expect(page.locator(".notice").first).to_contain_text(
            "Deposit of 4.00 USD", timeout=STATE_MILLISECONDS
        )
    # A place is free once the service notices at its next word that nobody listens.
    expect_state(page, "Live")
    full_service.operate(wallet["id"], "DEPOSIT", "6")
    expect(page.locator(".notice").first).to_contain_text("Deposit of 6.00 USD")
    expect(page.locator(".notice")).to_have_count(4)


def test_a_key_for_reading_marks_nothing(open_page: OpenPage, keyed_service: Service) -> None:
    wallet = keyed_service.wallet("1.00")
    keyed_service.wallet("1.00")
    key = keyed_service.new_key("wallets:read", owner=wallet["owner"])
    page = open_page(keyed_service, "/#/live")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Enter").click()
    expect(page.locator(".notice")).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("Mark"))).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_on_a_phone_in_russian(
    open_page: OpenPage, service: Service, scheme: str
) -> None:
    wallet = service.wallet("1234.50", owner=new_owner())
    page = live(
        open_page,
        service,
        wallet["owner"],
        viewport=PHONE,
        locale="ru-RU",
        color_scheme=scheme,
    )
    expect(page.locator(".following")).to_contain_text("реальном времени")
    expect(page.locator(".notice").first).to_contain_text("Пополнение")
    expect(page.locator(".notice").first).to_contain_text("1\u00a0234,50")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert grave_faults(page) == []
