"""What holds for the whole console: languages, themes, phones, the keyboard, screen readers."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from RestAPI.tests.browser.axe import grave_faults
from RestAPI.tests.browser.conftest import PHONE, OpenPage, Watch
from RestAPI.tests.browser.service import Service

VIEWS = ("wallets", "wallet", "about")


@pytest.fixture(scope="package")
def filled(service: Service) -> str:
    """The id of a wallet in which there is something of everything."""
    wallet = service.wallet("1234567.50", owner="anna.maria.de-la-cruz@example", name="Rainy days")
    service.operate(
        wallet["id"], "WITHDRAW", "20", reference="order-1001", description="Two tickets, row 5"
    )
    other = service.wallet(owner="bob")
    transfer = {"source_wallet_id": wallet["id"], "target_wallet_id": other["id"], "amount": "7"}
    service.ask("POST", "transfers", transfer)
    service.ask("POST", f"wallets/{wallet['id']}/holds", {"amount": "4", "reference": "booking-12"})
    text: str = wallet["id"]
    return text


def path_of(view: str, wallet_id: str) -> str:
    return {"wallets": "/", "wallet": f"/#/wallets/{wallet_id}", "about": "/#/about"}[view]


def is_drawn(page: Page) -> None:
    expect(page.locator("#view h1")).to_be_visible()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_the_language_is_the_browsers_until_another_is_chosen(
    open_page: OpenPage, service: Service
) -> None:
    page = open_page(service, locale="ru-RU")
    expect(page.get_by_role("heading", name="Кошельки", exact=True)).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "ru"
    page.get_by_label("Язык").select_option("en")
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()
    expect(page.get_by_label("Language")).to_be_focused()
    assert page.locator("html").get_attribute("lang") == "en"
    page.reload()
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()


def test_other_languages_get_english(open_page: OpenPage, service: Service) -> None:
    page = open_page(service, locale="fr-FR")
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()


def test_in_russian_amounts_and_refusals_are_russian(
    open_page: OpenPage, service: Service, filled: str
) -> None:
    page = open_page(service, f"/#/wallets/{filled}", locale="ru-RU")
    expect(page.locator(".main-figure dd")).to_have_text("1 234 536,50 USD")
    form = page.locator(".actions form")
    page.get_by_role("button", name="Списать").first.click()
    form.get_by_label("Сумма").fill("9 999 999,99")
    form.get_by_role("button", name="Списать").click()
    expect(form.locator("[data-field=amount] .wrong")).to_have_text("Доступных денег не хватает.")
    form.get_by_label("Сумма").fill("0")
    form.get_by_role("button", name="Списать").click()
    expect(form.locator("[data-field=amount] .wrong")).to_have_text("Такая сумма здесь невозможна.")


def ground(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_the_theme_is_the_systems_until_another_is_chosen(
    open_page: OpenPage, service: Service
) -> None:
    page = open_page(service)
    is_drawn(page)
    light = ground(page)
    page.emulate_media(color_scheme="dark")
    dark = ground(page)
    assert dark != light
    page.get_by_label("Theme").select_option("light")
    assert ground(page) == light
    page.reload()
    is_drawn(page)
    assert ground(page) == light
    page.emulate_media(color_scheme="light")
    page.get_by_label("Theme").select_option("dark")
    assert ground(page) == dark
    page.get_by_label("Theme").select_option("auto")
    assert ground(page) == light
    assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("locale", ["en-US", "ru-RU"])
@pytest.mark.parametrize("view", VIEWS)
def test_on_a_phone_nothing_has_to_be_scrolled_sideways(
    open_page: OpenPage, service: Service, filled: str, view: str, locale: str
) -> None:
    page = open_page(service, path_of(view, filled), viewport=PHONE, locale=locale)
    is_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    wide = page.evaluate(
        """() => [...document.querySelectorAll("#view *:not(pre *, thead *)")]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
          .map((element) => element.outerHTML.slice(0, 100))"""
    )
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_grave(
    open_page: OpenPage, service: Service, filled: str, view: str, scheme: str
) -> None:
    page = open_page(service, path_of(view, filled), color_scheme=scheme)
    is_drawn(page)
    assert grave_faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave_in_forms_and_dialogs(
    open_page: OpenPage, service: Service, filled: str, scheme: str
) -> None:
    page = open_page(service, f"/#/wallets/{filled}", color_scheme=scheme)
    is_drawn(page)
    for action in ("Deposit", "Withdraw", "Transfer", "Hold"):
        page.get_by_role("group", name="Move money").get_by_role("button", name=action).click()
        page.locator(".actions form").get_by_role("button", name=action).click()
        expect(page.locator(".actions form .wrong:visible").first).to_be_visible()
        assert grave_faults(page) == []
    for button in ("Statement", "Rename", "Limits", "Freeze", "Close wallet", "Capture", "Reverse"):
        page.get_by_role("button", name=button).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert grave_faults(page) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave_on_a_phone_and_at_the_question_for_a_key(
    open_page: OpenPage, service: Service, keyed_service: Service, filled: str, scheme: str
) -> None:
    page = open_page(service, f"/#/wallets/{filled}", viewport=PHONE, color_scheme=scheme)
    is_drawn(page)
    assert grave_faults(page) == []
    page = open_page(keyed_service, color_scheme=scheme)
    is_drawn(page)
    assert grave_faults(page) == []


def press(page: Page, key: str, until: str, limit: int = 40) -> None:
    """Press a key until the focus is on an element; fails after ``limit`` times."""
    for _ in range(limit):
        page.keyboard.press(key)
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", until):
            return
    raise AssertionError(f"{key} does not lead to {until}")


def test_money_moves_by_the_keyboard_alone(open_page: OpenPage, service: Service) -> None:
    page = open_page(service)
    is_drawn(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    press(page, "Tab", "#view button.primary")
    page.keyboard.press("Enter")
    press(page, "Tab", "dialog [name=name]")
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="By keyboard")).to_be_visible()
    press(page, "Tab", ".actions [name=amount]")
    page.keyboard.type("12.5")
    page.keyboard.press("Enter")
    expect(page.locator(".main-figure dd")).to_have_text("12.50 USD")
    press(page, "Tab", ".table button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.matches('.table button')")


def test_everything_that_is_outside_stays_reachable(
    open_page: OpenPage, service: Service, watch: Watch
) -> None:
    page = open_page(service, "/#/about")
    is_drawn(page)
    links = set(page.locator("a[href^='/']").evaluate_all("all => all.map(a => a.pathname)"))
    assert {"/docs", "/openapi.json", "/asyncapi.yaml", "/health/ready", "/metrics"} <= links
    expect(page.locator("pre")).to_contain_text(f"curl -X POST {service.base_url}")


def test_a_service_that_is_away_is_told_and_asked_again(
    open_page: OpenPage, service: Service, watch: Watch
) -> None:
    page = open_page(service)
    is_drawn(page)
    watch.allowed.append("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.get_by_role("link", name="Wallets", exact=True).click()
    page.goto("/#/about")
    is_drawn(page)
    page.goto("/#/wallets")
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="Wallets", exact=True)).to_be_visible()
