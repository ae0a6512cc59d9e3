"""The page of the documentation: everything can be tried out from it, with a key too."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from RestAPI.tests.browser.conftest import OpenPage
from RestAPI.tests.browser.service import Service

EXECUTED = ".live-responses-table"
PATIENCE_MILLISECONDS = 60_000
"""Swagger UI takes seconds to lay out an operation on a machine with much to do."""

pytestmark = pytest.mark.timeout(480)


def docs(open_page: OpenPage, service: Service) -> Page:
    page = open_page(service, "/docs")
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    page.locator(".opblock").first.wait_for()
    return page


def authorize(page: Page, scheme: str, secret: str) -> None:
    page.locator(".auth-wrapper > .authorize").click()
    box = page.locator(".auth-container", has_text=re.compile(rf"^{scheme}"))
    box.locator("input").fill(secret)
    box.get_by_role("button", name="Apply credentials").click()
    box.locator(".btn-done").click()


def opened(page: Page, tag: str, operation: str) -> Locator:
    block = page.locator(f"#operations-{tag}-{operation}")
    block.locator(".opblock-summary-control").click()
    block.locator(".execute").wait_for()
    return block


def execute(block: Locator) -> tuple[int, str]:
    """Press the button; the status and the text of the answer."""
    block.locator(".execute").click()
    answer = block.locator(f"{EXECUTED} .response")
    answer.first.wait_for()
    status = int(answer.first.locator(".response-col_status").inner_text().split()[0])
    body = answer.first.locator(".highlight-code code").first
    return status, body.inner_text() if body.count() else ""


def fill(block: Locator, name: str, value: str) -> None:
    block.locator(f'tr[data-param-name="{name}"] input').fill(value)


def sent(page: Page, block: Locator) -> Any:
    """The request that the button sends."""
    with page.expect_request(lambda request: "/api" in request.url) as request:
        execute(block)
    return request.value


def test_a_deposit_with_a_key_from_end_to_end(open_page: OpenPage, keyed_service: Service) -> None:
    key = keyed_service.new_key("wallets:read", "wallets:write")
    wallet = keyed_service.wallet()["id"]
    page = docs(open_page, keyed_service)
    block = opened(page, "Operations", "operate")
    fill(block, "wallet_id", wallet)
    status, text = execute(block)
    assert status == 401
    assert json.loads(text)["code"] == "key_missing"

    authorize(page, "ApiKey", key)
    fill(block, "Idempotency-Key", "from-the-page")
    request = sent(page, block)
    assert request.headers["authorization"] == f"Bearer {key}"
    assert request.headers["idempotency-key"] == "from-the-page"
    assert request.post_data_json["operation_type"] == "DEPOSIT"
    status, text = execute(block)
    assert status == 200
    deposited = json.loads(text)
    assert deposited["wallet_id"] == wallet
    # Sent twice under one key, done once.
    assert keyed_service.read(wallet)["balance"] == deposited["new_balance"]
    assert deposited["previous_balance"] == "0.00"


def test_the_shop_s_token_is_a_scheme_of_its_own(open_page: OpenPage, service: Service) -> None:
    page = docs(open_page, service)
    token = service.ask("POST", "/api/auth", {"username": "docs", "password": "secret"})["token"]
    authorize(page, "ShopToken", token)
    status, text = execute(opened(page, "Shop", "get_info"))
    assert status == 200
    assert json.loads(text)["coins"] == 1000


def test_what_is_filled_in_beforehand_is_never_broken(
    open_page: OpenPage, service: Service
) -> None:
    """As they stand, requests are refused at most because there is no such thing (404)."""
    page = docs(open_page, service)
    for tag, operation in (
        ("Wallets", "create_wallet"),
        ("Wallets", "get_balance"),
        ("Operations", "search_operations"),
        ("Operations", "get_statement"),
        ("Operations", "operate"),
        ("Operations", "operate_in_bulk"),
        ("Transfers", "transfer"),
        ("Events", "list_events"),
        ("Keys", "create_key"),
        ("Shop", "log_in"),
        ("Service", "ready"),
    ):
        block = opened(page, tag, operation)
        status, text = execute(block)
        assert status < 400 or status == 404, (operation, status, text)
        block.locator(".opblock-summary-control").click()


def test_examples_are_offered_by_the_titles_of_their_cases(
    open_page: OpenPage, service: Service
) -> None:
    page = docs(open_page, service)
    block = opened(page, "Operations", "operate")
    choices = block.locator(".opblock-section-request-body select.examples-select-element option")
    assert choices.count() >= 3
    body = block.locator("textarea.body-param__text")
    assert json.loads(body.input_value())["operation_type"] == "DEPOSIT"
    block.locator(".opblock-section-request-body select.examples-select-element").select_option(
        index=1
    )
    assert json.loads(body.input_value())["operation_type"] == "WITHDRAW"
