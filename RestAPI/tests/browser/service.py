"""The service that the pages are served by, with what a test prepares in it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

API: Final = "/api/v1"
ASK_TIMEOUT_SECONDS: Final = 20.0

_numbers = count(1)


@dataclass(frozen=True)
class Service:
    """A running service, asked with ``key`` if it wants one."""

    base_url: str
    key: str | None = None

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        """The JSON that a request is answered with; ``path`` is below /api/v1 unless it begins with
        a slash. Raises AssertionError for a status of 400 and more.
        """
        url = self.base_url + (path if path.startswith("/") else f"{API}/{path}")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if key or self.key:
            headers["Authorization"] = f"Bearer {key or self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode()
            raise AssertionError(f"{method} {path}: {error.code} {said}") from None

    def wallet(self, balance: str | None = None, **given: Any) -> dict[str, Any]:
        """A new wallet, with an owner of its own unless one is given, and ``balance`` in it."""
        given.setdefault("owner", f"owner-{next(_numbers)}")
        made: dict[str, Any] = self.ask("POST", "wallets", given)
        if balance is not None:
            self.operate(made["id"], "DEPOSIT", balance)
        return self.read(made["id"])

    def operate(self, wallet_id: str, kind: str, amount: str, **given: Any) -> dict[str, Any]:
        """A deposit or a withdrawal that is done."""
        done: dict[str, Any] = self.ask(
            "POST",
            f"wallets/{wallet_id}/operation",
            {"operation_type": kind, "amount": amount, **given},
        )
        return done

    def read(self, wallet_id: str) -> dict[str, Any]:
        """A wallet as it is now."""
        found: dict[str, Any] = self.ask("GET", f"wallets/{wallet_id}")
        return found

    def history(self, wallet_id: str) -> list[dict[str, Any]]:
        """The newest operations of a wallet, newest first."""
        found: list[dict[str, Any]] = self.ask("GET", f"wallets/{wallet_id}/operations")["items"]
        return found

    def new_key(self, *scopes: str, owner: str | None = None) -> str:
        """The text of a new API key; the service must ask for keys."""
        made = self.ask("POST", "keys", {"name": "test", "scopes": [*scopes], "owner": owner})
        text: str = made["key"]
        return text
