"""What the shop does beside its endpoints: log-ins, prices, recipients, the merchant's wallet."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import suppress
from decimal import Decimal
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.passwords import Passwords
from RestAPI.problems import WrongPassword
from WalletCore.domain.commands import CreateWallet, OpenAccount
from WalletCore.domain.errors import CofferError, NotStorable, Refused, Unavailable, WalletNotFound
from WalletCore.domain.model import User
from WalletCore.domain.money import Currencies, Currency
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.shop_rules import SHOP_CURRENCY
from WalletCore.shop import MERCHANT_ID, MERCHANT_OWNER
from WalletCore.store import IdempotencyKey, Store

START_COINS: Final = Decimal(1000)
"""What a new user has."""

PRICES_SECONDS: Final = 1.0
"""How long prices are believed without another look: a new one holds everywhere after that."""

PRICES_WAIT_SECONDS: Final = 2.0
"""How long a request waits for another one that reads them: with a database that hangs, one after
the other would have kept every request thread."""

MAX_KNOWN_USERS: Final = 10_000
"""Recipients whose wallets are kept in mind; a user's wallet never changes."""

KEY_SCOPE: Final = "shop"
"""That of the keys under which accounts and the merchant's wallet are made once."""

_SAME_REQUEST: Final = hashlib.sha256(b"coffer shop").digest()
"""The request of those keys: whoever asks asks for the same."""


class Accounts:
    """Users of the shop: logs them in, makes them, finds them."""

    def __init__(self, store: Store, passwords: Passwords) -> None:
        self._store = store
        self._passwords = passwords
        self._known: dict[str, UUID] = {}

    def log_in(self, username: str, password: str, origin: Origin) -> UUID:
        """The wallet of a user who gives the right password; a new one is made with this one.

        One hashing each way, but for two first log-ins at the same moment: one of them makes the
        user, the other one is told so and is verified. Raises WrongPassword, Unavailable.
        """
        _require_coins(self._store.currencies)
        user = self._store.shop.user(username)
        if user is None:
            made = self._open(username, self._passwords.hash(password), origin)
            if made is not None:
                return made
            user = self._store.shop.user(username)
        if user is None:
            raise Unavailable("The account cannot be read right now; retry.")
        if not self._passwords.matches(password, user.password_hash):
            raise WrongPassword("The password is not that of this user.")
        self._renew(user, password)
        return user.wallet_id

    def _open(self, username: str, password_hash: str, origin: Origin) -> UUID | None:
        """The wallet of a user that is made; None if there is one of this name by now."""
        wallet_id = uuid7()
        digest = hashlib.sha256(username.encode()).hexdigest()
        key = IdempotencyKey(KEY_SCOPE, f"open {digest}", _SAME_REQUEST)
        command = OpenAccount(username, password_hash, wallet_id, uuid7(), START_COINS)
        try:
            outcome = self._store.execute(command, key, origin)
        except NotStorable:
            return None
        return None if outcome.replayed else wallet_id

    def _renew(self, user: User, password: str) -> None:
        """Hash a good password again where the parameters have changed since. It can wait."""
        if self._passwords.outdated(user.password_hash):
            with suppress(CofferError):
                self._store.shop.keep_hash(user, self._passwords.hash(password))

    def wallet_of(self, username: str) -> UUID:
        """The wallet of a user. Raises Refused if there is none of this name."""
        wallet_id = self._known.get(username)
        if wallet_id is not None:
            return wallet_id
        user = self._store.shop.user(username)
        if user is None:
            raise Refused(f"There is no user {username!r}.")
        if len(self._known) >= MAX_KNOWN_USERS:
            self._known.clear()
        self._known[username] = user.wallet_id
        return user.wallet_id


class Prices:
    """What each item costs, read from the database once in PRICES_SECONDS."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._prices: dict[str, int] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def of(self, item: str) -> int:
        """The price of an item. Raises Refused if there is none, Unavailable."""
        if time.monotonic() - self._read_at >= PRICES_SECONDS:
            self._read()
        price = self._prices.get(item)
        if price is None:
            raise Refused(f"There is no item {item!r} to buy.")
        return price

    def forget(self) -> None:
        """Look again the next time. A read that is under way may have seen what was before."""
        with self._lock:
            self._read_at = float("-inf")

    def _read(self) -> None:
        """One reads; who comes meanwhile waits for it. Raises Unavailable."""
        if not self._lock.acquire(timeout=PRICES_WAIT_SECONDS):
            raise Unavailable("The prices cannot be read right now; retry.")
        try:
            started = time.monotonic()
            if started - self._read_at >= PRICES_SECONDS:
                self._prices = {item.name: item.price for item in self._store.shop.items()}
                self._read_at = started
        finally:
            self._lock.release()


def open_merchant(store: Store) -> None:
    """Make the merchant's wallet if there is none: two processes at once make one."""
    with suppress(WalletNotFound):
        store.wallet(MERCHANT_ID)
        return
    command = CreateWallet(MERCHANT_ID, SHOP_CURRENCY, owner=MERCHANT_OWNER, name="Merchant")
    key = IdempotencyKey(KEY_SCOPE, "merchant", _SAME_REQUEST)
    store.execute(command, key, SERVICE)


def _require_coins(currencies: Currencies) -> None:
    """Raises Unavailable where there is not what the shop is paid in."""
    if not any(one == Currency(SHOP_CURRENCY, 0) for one in currencies):
        raise Unavailable(
            f"The shop is closed: it needs the currency {SHOP_CURRENCY} without decimals, "
            f"COFFER_CURRENCIES={SHOP_CURRENCY}:0."
        )
