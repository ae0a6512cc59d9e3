"""What is said and shown of a wallet while the service does not answer, or only in part."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from RestAPI.tests.browser.conftest import OpenPage, Watch
from RestAPI.tests.browser.service import Service
from RestAPI.tests.browser.test_wallet import HISTORY, choose, figure


@pytest.fixture
def show(open_page: OpenPage, service: Service) -> OpenPage:
    """Opens the page of a wallet."""

    def show_one(wallet_id: str) -> Page:
        page = open_page(service, f"/#/wallets/{wallet_id}")
        expect(page.get_by_role("heading", name="History")).to_be_visible()
        return page

    return show_one


def test_what_was_done_is_said_though_it_cannot_be_shown_at_once(
    show: OpenPage, service: Service, watch: Watch
) -> None:
    source, target = service.wallet("100.00"), service.wallet()
    page = show(source["id"])
    watch.allowed.append("status of 503")
    busy = {"code": "unavailable", "title": "Unavailable", "detail": "Nothing was done."}

    def refuse(route: Route) -> None:
        if route.request.method != "GET":
            return route.fallback()
        return route.fulfill(status=503, json=busy, content_type="application/problem+json")

    page.context.route(f"**/api/v1/wallets/{source['id']}", refuse)
    form = choose(page, "Deposit")
    form.get_by_label("Amount").fill("5")
    form.get_by_role("button", name="Deposit").click()
    expect(form.get_by_role("status")).to_have_text("Done. The balance is 105.00 USD.")
    expect(form.locator("> .wrong")).to_be_hidden()
    form = choose(page, "Transfer")
    form.get_by_label("To wallet").fill(target["id"])
    form.get_by_label("Amount").fill("30")
    form.get_by_role("button", name="Transfer", exact=True).click()
    expect(form.get_by_role("status").last).to_have_text("Done. The balance is 75.00 USD.")
    assert service.read(target["id"])["balance"] == "30.00"


def test_a_part_that_could_not_be_drawn_is_drawn_the_next_time(
    show: OpenPage, service: Service, watch: Watch
) -> None:
    wallet = service.wallet("1.00")
    page = show(wallet["id"])
    expect(page.locator(HISTORY)).to_have_count(1)
    watch.allowed.append("ERR_FAILED .*/operations")
    broken = f"**/wallets/{wallet['id']}/operations?*"
    page.context.route(broken, lambda route: route.abort())
    form = choose(page, "Deposit")
    form.get_by_label("Amount").fill("5")
    form.get_by_role("button", name="Deposit").click()
    expect(figure(page, "Balance")).to_have_text("6.00 USD")
    page.context.unroute(broken)
    expect(page.locator(HISTORY)).to_have_count(2, timeout=20_000)


def test_a_filter_that_cannot_be_read_leaves_no_rows_of_another(
    show: OpenPage, service: Service, watch: Watch
) -> None:
    wallet = service.wallet("10.00")
    page = show(wallet["id"])
    expect(page.locator(HISTORY)).to_have_count(1)
    watch.allowed.append("ERR_FAILED .*/operations")
    broken = f"**/wallets/{wallet['id']}/operations?*"
    page.context.route(broken, lambda route: route.abort())
    page.get_by_label("Kind").select_option("WITHDRAW")
    state = page.locator(".middle .list-state")
    expect(state).to_contain_text("does not answer")
    expect(page.locator(HISTORY)).to_have_count(0)
    page.context.unroute(broken)
    state.get_by_role("button", name="Again").click()
    expect(state).to_have_text("No operations here.")


def test_limits_are_saved_as_they_were_shown(show: OpenPage, service: Service) -> None:
    wallet = service.wallet(currency="JPY")
    page = show(wallet["id"])
    for _ in range(2):  # what the console has written itself is no riddle to it
        page.get_by_role("button", name="Limits").click()
        dialog = page.get_by_role("dialog")
        if dialog.get_by_label("Highest").input_value() == "":
            dialog.get_by_label("Highest").fill("1234")
        dialog.get_by_role("button", name="Limits").click()
        expect(dialog).to_be_hidden()
    assert service.read(wallet["id"])["max_balance"] == "1234"
