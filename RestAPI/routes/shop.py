"""The merch shop for employees: its own paths, shapes and errors, on the same ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import orjson
from flask import Response, request
from uuid_utils.compat import uuid7

from RestAPI.authentication import Authentication, Customer
from RestAPI.caller import Caller
from RestAPI.endpoint import REPLAYED_HEADER, endpoint
from RestAPI.problems import TokenInvalid, WrongPassword
from RestAPI.schemas.shop import (
    Gift,
    Info,
    ItemPath,
    ItemToBuy,
    LogIn,
    PriceChange,
    PriceList,
    ShopItem,
    ShopItemList,
    Token,
)
from RestAPI.shop import Accounts, Prices, open_merchant
from RestAPI.shop_errors import refusal_of
from WalletCore.domain.commands import Leg, Purchase, Transfer
from WalletCore.domain.errors import (
    IdempotencyKeyReused,
    LimitExceeded,
    OutcomeUnknown,
    Overloaded,
    Refused,
    WalletBusy,
    WalletNotFound,
)
from WalletCore.domain.model import Document
from WalletCore.shop import MERCHANT_ID, item_document
from WalletCore.store import IdempotencyKey, Outcome

AUTH_PATH: Final = "/api/auth"
INFO_PATH: Final = "/api/info"
PRICES_PATH: Final = "/api/items"
SEND_PATH: Final = "/api/sendCoin"
BUY_PATH: Final = "/api/buy/<string:item>"
ITEMS_PATH: Final = "/api/v1/shop/items"
TAG: Final = "Shop"
FIRST_ERROR_STATUS: Final = 400
NOT_FOUND: Final = 404

_DECIDED: Final = (Refused, IdempotencyKeyReused, Overloaded, WalletBusy, OutcomeUnknown)
"""What may come of a command."""


class ShopRoutes:
    """The endpoints of the shop, and those of its administration."""

    def __init__(self, authentication: Authentication, accounts: Accounts, prices: Prices) -> None:
        self._authentication = authentication
        self._accounts = accounts
        self._prices = prices

    @endpoint(
        tag=TAG,
        body=LogIn,
        shop=True,
        responses={200: Token},
        errors=(WrongPassword, Overloaded),
    )
    def log_in(self, body: LogIn) -> Document:
        """Log in

        An unknown user is created, with 1000 coins. A known one must give the right password.
        """
        tokens = self._authentication.tokens
        origin = self._authentication.origin(request.environ, f"user:{body.username}")
        password = body.password.get_secret_value()
        # A right one among too many guesses must not be told apart from them.
        self._authentication.before_password(request.environ)
        try:
            wallet_id = self._accounts.log_in(body.username, password, origin)
        except WrongPassword:
            self._authentication.wrong_password(request.environ)
            raise
        # Nor among those that were verified at the same moment: each would be a guess for nothing.
        self._authentication.before_password(request.environ)
        return {"token": tokens.issue(body.username, wallet_id)}

    @endpoint(tag=TAG, shop=True, responses={200: Info})
    def get_info(self, caller: Customer) -> Document:
        """Read what you have: coins, purchases, gifts

        All of it at one moment. Gifts are added up by the other user, purchases by the item; what
        was reversed is left out.
        """
        try:
            return caller.store.shop.info(caller.wallet_id)
        except WalletNotFound:
            raise _nobody() from None

    @endpoint(tag=TAG, shop=True, responses={200: PriceList})
    def get_prices(self, caller: Customer) -> Document:
        """Read what there is to buy, and what it costs

        In the order of the names. A price may change at any moment: a purchase costs what it costs
        then.
        """
        items = caller.store.shop.items()
        return {"items": [{"type": item.name, "price": item.price} for item in items]}

    @endpoint(
        tag=TAG,
        body=Gift,
        shop=True,
        keyed=True,
        responses={200: None},
        errors=_DECIDED,
    )
    def send_coin(self, caller: Customer, body: Gift, key: IdempotencyKey | None) -> Response:
        """Give coins to another user"""
        target_id = self._accounts.wallet_of(body.toUser)
        if target_id == caller.wallet_id:
            raise Refused("Coins are given to somebody else, not to oneself.")
        operation_id = uuid7()
        leg = Leg(operation_id, caller.wallet_id, target_id, Decimal(body.amount))
        outcome = caller.execute(Transfer(operation_id, (leg,)), key)
        if outcome.status == NOT_FOUND:
            _require_wallet(caller)
            raise Refused(f"There is no user {body.toUser!r}.")
        return _done(outcome)

    @endpoint(
        tag=TAG,
        path=ItemToBuy,
        shop=True,
        keyed=True,
        responses={200: None},
        errors=_DECIDED,
    )
    def buy(self, caller: Customer, item: str, key: IdempotencyKey | None) -> Response:
        """Buy one item

        A GET that changes something, as published: with an Idempotency-Key it is safe to repeat.
        """
        price = Decimal(self._prices.of(item))
        outcome = self._purchase(caller, item, price, key)
        if outcome.status == NOT_FOUND:
            _require_wallet(caller)
            open_merchant(caller.store)
            outcome = self._purchase(caller, item, price, key)
        return _done(outcome)

    @staticmethod
    def _purchase(
        caller: Customer, item: str, price: Decimal, key: IdempotencyKey | None
    ) -> Outcome:
        purchase_id, operation_id = uuid7(), uuid7()
        command = Purchase(caller.wallet_id, MERCHANT_ID, operation_id, purchase_id, item, price)
        return caller.execute(command, key)

    @endpoint(tag=TAG, responses={200: ShopItemList})
    def list_items(self, caller: Caller) -> Document:
        """List the items of the shop with their prices"""
        return {"items": [item_document(item) for item in caller.store.shop.items()]}

    @endpoint(
        tag=TAG,
        path=ItemPath,
        body=PriceChange,
        repeatable=True,
        responses={200: ShopItem},
        errors=(LimitExceeded,),
    )
    def set_price(self, caller: Caller, item: str, body: PriceChange) -> Document:
        """Set the price of an item

        One that there is not yet is made. The new price holds in this process at once, in others
        within a second; what was bought before keeps the price that was paid.
        """
        changed, _ = caller.store.shop.set_price(item, body.price, caller.origin.actor)
        self._prices.forget()
        return item_document(changed)


def _done(outcome: Outcome) -> Response:
    """An empty answer to what was done. Raises what was refused, in words of the shop."""
    if outcome.status >= FIRST_ERROR_STATUS:
        problem = orjson.loads(outcome.body)
        if problem["code"] == IdempotencyKeyReused.code:
            raise IdempotencyKeyReused(problem["detail"])
        raise refusal_of(problem)
    response = Response(status=200)
    del response.headers["Content-Type"]
    if outcome.replayed:
        response.headers[REPLAYED_HEADER] = "true"
    return response


def _require_wallet(caller: Customer) -> None:
    """Raises TokenInvalid where the database is another one than that which the token is of."""
    try:
        caller.store.wallet(caller.wallet_id)
    except WalletNotFound:
        raise _nobody() from None


def _nobody() -> TokenInvalid:
    return TokenInvalid("There is no such user any more: log in again with POST /api/auth.")
