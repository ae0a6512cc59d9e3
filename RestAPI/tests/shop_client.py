"""The shop as a user sees it, through whatever client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from pydantic import SecretStr

from RestAPI.app import create_app
from testkit.case_clients import Answer, Client, WsgiClient
from testkit.running import JWT_SECRET
from WalletCore.domain.model import Document
from WalletCore.open_store import open_store
from WalletCore.settings import MEMORY_URL, Settings
from WalletCore.store import Store


def shop_settings(url: str = MEMORY_URL, **settings: Any) -> Settings:
    """Settings with a secret, on the database at ``url``."""
    given: dict[str, Any] = {"redis_url": None, "amqp_url": None, "jwt_secret": JWT_SECRET}
    return Settings(database_url=SecretStr(url), **{**given, **settings})


@contextmanager
def shop_on(url: str = MEMORY_URL, **settings: Any) -> Iterator[tuple[Shopper, Store]]:
    """A shop in this process, as one more process of the service would be, and its store."""
    given = shop_settings(url, **settings)
    store = open_store(given)
    try:
        yield Shopper(WsgiClient(create_app(given, store))), store
    finally:
        store.close()


class Shopper:
    """Somebody who has not logged in yet."""

    def __init__(self, client: Client, token: str | None = None) -> None:
        self._client = client
        self.token = token

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, with the token if there is one."""
        sent = dict(headers or {})
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is None:
            return self._client(method, path, sent, None)
        sent["Content-Type"] = "application/json"
        return self._client(method, path, sent, orjson.dumps(body))

    def log_in(self, username: str, password: str = "secret") -> Answer:
        """Try to."""
        return self.ask("POST", "/api/auth", {"username": username, "password": password})

    def user(self, username: str, password: str = "secret") -> Shopper:
        """The same, logged in as this user."""
        answer = self.log_in(username, password)
        assert answer.status == 200, answer.body
        return Shopper(self._client, orjson.loads(answer.body)["token"])

    def buy(self, item: str, **headers: str) -> Answer:
        """Buy one."""
        return self.ask("GET", f"/api/buy/{item}", headers=headers)

    def give(self, username: str, amount: object, **headers: str) -> Answer:
        """Give coins."""
        return self.ask("POST", "/api/sendCoin", {"toUser": username, "amount": amount}, headers)

    def info(self) -> Document:
        """What there is."""
        answer = self.ask("GET", "/api/info")
        assert answer.status == 200, answer.body
        found: Document = orjson.loads(answer.body)
        return found


def text_of(answer: Answer) -> str:
    """The text of an error of the shop, which has its shape."""
    document = orjson.loads(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert document.keys() == {"errors"}
    return str(document["errors"])
