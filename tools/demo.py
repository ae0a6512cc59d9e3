"""Fills a running service with believable wallets and lets things happen, over HTTP alone.

``make demo`` beside ``make run``. It is a client like any other and no part of the service.
"""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import click

from RestAPI.client import DEFAULT_URL, KEY_VARIABLE, Away, Client, key_of

API: Final = "/api/v1"
MARK: Final = "coffer-demo"
"""In the metadata of the wallets that a demo makes, and before the names of its users."""

MIN_RATE: Final = 0.1
MAX_RATE: Final = 500.0
"""Operations a second."""
SAY_SECONDS: Final = 5.0
MAX_PAGES: Final = 100
"""Of so many pages of wallets a demo looks whose they are."""
PAGE_WALLETS: Final = 200
MAX_SHOWN_REFUSALS: Final = 5
SHORT_HOLD_SECONDS: Final = 2
LONG_HOLD_SECONDS: Final = 3600
MAX_OPEN: Final = 50
"""Holds and withdrawals that are kept in mind, to be resolved and reversed."""

CURRENCIES: Final = {"USD": 2, "EUR": 2, "JPY": 0}
OWNERS: Final = (
    "Anna Petrova", "Ben Okafor", "Chloé Martin", "Daniel Kim", "Elena Rossi", "Farid Rahimi",
    "Grace Lee", "Hiro Tanaka", "Ingrid Olsen", "João Silva", "Kateřina Nová", "Liam Murphy",
)  # fmt: skip
PURPOSES: Final = ("Everyday", "Savings", "Travel")
SHOPS: Final = ("Corner Bakery", "City Cinema")
"""Everybody pays them, so their wallets are hot."""
USERS: Final = ("anna", "ben", "chloe", "daniel")
ITEMS: Final = ("pen", "cup", "socks", "book")
REASONS: Final = ("salary", "gift", "refund of expenses", "sale of a bicycle")
BOOKINGS: Final = ("hotel", "rental car", "theatre tickets", "fuel")

Action = Callable[[], None]


class CannotShow(click.ClickException):
    """Printed as one line. The text says what is wrong and what to do."""

    exit_code = 2


@dataclass(slots=True)
class Account:
    """A wallet of the demo. ``minor``: what can certainly be taken out, in minor units."""

    wallet_id: str
    currency: str
    minor: int = 0
    shop: bool = False

    def text(self, minor: int) -> str:
        """``minor`` as an amount of its currency."""
        decimals = CURRENCIES[self.currency]
        whole, rest = divmod(minor, 10**decimals)
        return f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)


@dataclass(slots=True)
class Demo:
    """What happens. The same ``seed`` gives the same things in the same order."""

    client: Client
    seed: int
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    done: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    refused: int = 0
    accounts: list[Account] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    coins: dict[str, int] = field(default_factory=dict)
    _holds: deque[tuple[Account, str, int]] = field(default_factory=lambda: deque(maxlen=MAX_OPEN))
    _withdrawals: deque[tuple[Account, str, int]] = field(
        default_factory=lambda: deque(maxlen=MAX_OPEN)
    )
    _count: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - no secret

    # -- The beginning -------------------------------------------------------------------------

    def require_place(self, *, add: bool) -> None:
        """Raises CannotShow where the key does not reach, or there are wallets of others."""
        status, access = self.client.ask("GET", f"{API}/access")
        if status == HTTPStatus.UNAUTHORIZED:
            raise CannotShow(
                f"The service asks for an API key that works: set {KEY_VARIABLE}, or --key-file."
            )
        if status != HTTPStatus.OK or not isinstance(access, dict) or "scopes" not in access:
            raise CannotShow(f"What answers at {self.client.url} is no Coffer of this version.")
        if not {"wallets:read", "wallets:write"} <= set(access["scopes"]):
            raise CannotShow("The key needs the scopes wallets:read and wallets:write.")
        if access["owner"] is not None:
            raise CannotShow("The key is limited to one owner, and the demo is of many.")
        if not add and self._others():
            raise CannotShow(
                "This service has wallets that no demo made. --add puts the demo's beside them; "
                "there is no way to take them out again."
            )

    def _others(self) -> bool:
        """Whether there are wallets that no demo made."""
        cursor = ""
        for _ in range(MAX_PAGES):
            status, page = self.client.ask("GET", f"{API}/wallets?limit={PAGE_WALLETS}{cursor}")
            if status != HTTPStatus.OK:
                raise CannotShow(f"The wallets cannot be listed (HTTP {status}).")
            if not all(_is_ours(wallet) for wallet in page["items"]):
                return True
            if page["next_cursor"] is None:
                return False
            cursor = f"&cursor={page['next_cursor']}"
        return True

    def begin(self) -> None:
        """Make the wallets and the users, and put money into them."""
        for number, owner in enumerate(OWNERS):
            currency = list(CURRENCIES)[number % len(CURRENCIES)]
            for purpose in PURPOSES[: 1 + number % len(PURPOSES)]:
                self._open(owner, purpose, currency)
        for currency in CURRENCIES:
            for shop in SHOPS:
                self._open(shop, f"Till {currency}", currency, shop=True)
        for account in self.accounts:
            self._deposit(account, 200_000)
        for user in USERS:
            name, password = f"{MARK}-{user}-{self.run}", secrets.token_urlsafe(12)
            given = {"username": name, "password": password}
            answer = self._ask("user", "POST", "/api/auth", given)
            if answer is not None:
                self.tokens[name], self.coins[name] = answer["token"], 1000

    def _open(self, owner: str, name: str, currency: str, *, shop: bool = False) -> None:
        order = {
            "owner": owner,
            "name": name,
            "currency": currency,
            "metadata": {MARK: self.run},
        }
        made = self._ask("wallet", "POST", f"{API}/wallets", order)
        if made is not None:
            self.accounts.append(Account(made["id"], currency, shop=shop))

    # -- What happens --------------------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen, of those that can."""
        actions: Sequence[tuple[int, Action]] = (
            (20, lambda: self._deposit(self._anybody(), self._some(50_000))),
            (15, self._withdraw),
            (30, self._transfer),
            (9, lambda: self._hold(LONG_HOLD_SECONDS)),
            (3, lambda: self._hold(SHORT_HOLD_SECONDS)),
            (5, self._capture),
            (3, self._void),
            (4, self._reverse),
            (7, self._buy),
            (4, self._send),
        )
        weights = [weight for weight, _ in actions]
        self._random.choices([action for _, action in actions], weights)[0]()

    def _deposit(self, account: Account, minor: int) -> None:
        order = {
            "operation_type": "DEPOSIT",
            "amount": account.text(minor),
            "reference": self._random.choice(REASONS),
        }
        path = f"{API}/wallets/{account.wallet_id}/operation"
        if self._ask("deposit", "POST", path, order) is not None:
            account.minor += minor

    def _withdraw(self) -> None:
        account = self._anybody()
        minor = min(self._some(20_000), account.minor)
        if minor < 1:
            return self._deposit(account, 100_000)
        order = {
            "operation_type": "WITHDRAW",
            "amount": account.text(minor),
            "description": "cash machine",
        }
        path = f"{API}/wallets/{account.wallet_id}/operation"
        answer = self._ask("withdrawal", "POST", path, order)
        if answer is not None:
            account.minor -= minor
            self._withdrawals.append((account, answer["id"], minor))
        return None

    def _transfer(self) -> None:
        source = self._anybody()
        targets = [a for a in self.accounts if a.currency == source.currency and a is not source]
        # Shops are paid most of the time.
        target = self._random.choices(targets, [8 if a.shop else 1 for a in targets])[0]
        minor = min(self._some(5_000), source.minor)
        if minor < 1:
            return self._deposit(source, 100_000)
        order = {
            "source_wallet_id": source.wallet_id,
            "target_wallet_id": target.wallet_id,
            "amount": source.text(minor),
        }
        if self._ask("transfer", "POST", f"{API}/transfers", order) is not None:
            source.minor -= minor
            target.minor += minor
        return None

    def _hold(self, seconds: int) -> None:
        account = self._anybody()
        minor = min(self._some(10_000), account.minor)
        if minor < 1:
            return self._deposit(account, 100_000)
        order = {
            "amount": account.text(minor),
            "expires_in_seconds": seconds,
            "reference": self._random.choice(BOOKINGS),
        }
        path = f"{API}/wallets/{account.wallet_id}/holds"
        what = "hold" if seconds == LONG_HOLD_SECONDS else "hold left to expire"
        answer = self._ask(what, "POST", path, order)
        if answer is not None:
            # What expires comes back; it is not counted on.
            account.minor -= minor
            if seconds == LONG_HOLD_SECONDS:
                self._holds.append((account, answer["id"], minor))
        return None

    def _capture(self) -> None:
        if not self._holds:
            return self._hold(LONG_HOLD_SECONDS)
        _, hold_id, _ = self._holds.popleft()
        self._ask("capture", "POST", f"{API}/holds/{hold_id}/capture", {})
        return None

    def _void(self) -> None:
        if not self._holds:
            return self._hold(LONG_HOLD_SECONDS)
        account, hold_id, minor = self._holds.popleft()
        if self._ask("void", "POST", f"{API}/holds/{hold_id}/void", {}) is not None:
            account.minor += minor
        return None

    def _reverse(self) -> None:
        if not self._withdrawals:
            return self._withdraw()
        account, operation_id, minor = self._withdrawals.popleft()
        path = f"{API}/operations/{operation_id}/reversal"
        if self._ask("reversal", "POST", path, {}) is not None:
            account.minor += minor
        return None

    def _buy(self) -> None:
        name = self._user_with(50)
        if name is None:
            return self._transfer()
        item = self._random.choice(ITEMS)
        path = f"/api/buy/{item}"
        if self._ask("purchase", "GET", path, None, self.tokens[name]) is not None:
            # More than any of the items costs.
            self.coins[name] -= 50
        return None

    def _send(self) -> None:
        name = self._user_with(10)
        if name is None:
            return self._transfer()
        to = self._random.choice([other for other in self.tokens if other != name])
        order = {"toUser": to, "amount": 10}
        if (
            self._ask("gift of coins", "POST", "/api/sendCoin", order, self.tokens[name])
            is not None
        ):
            self.coins[name] -= 10
            self.coins[to] += 10
        return None

    def _user_with(self, coins: int) -> str | None:
        able = [name for name in self.tokens if self.coins[name] >= coins]
        return self._random.choice(able) if able and len(self.tokens) > 1 else None

    def _anybody(self) -> Account:
        return self._random.choice(self.accounts)

    def _some(self, most_minor: int) -> int:
        return self._random.randint(1, most_minor)

    def _ask(
        self, what: str, method: str, path: str, body: Any, token: str | None = None
    ) -> Any | None:
        """The answer to something that is done; None, and noted, if it was refused."""
        self._count += 1
        headers = {"Idempotency-Key": f"{MARK}-{self.run}-{self._count}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        status, answer = self.client.ask(method, path, body, headers)
        if status >= HTTPStatus.BAD_REQUEST:
            self.refused += 1
            why = answer.get("detail") or answer.get("errors") if isinstance(answer, dict) else ""
            if len(self.refusals) < MAX_SHOWN_REFUSALS:
                self.refusals.append(f"{what}: HTTP {status}, {why}")
            return None
        self.done[what] += 1
        return answer if answer is not None else {}

    def summary(self) -> str:
        """What was done so far, in one line."""
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(self.done.items()))
        return f"{told}; {self.refused:,} refused"


def _is_ours(wallet: dict[str, Any]) -> bool:
    owner = wallet["owner"] or ""
    of_the_shop = wallet["currency"] == "COIN" and wallet["name"] == "Merchant"
    return MARK in wallet["metadata"] or owner.startswith(f"{MARK}-") or of_the_shop


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the service answers.")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"A file with an API key; by default ${KEY_VARIABLE}, if it is set.",
)
@click.option(
    "--rate",
    type=click.FloatRange(MIN_RATE, MAX_RATE),
    default=20.0,
    show_default=True,
    help="How much happens in a second.",
)
@click.option("--seconds", type=click.FloatRange(0), help="For how long; by default until Ctrl-C.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same: the same happens.")
@click.option("--add", is_flag=True, help="Also into a service that has wallets of others.")
def main(
    *, url: str, key_file: Path | None, rate: float, seconds: float | None, seed: int, add: bool
) -> None:
    """Let things happen in a running service: wallets, payments, holds, reversals, a shop."""
    client = Client(url, key_of(key_file))
    demo = Demo(client, seed)
    try:
        demo.require_place(add=add)
        demo.begin()
        click.echo(f"{len(demo.accounts)} wallets, {len(demo.tokens)} users of the shop.")
        _go_on(demo, rate, seconds)
    except KeyboardInterrupt:
        pass
    except Away as error:
        raise CannotShow(f"{error} Start it with make run.") from None
    finally:
        client.close()
    click.echo(demo.summary())
    for refusal in demo.refusals:
        click.echo(f"refused: {refusal}", err=True)
    sys.exit(1 if demo.refused else 0)


def _go_on(demo: Demo, rate: float, seconds: float | None) -> None:
    started = said = time.monotonic()
    steps = 0
    while demo.accounts and (seconds is None or time.monotonic() - started < seconds):
        demo.step()
        steps += 1
        # A service that is slower than the rate is not asked faster afterwards for long.
        time.sleep(max(0.0, started + steps / rate - time.monotonic()))
        if time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            click.echo(demo.summary())


if __name__ == "__main__":
    main()
