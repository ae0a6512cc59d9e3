"""Who may do what: no key, a wrong one, one for reading, an owner's, an administrator's."""

from __future__ import annotations

from uuid import uuid4

from playwright.sync_api import Page, expect

from RestAPI.tests.browser.conftest import OpenPage
from RestAPI.tests.browser.service import Service
from RestAPI.tests.keyed import BOOTSTRAP


def enter(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Enter").click()


def test_a_wrong_key_is_refused_and_forgotten(open_page: OpenPage, keyed_service: Service) -> None:
    page = open_page(keyed_service)
    expect(page.get_by_role("heading", name="API key")).to_be_visible()
    expect(page.get_by_label("Key")).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(0)
    enter(page, "ck_0123456789abcdef_" + "B" * 43)
    expect(page.get_by_role("alert")).to_have_text("The service refuses this key.")
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]


def test_a_key_for_reading_shows_no_way_to_write(
    open_page: OpenPage, keyed_service: Service
) -> None:
    wallet = keyed_service.wallet("5.00")
    key = keyed_service.new_key("wallets:read")
    page = open_page(keyed_service, f"/#/wallets/{wallet['id']}")
    enter(page, key)
    expect(page.locator(".table tbody tr")).to_have_count(1)
    expect(page.locator(".actions")).to_be_hidden()
    expect(page.locator(".menu button")).to_have_text(["Statement"])
    expect(page.locator(".table button")).to_have_count(0)
    page.locator(".who summary").click()
    expect(page.locator(".who .card")).to_contain_text("wallets:read")
    page.get_by_role("link", name="Wallets", exact=True).click()
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="New wallet")).to_have_count(0)


def test_a_key_of_an_owner_decides_nothing_about_a_wallet(
    open_page: OpenPage, keyed_service: Service
) -> None:
    owner = f"owner{uuid4().hex}"
    mine = keyed_service.wallet("5.00", owner=owner)
    keyed_service.wallet("5.00")
    key = keyed_service.new_key("wallets:read", "wallets:write", owner=owner)
    page = open_page(keyed_service)
    enter(page, key)
    expect(page.locator(".table tbody tr")).to_have_count(1)
    page.get_by_role("button", name="New wallet").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Owner")).to_have_count(0)
    expect(dialog.get_by_label("Lowest balance")).to_have_count(0)
    dialog.get_by_label("Name").fill("Second")
    dialog.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Second")).to_be_visible()
    page.goto(f"/#/wallets/{mine['id']}")
    expect(page.locator(".table tbody tr")).to_have_count(1)
    expect(page.locator(".menu button")).to_have_text(["Statement", "Rename"])
    expect(page.locator(".table button")).to_have_count(0)
    expect(page.locator(".actions form")).to_be_visible()


def test_an_administrator_may_do_everything(open_page: OpenPage, keyed_service: Service) -> None:
    wallet = keyed_service.wallet("5.00")
    page = open_page(keyed_service, f"/#/wallets/{wallet['id']}")
    enter(page, BOOTSTRAP)
    expect(page.locator(".menu button")).to_have_text(
        ["Statement", "Rename", "Limits", "Freeze", "Close wallet"]
    )
    expect(page.locator(".table").get_by_role("button", name="Reverse")).to_have_count(1)
    page.locator(".actions form").get_by_label("Amount").fill("2")
    page.locator(".actions form").get_by_role("button", name="Deposit").click()
    expect(page.locator(".figures")).to_contain_text("7.00 USD")
    # What the streams and downloads are asked with is the key, too.
    keyed_service.operate(wallet["id"], "DEPOSIT", "1")
    expect(page.locator(".figures")).to_contain_text("8.00 USD")
    page.get_by_role("button", name="Statement").click()
    with page.expect_download() as downloading:
        page.get_by_role("dialog").get_by_role("button", name="Download").click()
    assert downloading.value.path().read_text().startswith("row,time,wallet_id")


def test_the_key_stays_in_its_tab_until_it_is_forgotten(
    open_page: OpenPage, keyed_service: Service
) -> None:
    page = open_page(keyed_service)
    enter(page, keyed_service.new_key("wallets:read"))
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()
    assert page.evaluate("localStorage.length") == 0
    other = page.context.new_page()
    other.goto("/")
    expect(other.get_by_role("heading", name="API key")).to_be_visible()
    page.locator(".who summary").click()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("heading", name="API key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_revoked_key_goes_back_to_the_question(
    open_page: OpenPage, keyed_service: Service
) -> None:
    made = keyed_service.ask("POST", "keys", {"name": "brief", "scopes": ["admin"]})
    wallet = keyed_service.wallet("5.00")
    page = open_page(keyed_service, f"/#/wallets/{wallet['id']}")
    enter(page, made["key"])
    form = page.locator(".actions form")
    form.get_by_label("Amount").fill("2")
    keyed_service.ask("DELETE", f"keys/{made['id']}")
    form.get_by_role("button", name="Deposit").click()
    expect(page.get_by_role("alert")).to_have_text("The service refuses this key.")
    assert page.evaluate("sessionStorage.length") == 0
    enter(page, BOOTSTRAP)
    expect(page.locator(".figures")).to_contain_text("5.00 USD")
