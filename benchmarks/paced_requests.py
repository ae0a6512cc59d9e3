"""The requests that the paced client sends, as bytes. What is random here is no secret."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

_RANDOM: Final = random.Random()  # noqa: S311

MakeRequest: TypeAlias = Callable[[], bytes]
"""Gives the next request."""

INFO_SHARE: Final = 0.70
GIFT_SHARE: Final = 0.15
"""Of the requests to the shop; the rest buys."""

MAX_GIFT_COINS: Final = 5
ITEMS: Final = ("cup", "pen", "socks", "book")
"""What is bought, cheap enough that nobody runs out of coins in a run."""

PASSWORD: Final = "a password of a benchmark"  # noqa: S105 - of users that live as long as a run

_HEAD: Final = "Host: 127.0.0.1\r\nAccept: application/json\r\nUser-Agent: coffer-benchmark\r\n"


def deposits(text: str) -> MakeRequest:
    """Deposits into random wallets. ``text``: their ids, a line each."""
    ids = text.split()

    def make() -> bytes:
        amount = _RANDOM.randint(1, 99_999)
        body = (
            f'{{"operation_type": "DEPOSIT", "amount": "{amount // 100}.{amount % 100:02d}", '
            f'"reference": "order-{_RANDOM.getrandbits(40)}", "metadata": {{"channel": "web"}}}}'
        )
        return _post(f"/api/v1/wallets/{_RANDOM.choice(ids)}/operation", body)

    return make


def shop(text: str) -> MakeRequest:
    """What a shop is asked, by random ones of two or more users. ``text``: a name and a token on
    each line.
    """
    users = [line.split() for line in text.splitlines()]

    def make() -> bytes:
        giver, token = _RANDOM.choice(users)
        kind = _RANDOM.random()
        if kind < INFO_SHARE:
            return _get("/api/info", token)
        if kind >= INFO_SHARE + GIFT_SHARE:
            return _get(f"/api/buy/{_RANDOM.choice(ITEMS)}", token)
        taker = giver
        while taker == giver:
            taker = _RANDOM.choice(users)[0]
        amount = _RANDOM.randint(1, MAX_GIFT_COINS)
        return _post("/api/sendCoin", f'{{"toUser": "{taker}", "amount": {amount}}}', token)

    return make


def first_log_ins(_text: str) -> MakeRequest:
    """People who were never there before."""
    run, numbers = secrets.token_hex(4), itertools.count()

    def make() -> bytes:
        name = f"new-{run}-{next(numbers)}"
        return _post("/api/auth", f'{{"username": "{name}", "password": "{PASSWORD}"}}')

    return make


KINDS: Final[Mapping[str, Callable[[str], MakeRequest]]] = {
    "deposits": deposits,
    "shop": shop,
    "first-log-ins": first_log_ins,
}


def _get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n{_HEAD}Authorization: Bearer {token}\r\n\r\n".encode()


def _post(path: str, body: str, token: str | None = None) -> bytes:
    access = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    return (
        f"POST {path} HTTP/1.1\r\n{_HEAD}{access}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
