"""Wallets in and out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Self

from pydantic import ConfigDict, Field, RootModel, model_validator

from RestAPI.schemas.fields import (
    Answer,
    Ceiling,
    CreditLimit,
    CurrencyCode,
    Instant,
    Metadata,
    Moment,
    Money,
    NextCursor,
    PageQuery,
    SomeText,
    Strict,
    Text,
    UuidText,
)
from WalletCore.domain.model import WalletStatus


def _active() -> WalletStatus:
    return WalletStatus.ACTIVE


class WalletCreation(Strict):
    """A new wallet. Every field may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"currency": "USD", "owner": "alice", "name": "Savings"}, {}]
        }
    )

    currency: CurrencyCode = Field(
        default_factory=str, description="By default the deployment's default currency."
    )
    owner: Text | None = Field(None, description="Whose it is: free text of your own.")
    name: Text | None = Field(None, description="What it is called.")
    min_balance: CreditLimit = Field(
        default_factory=Decimal, description="How far the balance may fall, 0 by default."
    )
    max_balance: Ceiling = Field(
        default=None, description="How far the balance may rise; by default there is no limit."
    )
    metadata: Metadata = Field(default_factory=dict)


class WalletChange(Strict):
    """What changes about a wallet; at least one field. What is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"name": "Rainy days"}, {"status": "frozen"}],
        }
    )

    name: Text | None = Field(None, description="What it is called; null for nothing.")
    metadata: Metadata = Field(default_factory=dict, description="Replaces all of the metadata.")
    status: WalletStatus = Field(
        default_factory=_active,
        description="frozen: no money moves until it is active again. closed: for good, and only "
        "when the wallet is empty.",
    )
    min_balance: CreditLimit = Field(
        default_factory=Decimal,
        description="How far the balance without what is held may fall; below 0 a credit limit.",
    )
    max_balance: Ceiling = Field(
        default=None, description="How far the balance may rise; null for no limit."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(
                "Send at least one of name, metadata, status, min_balance and max_balance."
            )
        return self


class WalletQuery(PageQuery):
    """Which wallets."""

    owner: Text | None = Field(None, description="Only those of this owner.")
    currency: CurrencyCode | None = Field(None, description="Only those in this currency.")
    status: WalletStatus | None = Field(None, description="Only those with this status.")
    search: SomeText | None = Field(
        None,
        description="Only those whose owner or name begins with this, whatever the case, or whose "
        "id it is.",
    )


class BalanceQuery(Strict):
    """Which balance."""

    at: Moment | None = Field(
        None, description="The moment, RFC 3339; left out, the balance of now."
    )


class Wallet(Answer):
    """A wallet."""

    id: UuidText
    owner: str | None
    name: str | None
    currency: str
    balance: Money
    held: Money = Field(description="What is reserved.")
    available: Money = Field(description="What can be taken out now: balance - held - min_balance.")
    min_balance: Money
    max_balance: Money | None
    version: int = Field(ge=1, description="Counts every change; creation is 1.")
    entry_seq: int = Field(ge=0, description="The seq of the newest operation, 0 before it.")
    status: WalletStatus
    metadata: dict[str, Any]
    created_at: Instant
    updated_at: Instant


class WalletPage(Answer):
    """A part of the wallets, in the order of their creation."""

    items: list[Wallet]
    next_cursor: NextCursor | None = Field(description="null at the end.")


class CurrentBalance(Answer):
    """The balance of a wallet now."""

    wallet_id: UuidText
    currency: str
    balance: Money
    held: Money
    available: Money
    version: int = Field(ge=1)


class PastBalance(Answer):
    """The balance of a wallet at a moment; `seq` is the last operation that counts."""

    wallet_id: UuidText
    currency: str
    balance: Money
    at: Instant
    seq: int = Field(ge=0)


class Balance(RootModel[CurrentBalance | PastBalance]):
    """A balance: without `at` the current one, with it a past one."""
