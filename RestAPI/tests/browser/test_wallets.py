"""The list of wallets: searched, narrowed, endless; and a new one."""

from __future__ import annotations

import re
from uuid import uuid4

from playwright.sync_api import Page, expect

from RestAPI.tests.browser.conftest import OpenPage
from RestAPI.tests.browser.service import Service

PAGE_ITEMS = 50


def rows(page: Page) -> list[str]:
    """The names of the wallets that are listed."""
    return page.locator(".table tbody tr td:first-child a").all_inner_texts()


def test_a_wallet_is_found_by_owner_name_and_id(page: Page, service: Service) -> None:
    word = uuid4().hex
    made = service.wallet("12.50", owner=f"owner{word}", name=f"Name{word}")
    search = page.get_by_label("Search wallets").get_by_role("searchbox")
    for text in (f"owner{word[:8]}", f"Name{word}", made["id"]):
        search.fill(text)
        expect(page.locator(".table tbody tr")).to_have_count(1)
        assert rows(page) == [f"Name{word}"]
    expect(page.locator(".table tbody tr")).to_contain_text("12.50 USD")
    search.fill(f"nobody-{word}")
    expect(page.get_by_text("No wallet is like that.")).to_be_visible()


def test_the_address_keeps_what_is_searched_for(page: Page, service: Service) -> None:
    owner = f"kept{uuid4().hex}"
    service.wallet(owner=owner, name="Active one")
    frozen = service.wallet(owner=owner, name="Frozen one")
    service.ask("PATCH", f"wallets/{frozen['id']}", {"status": "frozen"})
    page.get_by_label("Search wallets").get_by_role("searchbox").fill(owner)
    expect(page.locator(".table tbody tr")).to_have_count(2)
    page.get_by_label("Status").select_option("frozen")
    expect(page.locator(".table tbody tr")).to_have_count(1)
    assert rows(page) == ["Frozen one"]
    page.get_by_role("link", name="Frozen one").click()
    expect(page.get_by_role("heading", name="Frozen one")).to_be_visible()
    page.go_back()
    expect(page.locator(".table tbody tr")).to_have_count(1)
    expect(page.get_by_label("Status")).to_have_value("frozen")
    page.reload()
    expect(page.locator(".table tbody tr")).to_have_count(1)
    assert rows(page) == ["Frozen one"]


def test_a_currency_narrows_and_a_wrong_one_is_told_at_its_field(
    page: Page, service: Service
) -> None:
    owner = f"many{uuid4().hex}"
    service.wallet(owner=owner, name="Euros", currency="EUR")
    service.wallet(owner=owner, name="Dollars", currency="USD")
    page.get_by_label("Search wallets").get_by_role("searchbox").fill(owner)
    expect(page.locator(".table tbody tr")).to_have_count(2)
    currency = page.get_by_label("Currency")
    currency.fill("eur")
    expect(page.locator(".table tbody tr")).to_have_count(1)
    assert rows(page) == ["Euros"]
    for wrong in ("XXQ", "e"):
        currency.fill(wrong)
        expect(currency).to_have_attribute("aria-invalid", "true")
        expect(page.locator("[data-field=currency] .wrong")).to_be_visible()
        currency.fill("")
        expect(page.locator(".table tbody tr")).to_have_count(2)
        expect(page.locator("[data-field=currency] .wrong")).to_be_hidden()


def test_the_list_goes_on_as_one_scrolls_and_by_the_keyboard(page: Page, service: Service) -> None:
    owner = f"long{uuid4().hex}"
    count = 2 * PAGE_ITEMS + 5
    for _ in range(count):
        service.wallet(owner=owner)
    page.get_by_label("Search wallets").get_by_role("searchbox").fill(owner)
    # Those of other tests may be as many, and are read anew a moment after the typing.
    expect(page.locator(".table tbody tr").first).to_contain_text(owner)
    expect(page.locator(".table tbody tr")).to_have_count(PAGE_ITEMS)
    page.mouse.wheel(0, 20_000)
    expect(page.locator(".table tbody tr")).to_have_count(2 * PAGE_ITEMS)
    page.get_by_role("button", name="Show more").press("Enter")
    expect(page.locator(".table tbody tr")).to_have_count(count)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    assert len(set(page.locator(".table tbody a").evaluate_all("all => all.map(a => a.href)"))) == (
        count
    )


def test_a_wallet_is_created_with_limits(page: Page, service: Service) -> None:
    owner = f"new{uuid4().hex}"
    page.get_by_role("button", name="New wallet").click()
    dialog = page.get_by_role("dialog", name="New wallet")
    expect(dialog.get_by_label("Currency")).to_have_value("USD")
    dialog.get_by_label("Currency").fill("jpy")
    dialog.get_by_label("Owner").fill(owner)
    dialog.get_by_label("Name").fill("Travel")
    dialog.get_by_label("Lowest balance").fill("20 000")
    dialog.get_by_label("Highest balance").fill("1.5")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog.locator("[data-field=max_balance] .wrong")).to_have_text(
        "This currency has no decimals."
    )
    expect(dialog.get_by_label("Highest balance")).to_be_focused()
    dialog.get_by_label("Highest balance").fill("1 000 000")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Travel")).to_be_visible()
    [made] = service.ask("GET", f"wallets?owner={owner}")["items"]
    assert (made["currency"], made["min_balance"], made["max_balance"]) == (
        "JPY",
        "-20000",
        "1000000",
    )
    assert re.search(f"#/wallets/{made['id']}$", page.url)


def test_a_currency_that_is_none_is_refused_at_its_field(page: Page) -> None:
    page.get_by_role("button", name="New wallet").click()
    dialog = page.get_by_role("dialog")
    for wrong in ("12", "XQX"):
        dialog.get_by_label("Currency").fill(wrong)
        dialog.get_by_role("button", name="Create").click()
        expect(dialog.get_by_label("Currency")).to_have_attribute("aria-invalid", "true")
        expect(dialog.locator("[data-field=currency] .wrong")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="New wallet")).to_be_focused()


def test_where_there_is_nothing_it_says_how_to_begin(
    open_page: OpenPage, keyed_service: Service
) -> None:
    key = keyed_service.new_key("wallets:read", "wallets:write", owner=f"empty{uuid4().hex}")
    page = open_page(keyed_service)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("heading", name="No wallets yet")).to_be_visible()
    example = page.get_by_role("region", name="A first deposit")
    expect(example).to_contain_text(f"curl -X POST {keyed_service.base_url}/api/v1/wallets")
    expect(example).to_contain_text("Authorization: Bearer")
