"""One wallet: every form once right and once wrong, and what is shown after it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from RestAPI.tests.browser.conftest import OpenPage, Watch
from RestAPI.tests.browser.service import Service

HISTORY = ".middle .table tbody tr"


@pytest.fixture
def show(open_page: OpenPage, service: Service) -> OpenPage:
    """Opens the page of a wallet."""

    def show_one(wallet_id: str) -> Page:
        page = open_page(service, f"/#/wallets/{wallet_id}")
        expect(page.get_by_role("heading", name="History")).to_be_visible()
        return page

    return show_one


def figure(page: Page, name: str) -> Locator:
    """One of the figures of the wallet, by its label."""
    label = page.locator("dt").get_by_text(name, exact=True)
    return page.locator(".figures > div").filter(has=label).locator("dd")


def choose(page: Page, action: str) -> Locator:
    """The form of an action, chosen among them."""
    page.get_by_role("group", name="Move money").get_by_role("button", name=action).click()
    return page.locator(".actions form")


def wrong(form: Locator, field: str) -> Locator:
    return form.locator(f"[data-field={field}] .wrong")


def test_a_deposit_is_done_and_shown(show: OpenPage, service: Service) -> None:
    wallet = service.wallet()
    page = show(wallet["id"])
    expect(page.get_by_text("No operations here.")).to_be_visible()
    form = choose(page, "Deposit")
    form.get_by_label("Amount").fill("1 234,5")
    form.get_by_label("Reference").fill("order-1")
    form.get_by_label("Description").fill("From the browser")
    form.get_by_role("button", name="Deposit").click()
    expect(form.get_by_role("status")).to_have_text("Done. The balance is 1,234.50 USD.")
    expect(figure(page, "Available")).to_have_text("1,234.50 USD")
    expect(page.locator(HISTORY)).to_have_count(1)
    expect(page.locator(HISTORY)).to_contain_text("+1,234.50 USD")
    expect(page.locator(HISTORY)).to_contain_text("order-1")
    expect(form.get_by_label("Amount")).to_have_value("")
    [done] = service.history(wallet["id"])
    assert (done["amount"], done["reference"], done["description"]) == (
        "1234.50",
        "order-1",
        "From the browser",
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Write an amount."),
        ("ten", "This is not an amount"),
        ("1,234", "Is this a thousand"),
        ("1.005", "Is this a thousand"),
        ("10.555", "This currency has fewer decimals"),
        ("0", "more than zero"),
        ("-5", "The amount"),
        ("99999999999999999999", ""),
    ],
)
def test_a_wrong_amount_is_told_at_its_field(
    show: OpenPage, service: Service, typed: str, said: str
) -> None:
    wallet = service.wallet()
    form = choose(show(wallet["id"]), "Deposit")
    form.get_by_label("Amount").fill(typed)
    form.get_by_role("button", name="Deposit").click()
    expect(wrong(form, "amount")).to_be_visible()
    if typed != "10.555":
        expect(wrong(form, "amount")).to_contain_text(said)
    expect(form.get_by_label("Amount")).to_be_focused()
    expect(form.get_by_label("Amount")).to_have_attribute("aria-invalid", "true")
    assert service.history(wallet["id"]) == []


def test_a_withdrawal_is_done_or_refused_where_money_lacks(
    show: OpenPage, service: Service
) -> None:
    wallet = service.wallet("10.00")
    page = show(wallet["id"])
    form = choose(page, "Withdraw")
    form.get_by_label("Amount").fill("10.01")
    form.get_by_role("button", name="Withdraw").click()
    expect(wrong(form, "amount")).to_contain_text("10.00 USD is available")
    form.get_by_label("Amount").fill("4")
    form.get_by_role("button", name="Withdraw").click()
    expect(figure(page, "Balance")).to_have_text("6.00 USD")
    expect(wrong(form, "amount")).to_be_hidden()
    assert service.read(wallet["id"])["balance"] == "6.00"


def test_a_double_click_is_one_operation(show: OpenPage, service: Service) -> None:
    wallet = service.wallet()
    page = show(wallet["id"])
    form = choose(page, "Deposit")
    form.get_by_label("Amount").fill("5")
    form.get_by_role("button", name="Deposit").dblclick()
    expect(figure(page, "Balance")).to_have_text("5.00 USD")
    form.get_by_label("Amount").fill("7")
    form.get_by_role("button", name="Deposit").dblclick()
    expect(figure(page, "Balance")).to_have_text("12.00 USD")
    assert [done["amount"] for done in service.history(wallet["id"])] == ["7.00", "5.00"]


def test_a_second_try_after_a_lost_answer_is_the_same_operation(
    show: OpenPage, service: Service, watch: Watch
) -> None:
    wallet = service.wallet()
    page = show(wallet["id"])
    watch.allowed.append("ERR_FAILED .*/operation")
    lost: list[str] = []

    def lose_the_answer(route: Route) -> None:
        route.fetch()  # it is done, and nobody hears of it
        route.abort()
        lost.append("once")

    page.context.route("**/operation", lose_the_answer, times=1)
    form = choose(page, "Deposit")
    form.get_by_label("Amount").fill("5")
    form.get_by_role("button", name="Deposit").click()
    expect(form.locator("> .wrong")).to_contain_text("does not answer")
    form.get_by_role("button", name="Deposit").click()
    expect(form.get_by_role("status")).to_contain_text("The balance is 5.00 USD")
    assert lost == ["once"]
    assert len(service.history(wallet["id"])) == 1


def test_a_transfer_goes_to_a_wallet_that_is_searched_and_chosen(
    show: OpenPage, service: Service
) -> None:
    word = uuid4().hex
    source = service.wallet("100.00")
    targets = [service.wallet(owner=f"{word}-{n}", name=f"Purse {n}") for n in range(2)]
    service.wallet(owner=f"{word}-euro", currency="EUR")
    page = show(source["id"])
    form = choose(page, "Transfer")
    form.get_by_label("To wallet").fill(word)
    form.get_by_label("Amount").fill("30")
    expect(form.get_by_text("2 wallets found")).to_be_visible()
    form.get_by_role("button", name="Transfer").click()
    expect(wrong(form, "target_wallet_id")).to_have_text(
        "Several wallets are found by that. Choose one."
    )
    form.get_by_role("button", name="Purse 1").click()
    expect(form.get_by_label("To wallet")).to_have_value(targets[1]["id"])
    form.get_by_role("button", name="Transfer").click()
    expect(figure(page, "Balance")).to_have_text("70.00 USD")
    assert service.read(targets[1]["id"])["balance"] == "30.00"
    page.locator(HISTORY).first.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Purse 1")).to_be_visible()


def test_a_transfer_that_is_wrong_says_so_at_the_target(show: OpenPage, service: Service) -> None:
    source = service.wallet("100.00")
    euros = service.wallet(currency="EUR")
    form = choose(show(source["id"]), "Transfer")
    form.get_by_label("Amount").fill("30")
    for typed, said in (
        ("", "Name a wallet."),
        (f"nobody-{uuid4().hex}", "No other wallet"),
        (source["id"], "the same"),
        (euros["id"], "EUR"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "no wallet"),
    ):
        form.get_by_label("To wallet").fill(typed)
        form.get_by_role("button", name="Transfer", exact=True).click()
        expect(wrong(form, "target_wallet_id")).to_contain_text(said)
        expect(form.get_by_label("To wallet")).to_be_focused()
    assert service.read(source["id"])["balance"] == "100.00"


def test_a_hold_is_placed_captured_in_part_and_released(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("50.00")
    target = service.wallet()
    page = show(wallet["id"])
    form = choose(page, "Hold")
    form.get_by_label("Amount").fill("20")
    form.get_by_label("Lasts").fill("0")
    form.get_by_role("button", name="Hold").click()
    expect(wrong(form, "expires_in_seconds")).to_have_text("Write a whole number above 0.")
    form.get_by_label("Lasts").fill("400")
    form.get_by_role("button", name="Hold").click()
    expect(wrong(form, "expires_in_seconds")).to_be_visible()
    form.get_by_label("Lasts").fill("2")
    form.get_by_label("Unit").select_option("hours")
    form.get_by_role("button", name="Hold").click()
    expect(figure(page, "Available")).to_have_text("30.00 USD")
    expect(figure(page, "Held")).to_have_text("20.00 USD")
    [hold] = service.ask("GET", f"wallets/{wallet['id']}/holds")["items"]

    page.get_by_role("button", name="Capture").click()
    dialog = page.get_by_role("dialog", name="Capture a hold")
    dialog.get_by_label("Amount").fill("20.01")
    dialog.get_by_role("button", name="Capture").click()
    expect(wrong(dialog, "amount")).to_contain_text("20.00 USD")
    dialog.get_by_label("Amount").fill("5")
    dialog.get_by_label("Release what is left").uncheck()
    dialog.get_by_label("Into wallet").fill(target["id"])
    dialog.get_by_role("button", name="Capture").click()
    expect(dialog).to_have_count(0)
    expect(figure(page, "Balance")).to_have_text("45.00 USD")
    expect(figure(page, "Held")).to_have_text("15.00 USD")
    assert service.read(target["id"])["balance"] == "5.00"

    page.get_by_role("button", name="Release").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    expect(figure(page, "Held")).to_have_text("0.00 USD")
    expect(page.get_by_role("heading", name="Open holds")).to_be_hidden()
    assert service.ask("GET", f"holds/{hold['id']}")["status"] == "voided"


def test_a_hold_that_is_gone_meanwhile_says_so(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("50.00")
    hold = service.ask("POST", f"wallets/{wallet['id']}/holds", {"amount": "5"})
    page = show(wallet["id"])
    page.get_by_role("button", name="Release").click()
    service.ask("POST", f"holds/{hold['id']}/void", {})
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Release").click()
    expect(dialog.locator("form > .wrong")).to_contain_text("voided")


def test_an_operation_is_reversed_in_part(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("50.00")
    page = show(wallet["id"])
    page.locator(HISTORY).get_by_role("button", name="Reverse").click()
    dialog = page.get_by_role("dialog", name="Reverse an operation")
    dialog.get_by_label("Amount").fill("50.01")
    dialog.get_by_role("button", name="Reverse").click()
    expect(wrong(dialog, "amount")).to_be_visible()
    dialog.get_by_label("Amount").fill("20")
    dialog.get_by_label("Reference").fill("returned")
    dialog.get_by_role("button", name="Reverse").click()
    expect(figure(page, "Balance")).to_have_text("30.00 USD")
    expect(page.locator(HISTORY)).to_have_count(2)
    expect(page.locator(HISTORY).first).to_contain_text("Reversal out")
    expect(page.locator(HISTORY).first.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("status").filter(has_text="reversed")).to_be_visible()
    assert service.history(wallet["id"])[0]["reference"] == "returned"


def test_money_that_is_gone_is_reversed_only_when_told_so(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("50.00")
    service.operate(wallet["id"], "WITHDRAW", "45")
    page = show(wallet["id"])
    page.locator(HISTORY).last.get_by_role("button", name="Reverse").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Reverse").click()
    expect(wrong(dialog, "amount")).to_contain_text("5.00 USD is available")
    dialog.get_by_label("Also if the money is gone").check()
    dialog.get_by_role("button", name="Reverse").click()
    expect(figure(page, "Balance")).to_have_text("\u221245.00 USD")


def test_freeze_unfreeze_and_close(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("5.00")
    page = show(wallet["id"])
    badge = page.locator(".wallet-head .badge")
    for button, status in (("Freeze", "Frozen"), ("Unfreeze", "Active")):
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
        expect(badge).to_have_text(status)
        expect(page.locator(".actions form")).to_have_count(0 if status == "Frozen" else 1)
    page.get_by_role("button", name="Close wallet").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Close wallet").click()
    expect(dialog.locator("form > .wrong")).to_contain_text("Only an empty wallet can be closed")
    service.operate(wallet["id"], "WITHDRAW", "5")
    dialog.get_by_role("button", name="Close wallet").click()
    expect(badge).to_have_text("Closed")
    expect(page.get_by_text("closed for good")).to_be_visible()
    expect(page.locator(".menu button")).to_have_text(["Statement"])


def test_limits_and_the_name(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("50.00", max_balance="1000")
    page = show(wallet["id"])
    page.get_by_role("button", name="Limits").click()
    dialog = page.get_by_role("dialog", name="Limits")
    expect(dialog.get_by_label("Highest balance")).to_have_value("1000.00")
    dialog.get_by_label("Highest balance").fill("10")
    dialog.get_by_role("button", name="Limits").click()
    expect(wrong(dialog, "max_balance")).to_contain_text("50.00 USD")
    dialog.get_by_label("Highest balance").fill("")
    dialog.get_by_label("Lowest balance").fill("-250")
    dialog.get_by_role("button", name="Limits").click()
    expect(figure(page, "Lowest balance")).to_have_text("\u2212250.00 USD")
    expect(figure(page, "Available")).to_have_text("300.00 USD")
    changed = service.read(wallet["id"])
    assert (changed["min_balance"], changed["max_balance"]) == ("-250.00", None)

    page.get_by_role("button", name="Rename").click()
    dialog = page.get_by_role("dialog", name="Rename")
    dialog.get_by_label("Name").fill("Rainy days")
    dialog.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="Rainy days")).to_be_visible()
    assert service.read(wallet["id"])["name"] == "Rainy days"


def test_the_statement_is_downloaded(show: OpenPage, service: Service, tmp_path: Path) -> None:
    wallet = service.wallet("50.00")
    page = show(wallet["id"])
    page.get_by_role("button", name="Statement").click()
    dialog = page.get_by_role("dialog", name="Statement")
    dialog.get_by_label("From").fill("2026-02-02")
    dialog.get_by_label("Up to").fill("2026-02-01")
    dialog.get_by_role("button", name="Download").click()
    expect(wrong(dialog, "to")).to_have_text("The period ends before it begins.")
    for name in ("From", "Up to"):
        dialog.get_by_label(name).fill("")
    for kind in ("csv", "json"):
        dialog.get_by_label("Format").select_option(kind)
        with page.expect_download() as downloading:
            dialog.get_by_role("button", name="Download").click()
        assert downloading.value.suggested_filename == f"statement-{wallet['id']}.{kind}"
        downloading.value.save_as(tmp_path / kind)
        expect(dialog.get_by_role("status")).to_have_text("The statement is downloaded.")
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert len(rows) == 3
    assert json.loads((tmp_path / "json").read_text())["closing_balance"] == "50.00"


def test_the_history_is_narrowed_and_goes_on(show: OpenPage, service: Service) -> None:
    wallet = service.wallet()
    for number in range(60):
        service.operate(wallet["id"], "DEPOSIT", "2", reference=f"number-{number}")
    service.operate(wallet["id"], "WITHDRAW", "1")
    page = show(wallet["id"])
    expect(page.locator(HISTORY)).to_have_count(50)
    page.get_by_role("button", name="Show more").scroll_into_view_if_needed()
    expect(page.locator(HISTORY)).to_have_count(61)
    history = page.get_by_role("region", name="History")
    history.get_by_label("Kind").select_option("WITHDRAW")
    expect(page.locator(HISTORY)).to_have_count(1)
    history.get_by_label("Kind").select_option("")
    history.get_by_label("Reference").fill("number-7")
    expect(page.locator(HISTORY)).to_have_count(1)
    history.get_by_label("Reference").fill("")
    expect(page.locator(HISTORY)).to_have_count(50)
    history.get_by_label("Up to").fill("2020-01-01")
    expect(page.get_by_text("No operations here.")).to_be_visible()


def test_what_happens_elsewhere_is_shown_by_itself(show: OpenPage, service: Service) -> None:
    wallet = service.wallet("5.00")
    page = show(wallet["id"])
    form = choose(page, "Withdraw")
    form.get_by_label("Amount").fill("1")
    service.operate(wallet["id"], "DEPOSIT", "2.50", reference="elsewhere")
    expect(figure(page, "Balance")).to_have_text("7.50 USD")
    expect(page.locator(HISTORY)).to_have_count(2)
    expect(page.locator(HISTORY).first).to_contain_text("elsewhere")
    expect(form.get_by_label("Amount")).to_have_value("1")
    hold = service.ask("POST", f"wallets/{wallet['id']}/holds", {"amount": "4"})
    expect(figure(page, "Held")).to_have_text("4.00 USD")
    service.ask("POST", f"holds/{hold['id']}/void", {})
    expect(page.get_by_role("heading", name="Open holds")).to_be_hidden()


def test_the_plot_follows_the_balance(show: OpenPage, service: Service) -> None:
    wallet = service.wallet()
    page = show(wallet["id"])
    expect(page.locator(".plot")).to_have_count(0)
    service.operate(wallet["id"], "DEPOSIT", "2.50")
    expect(page.locator(".plot canvas")).to_be_visible()
    page.locator(".plot .u-over").hover()
    expect(page.locator(".plot figcaption")).to_contain_text("2.50 USD")


def test_an_unknown_wallet_is_told(open_page: OpenPage, service: Service) -> None:
    page = open_page(service, "/#/wallets/01890a5d-ac96-774b-bcce-b302099a8057")
    expect(page.get_by_role("alert")).to_contain_text("no wallet")
    page.get_by_role("link", name="Wallets", exact=True).click()
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()
