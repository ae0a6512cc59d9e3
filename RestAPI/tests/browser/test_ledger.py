"""The ledger as a whole: whether the books balance, what happened, how the service is."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from RestAPI.tests.browser.axe import grave_faults
from RestAPI.tests.browser.conftest import PHONE, OpenPage
from RestAPI.tests.browser.service import Service
from testkit.programs import RELAY, WORKER, RunningProgram
from testkit.running import RunningService

PARTS = ["database", "cache", "broker", "relay", "worker"]
PAGE_ITEMS = 50
TRIAL_BALANCE = re.compile(r"/ledger/trial-balance")


def ledger(open_page: OpenPage, service: Service, **options: object) -> Page:
    page = open_page(service, "/#/ledger", **options)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page


def enter(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Enter").click()


def parts(page: Page) -> list[tuple[str | None, str]]:
    """The parts of the service with their states in words."""
    return [
        (part.get_attribute("data-part"), part.locator(".badge").inner_text())
        for part in page.locator(".part").all()
    ]


def test_the_books_balance(open_page: OpenPage, service: Service) -> None:
    service.wallet("10.00", currency="CHF")
    page = ledger(open_page, service)
    expect(page.locator(".books")).to_have_text("The books balance in every currency.")
    balance = page.get_by_role("table", name="Trial balance")
    row = balance.get_by_role("row").filter(has_text="CHF")
    expect(row.get_by_role("cell").last).to_have_text("0.00")
    expect(page.get_by_role("alert").filter(has_text=re.compile("."))).to_have_count(0)


def test_a_difference_is_an_alarm(open_page: OpenPage, service: Service) -> None:
    """No service can be brought to lose a cent, so here its answer is changed on the way."""
    service.wallet("10.00", currency="CHF")
    page = open_page(service, "/")

    def changed(route: Route) -> None:
        found = route.fetch().json()
        found["balanced"] = False
        for one in found["currencies"]:
            if one["currency"] == "CHF":
                one["difference"] = "0.01"
        route.fulfill(json=found)

    page.route(TRIAL_BALANCE, changed)
    page.goto("/#/ledger")
    expect(page.get_by_role("alert").first).to_contain_text("The books do not balance.")
    expect(page.locator("tr.alarm")).to_have_count(1)
    expect(page.locator("tr.alarm .difference")).to_have_text("0.01")


def test_an_event_comes_by_itself_and_opens_as_json(open_page: OpenPage, service: Service) -> None:
    wallet = service.wallet("1.00")
    page = ledger(open_page, service)
    page.get_by_label("Wallet id").fill("no id")
    expect(page.locator("[data-field=wallet_id] .wrong")).to_have_text("This is no id of a wallet.")
    page.get_by_label("Wallet id").fill(wallet["id"])
    rows = page.get_by_role("table", name="Events").locator("tbody tr")
    expect(rows).to_have_count(2)
    done = service.operate(wallet["id"], "DEPOSIT", "7.25")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("Deposit")
    expect(rows.first).to_contain_text("7.25 USD")
    expect(rows.first.locator(".badge")).to_have_text("Processed")
    rows.first.get_by_role("button").click()
    shown = page.get_by_role("dialog").locator("code")
    expect(shown).to_contain_text("specversion")
    event = json.loads(shown.inner_text())
    assert event["data"]["amount"] == "7.25"
    assert event["data"] == service.ask("GET", f"events/{event['id']}")["data"]
    assert event["wallet"] == done["wallet_id"]
    page.keyboard.press("Escape")
    expect(rows.first.get_by_role("button")).to_be_focused()


def test_older_events_come_as_one_scrolls(open_page: OpenPage, service: Service) -> None:
    wallet = service.wallet()
    for _ in range(PAGE_ITEMS + 20):
        service.operate(wallet["id"], "DEPOSIT", "1")
    page = open_page(service, f"/#/ledger?wallet_id={wallet['id']}")
    rows = page.get_by_role("table", name="Events").locator("tbody tr")
    expect(rows.first).to_be_visible()
    page.mouse.wheel(0, 100_000)
    expect(rows).to_have_count(PAGE_ITEMS + 21)
    expect(rows.last).to_contain_text("Wallet opened")


def test_a_message_is_sent_once(open_page: OpenPage, service: Service) -> None:
    page = ledger(open_page, service)
    user = f"user{uuid4().hex}"
    page.get_by_role("button", name="Send a message").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("For whom").fill(user)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.locator("[data-field=description] .wrong")).to_have_text("Write what it says.")
    dialog.get_by_label("Text").fill("Your parcel has arrived.")
    dialog.get_by_role("button", name="Send").dblclick()
    expect(page.locator("#said")).to_have_text("The message is sent.")
    dialog.get_by_role("button", name="Close").click()
    row = page.get_by_role("table", name="Events").locator("tbody tr").filter(has_text=user)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Your parcel has arrived.")
    expect(row.locator(".badge")).to_have_text("Processed")
    told = service.ask("GET", f"notifications?user_id={user}")["items"]
    assert [one["text"] for one in told] == ["Your parcel has arrived."]


def test_rates_come_out_of_two_answers(open_page: OpenPage, service: Service) -> None:
    wallet = service.wallet("1.00")
    page = ledger(open_page, service)
    expect(page.locator(".part")).to_have_count(len(PARTS))
    figures = page.locator(".figures.rates dd")
    expect(figures.nth(3)).not_to_have_text("—")
    service.operate(wallet["id"], "DEPOSIT", "1")
    expect(figures.first).not_to_have_text("0")
    expect(page.locator(".hot")).to_contain_text(wallet["id"][-8:])
    expect(page.locator(".plot canvas")).to_have_count(2)


def test_what_a_key_may_not_see_is_said(open_page: OpenPage, keyed_service: Service) -> None:
    key = keyed_service.new_key("wallets:read")
    page = open_page(keyed_service, "/#/ledger")
    enter(page, key)
    expect(page.locator(".books.good")).to_be_visible()
    expect(page.get_by_text("How the service is doing is shown to keys")).to_be_visible()
    expect(page.get_by_role("button", name="Send a message")).to_have_count(0)
    expect(page.locator(".part")).to_have_count(0)


def test_a_key_of_an_owner_sees_the_events_of_its_wallets(
    open_page: OpenPage, keyed_service: Service
) -> None:
    wallet = keyed_service.wallet("1.00")
    other = keyed_service.wallet("1.00")
    key = keyed_service.new_key("wallets:read", "wallets:write", "metrics", owner=wallet["owner"])
    page = open_page(keyed_service, "/#/ledger")
    enter(page, key)
    expect(page.get_by_text("The trial balance is for keys")).to_be_visible()
    expect(page.get_by_text("How the service is doing is not shown to keys")).to_be_visible()
    expect(page.get_by_text("The log of all wallets is for keys")).to_be_visible()
    page.get_by_label("Wallet id").fill(wallet["id"])
    rows = page.get_by_role("table", name="Events").locator("tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Wallet id").fill(other["id"])
    expect(page.get_by_text(f"There is no wallet {other['id']}")).to_be_visible()
    page.get_by_role("button", name="Send a message").click()
    expect(page.get_by_role("dialog").get_by_label("For whom")).to_have_value(wallet["owner"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_on_a_phone_in_russian(
    open_page: OpenPage, service: Service, scheme: str
) -> None:
    service.wallet("1234.50")
    page = ledger(open_page, service, viewport=PHONE, locale="ru-RU", color_scheme=scheme)
    expect(page.locator(".books")).to_have_text("Книги сходятся по всем валютам.")
    expect(page.locator(".part")).to_have_count(len(PARTS))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert grave_faults(page) == []


def test_relay_and_worker_are_seen_up_and_down(
    open_page: OpenPage, fresh_postgres_url: str, amqp_url: str, amqp_prefix: str
) -> None:
    settings = {"amqp_url": amqp_url, "amqp_prefix": amqp_prefix}
    relay = RunningProgram(RELAY, fresh_postgres_url, **settings)
    worker = RunningProgram(WORKER, fresh_postgres_url, **settings)
    try:
        with RunningService(fresh_postgres_url, workers=1, **settings) as running:
            service = Service(running.base_url)
            relay.start(wait=False)
            worker.start()
            wallet = service.wallet("1.00")
            page = ledger(open_page, service)
            expect(page.locator(".part.up")).to_have_count(4, timeout=20_000)
            assert parts(page) == [
                (name, "Not used" if name == "cache" else "Up") for name in PARTS
            ]
            expect(page.locator(".lag")).to_have_text("Every event is processed.")
            worker.kill()
            expect(page.locator("[data-part=worker] .badge")).to_have_text("Down", timeout=30_000)
            service.operate(wallet["id"], "DEPOSIT", "1")
            expect(page.locator(".badge.NotProcessed")).to_have_count(1)
            expect(page.locator(".lag")).to_contain_text("1 event waits")
            worker.start(wait=False)
            expect(page.locator(".badge.NotProcessed")).to_have_count(0, timeout=30_000)
            # Nobody is to ask a service that has stopped.
            page.goto("about:blank")
    finally:
        relay.close()
        worker.close()
