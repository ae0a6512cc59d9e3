"""A service that asks for keys, for the tests of who may do what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.test import TestResponse

from RestAPI.app import Application
from WalletCore.domain.origin import SHELL_ACTOR
from WalletCore.keys import PREFIX, Scope, new_key
from WalletCore.settings import MEMORY_URL, Settings
from WalletCore.store import Store

API: Final = "/api/v1"
BOOTSTRAP: Final = f"{PREFIX}_{'0' * 16}_{'A' * 43}"
SETTINGS: Final = Settings(
    database_url=SecretStr(MEMORY_URL),
    redis_url=None,
    amqp_url=None,
    access="keys",
    bootstrap_key=SecretStr(BOOTSTRAP),
)
ORDER: Final = {"operation_type": "DEPOSIT", "amount": "10"}
UNKNOWN: Final = "01890a5d-ac96-774b-bcce-b302099a8057"


@dataclass(frozen=True)
class World:
    """An application that asks for keys, on ``store``."""

    app: Application
    store: Store

    def key(self, *scopes: Scope, owner: str | None = None, **given: Any) -> str:
        """The text of a new key."""
        key, text = new_key("test", scopes, owner=owner, created_by=SHELL_ACTOR, **given)
        self.store.keys.add(key)
        return text

    def call(
        self, method: str, path: str, token: str | None, json: Any = None, **headers: str
    ) -> TestResponse:
        """The answer to a request with ``token``."""
        client: FlaskClient = self.app.test_client()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return client.open(path, method=method, json=json, headers=headers)

    def wallet(self, owner: str | None, token: str = BOOTSTRAP) -> str:
        """The id of a new wallet with 10 in it."""
        made = self.call("POST", f"{API}/wallets", token, {"owner": owner}).get_json()
        path = f"{API}/wallets/{made['id']}/operation"
        assert self.call("POST", path, BOOTSTRAP, ORDER).status_code == 200
        return str(made["id"])
