"""The shop's page: log in, buy, give, and what is said when that does not work."""

from __future__ import annotations

import re
from threading import Event
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from RestAPI.tests.browser.axe import grave_faults
from RestAPI.tests.browser.conftest import PHONE, OpenPage, Watch
from RestAPI.tests.browser.service import Service

PASSWORD = "a good password"
BUY = re.compile(r"/api/buy/")
ITEMS = {
    "book": "50",
    "cup": "20",
    "hoody": "300",
    "pen": "10",
    "pink-hoody": "500",
    "powerbank": "200",
    "socks": "10",
    "t-shirt": "80",
    "umbrella": "200",
    "wallet": "50",
}


def new_name() -> str:
    return f"ann-{uuid4().hex[:12]}"


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def inside(open_page: OpenPage, service: Service, name: str, **options: object) -> Page:
    """The page of somebody who has logged in."""
    token = service.ask("POST", "/api/auth", {"username": name, "password": PASSWORD})["token"]
    page = open_page(service, "/shop", **options)
    page.evaluate("token => sessionStorage.setItem('coffer.shop.token', token)", token)
    page.reload()
    expect(item(page, "cup")).to_be_visible()
    return page


def item(page: Page, name: str) -> Locator:
    return page.locator(f"[data-item={name}]")


def test_a_new_name_is_registered_and_sees_what_there_is(
    open_page: OpenPage, service: Service
) -> None:
    page = open_page(service, "/shop")
    expect(page.get_by_label("Name")).to_be_focused()
    log_in(page, new_name())
    expect(page.locator(".purse")).to_contain_text("1,000")
    shown = {
        card.get_attribute("data-item"): card.locator(".offer .money").inner_text()
        for card in page.locator(".item").all()
    }
    assert ITEMS.items() <= shown.items()
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    expect(page.locator(".purse")).to_contain_text("1,000")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Name")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_wrong_password_is_said_at_its_field(open_page: OpenPage, service: Service) -> None:
    name = new_name()
    service.ask("POST", "/api/auth", {"username": name, "password": PASSWORD})
    page = open_page(service, "/shop")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("[data-field=username] .wrong")).to_have_text("Write your name.")
    log_in(page, name, "another")
    wrong = page.locator("[data-field=password] .wrong")
    expect(wrong).to_have_text("The password is not that of this user.")
    expect(page.get_by_label("Password")).to_be_focused()
    log_in(page, "two words")
    expect(page.locator("[data-field=username] .wrong")).to_be_visible()
    log_in(page, name)
    expect(page.locator(".purse")).to_contain_text("1,000")


def test_a_double_click_buys_once(open_page: OpenPage, service: Service) -> None:
    page = inside(open_page, service, new_name())
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url))
    item(page, "cup").get_by_role("button").dblclick()
    expect(page.locator("#said")).to_have_text("Bought: Cup.")
    expect(page.locator(".purse")).to_contain_text("980")
    expect(page.locator(".inventory")).to_have_text(re.compile(r"Cup\s*. 1"))
    assert len([url for url in sent if BUY.search(url)]) == 1
    item(page, "cup").get_by_role("button").click()
    expect(page.locator(".inventory")).to_have_text(re.compile(r"Cup\s*. 2"))


def test_a_purchase_whose_answer_is_lost_is_repeated_and_bought_once(
    open_page: OpenPage, service: Service, watch: Watch
) -> None:
    watch.allowed.append("net::ERR_FAILED")
    page = inside(open_page, service, new_name())
    reached = Event()

    def lose(route: Route) -> None:
        """Let the service do it, and keep its answer."""
        route.fetch()
        reached.set()
        route.abort()

    page.route(BUY, lose)
    item(page, "socks").get_by_role("button").click()
    expect(item(page, "socks").get_by_role("alert")).to_have_text(
        "The service does not answer. Nothing is lost: try again."
    )
    assert reached.is_set()
    page.unroute(BUY)
    item(page, "socks").get_by_role("button").click()
    expect(page.locator("#said")).to_have_text("Bought: Socks.")
    expect(item(page, "socks").get_by_role("alert")).to_be_hidden()
    expect(page.locator(".purse")).to_contain_text("990")


def test_too_few_coins_are_said_at_the_item(open_page: OpenPage, service: Service) -> None:
    page = inside(open_page, service, new_name())
    item(page, "pink-hoody").get_by_role("button").click()
    expect(page.locator(".purse")).to_contain_text("500")
    item(page, "cup").get_by_role("button").click()
    expect(item(page, "pink-hoody").locator(".short")).to_have_text("20 coins short")
    item(page, "pink-hoody").get_by_role("button").click()
    expect(item(page, "pink-hoody").get_by_role("alert")).to_have_text(
        "There are too few coins: 480 can be spent."
    )


def test_coins_are_given_and_seen_by_both(open_page: OpenPage, service: Service) -> None:
    ann, bob = new_name(), new_name()
    page = inside(open_page, service, ann)
    other = inside(open_page, service, bob)
    form = page.locator("form")
    for whom, amount, field, said in (
        (bob, "1.5", "amount", "This currency has no decimals."),
        (bob, "0", "amount", "Write a whole number above 0."),
        (bob, "5000", "amount", "There are too few coins: 1000 can be spent."),
        ("", "5", "toUser", "Write the name of a colleague."),
        (ann, "5", "toUser", "Coins are given to somebody else, not to oneself."),
        (f"nobody-{ann}", "5", "toUser", f"There is no user 'nobody-{ann}'."),
    ):
        form.get_by_label("To whom").fill(whom)
        form.get_by_label("How many").fill(amount)
        form.get_by_role("button", name="Send").click()
        expect(form.locator(f"[data-field={field}] .wrong")).to_have_text(said)
    form.get_by_label("To whom").fill(bob)
    form.get_by_label("How many").fill("1 000")
    form.get_by_role("button", name="Send").dblclick()
    expect(form.get_by_role("status")).to_contain_text(f"1,000 coins given to {bob}.")
    expect(page.locator(".purse")).to_have_text(re.compile(r"\b0$"))
    expect(page.locator(".gifts.out")).to_contain_text(bob)
    other.bring_to_front()
    expect(other.locator(".purse")).to_contain_text("2,000", timeout=15_000)
    expect(other.locator(".gifts.in")).to_contain_text(ann)


def test_a_token_that_is_over_goes_back_to_the_log_in(
    open_page: OpenPage, service: Service
) -> None:
    name = new_name()
    page = inside(open_page, service, name)
    page.evaluate(
        "sessionStorage.setItem('coffer.shop.token',"
        " sessionStorage.getItem('coffer.shop.token').slice(0, -4) + 'AAAA')"
    )
    item(page, "cup").get_by_role("button").click()
    expect(page.get_by_role("alert").first).to_contain_text("Log in again")
    assert page.evaluate("sessionStorage.length") == 0
    log_in(page, name)
    expect(page.locator(".purse")).to_contain_text("1,000")
    expect(page.get_by_text("Log in again")).to_have_count(0)


def test_a_new_item_is_sold_with_a_picture(open_page: OpenPage, service: Service) -> None:
    name = f"mug-{uuid4().hex[:8]}"
    page = inside(open_page, service, new_name())
    service.ask("PUT", f"shop/items/{name}", {"price": 7})
    page.reload()
    expect(item(page, name)).to_contain_text(name)
    expect(item(page, name).locator(".stage .picture")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_on_a_phone_in_russian(
    open_page: OpenPage, service: Service, scheme: str
) -> None:
    page = inside(
        open_page, service, new_name(), viewport=PHONE, locale="ru-RU", color_scheme=scheme
    )
    item(page, "cup").get_by_role("button").click()
    expect(page.locator("#said")).to_have_text("Куплено: Кружка.")
    page.get_by_label("Кому").fill(f"nobody-{uuid4().hex}")
    page.get_by_label("Сколько").fill("5")
    page.get_by_role("button", name="Отправить").click()
    expect(page.locator("[data-field=toUser] .wrong")).to_have_text("Такого имени нет.")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert grave_faults(page) == []


def test_the_log_in_has_no_grave_faults(open_page: OpenPage, service: Service) -> None:
    page = open_page(service, "/shop", viewport=PHONE)
    expect(page.get_by_label("Name")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert grave_faults(page) == []
