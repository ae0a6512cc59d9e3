"""The currencies that wallets are in, kept in the database beside them.

A wallet's balance is an integer of minor units; how many make a unit must never depend on what one
process happens to be configured with. So every currency is written down with its decimals when it
is first configured, a configuration that contradicts that is refused, and a process that meets a
wallet in a currency that another process brought in looks it up.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from sqlalchemy import Engine, text

from WalletCore.domain.errors import CurrencyUnknown
from WalletCore.domain.money import Currencies, Currency

RELOAD_PAUSE_SECONDS: Final = 1.0
"""Unknown currencies are looked up at most once in this time."""

REGISTER = text(
    "INSERT INTO coffer.currencies (code, exponent) "
    "SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:exponents AS smallint[])) "
    "ON CONFLICT DO NOTHING"
)
STORED = text("SELECT code, exponent FROM coffer.currencies")


class StoredCurrencies(Currencies):
    """The configured currencies and those that the database has beside them."""

    def __init__(self, engine: Engine, configured: Currencies) -> None:
        super().__init__(configured)
        self._engine = engine
        self._loading = threading.Lock()
        self._next_load = 0.0

    def register(self) -> None:
        """Write down what is configured, and learn what else there is.

        Raises ValueError if a currency has other decimals in the database, SQLAlchemyError if that
        cannot be asked.
        """
        wanted = {
            "codes": [currency.code for currency in self],
            "exponents": [currency.exponent for currency in self],
        }
        with self._engine.connect() as connection:
            connection.execute(REGISTER, wanted)
        for stored in self._load():
            configured = self._known[stored.code]
            if configured != stored:
                raise ValueError(
                    f"COFFER_CURRENCIES: {stored.code} has {stored.exponent} decimals in this "
                    f"database, not {configured.exponent}. Balances would change their value."
                )

    def stored(self, code: str) -> Currency:
        """The currency of a wallet, looked up again if it is not known yet.

        Raises CurrencyUnknown.
        """
        try:
            return self[code]
        except CurrencyUnknown:
            with self._loading:
                if code not in self._known and time.monotonic() >= self._next_load:
                    self._next_load = time.monotonic() + RELOAD_PAUSE_SECONDS
                    self._load()
            return self[code]

    def _load(self) -> list[Currency]:
        with self._engine.connect() as connection:
            rows = connection.execute(STORED).all()
        stored = [Currency(code, exponent) for code, exponent in rows]
        self._known = {currency.code: currency for currency in stored} | dict(self._known)
        return stored
