"""The ledger as a whole."""

from __future__ import annotations

from pydantic import Field

from RestAPI.schemas.fields import Answer, Money


class CurrencyTotals(Answer):
    """The totals of one currency."""

    currency: str
    deposits: Money
    withdrawals: Money
    balances: Money = Field(description="The sum of the wallets' balances.")
    difference: Money = Field(description="deposits - withdrawals - balances; zero.")


class TrialBalance(Answer):
    """Whether the books balance, per currency, as of one moment."""

    balanced: bool = Field(description="Whether every difference is zero.")
    currencies: list[CurrencyTotals]
