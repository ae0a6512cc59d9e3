"""The currencies of a deployment: ISO 4217 (a library's table) and its own."""

from __future__ import annotations

from iso4217 import Currency as IsoCurrency

from WalletCore.domain.money import Currencies, Currency


def load_currencies(own: str) -> Currencies:
    """ISO 4217's currencies and ``own``, given as ``CODE:DECIMALS,CODE:DECIMALS``.

    Codes of ISO 4217 without a number of decimals (gold, testing) are left out; an own currency
    may not change one of ISO 4217. Raises ValueError saying what is wrong.
    """
    known = {
        iso.code: Currency(iso.code, iso.exponent)
        for iso in IsoCurrency
        if iso.exponent is not None
    }
    for item in filter(None, (part.strip() for part in own.split(","))):
        code, colon, exponent = item.partition(":")
        if not colon or not exponent.isdecimal():
            raise ValueError(f"COFFER_CURRENCIES: {item!r} is not CODE:DECIMALS, such as COIN:0")
        if code in known:
            raise ValueError(f"COFFER_CURRENCIES: {code} is defined already")
        known[code] = Currency(code, int(exponent))
    return Currencies(known.values())
