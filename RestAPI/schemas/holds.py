"""Holds in and out."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict, Field

from RestAPI.schemas.fields import (
    Amount,
    Answer,
    GivenId,
    Instant,
    LongText,
    Metadata,
    Money,
    NextCursor,
    OptionalAmount,
    PageQuery,
    Strict,
    Text,
    UuidText,
    WholeNumber,
)
from RestAPI.schemas.operations import Operation
from RestAPI.schemas.wallets import CurrentBalance
from WalletCore.domain.commands import MAX_HOLD_SECONDS
from WalletCore.domain.model import HoldStatus

DEFAULT_HOLD_SECONDS: Final = 7 * 24 * 3600


class HoldOrder(Strict):
    """Money to be kept back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"amount": "4.00", "expires_in_seconds": 3600, "reference": "booking-12"}]
        }
    )

    amount: Amount
    expires_in_seconds: WholeNumber = Field(
        DEFAULT_HOLD_SECONDS,
        ge=1,
        le=MAX_HOLD_SECONDS,
        description="After that it is released by itself.",
    )
    reference: Text | None = Field(None, description="Your own name for it.")
    description: LongText | None = Field(None, description="For people to read.")
    metadata: Metadata = Field(default_factory=dict)


class CaptureOrder(Strict):
    """What is to be taken of a hold. Without a body, all that is left, to the outside."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"amount": "1.50", "final": False}]}
    )

    amount: OptionalAmount = Field(None, description="By default all that the hold still keeps.")
    final: bool = Field(
        True, strict=True, description="false: the rest stays held, for another capture."
    )
    target_wallet_id: GivenId | None = Field(
        None, description="The wallet that takes it; by default it goes to the outside."
    )
    reference: Text | None = Field(None, description="Your own name for it; history finds it.")
    description: LongText | None = Field(None, description="For people to read.")
    metadata: Metadata = Field(default_factory=dict)


class Nothing(Strict):
    """Nothing needs to be said."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class HoldQuery(PageQuery):
    """Which holds of a wallet."""

    status: HoldStatus | None = Field(None, description="Only those with this status.")


class Hold(Answer):
    """Money that is, or was, kept back."""

    id: UuidText
    wallet_id: UuidText
    amount: Money
    captured: Money = Field(description="How much of it was taken.")
    remaining: Money = Field(description="How much it still keeps back.")
    currency: str
    status: HoldStatus
    reference: str | None
    description: str | None
    metadata: dict[str, Any]
    expires_at: Instant
    created_at: Instant
    updated_at: Instant


class CapturedHold(Hold):
    """A hold after a capture, and the operation that took the money."""

    operation: Operation


class Capture(Operation):
    """What an event says of a capture: the operation, and the hold after it."""

    hold: Hold


class HoldPage(Answer):
    """A part of a wallet's holds, newest first, with its balance at the same moment."""

    items: list[Hold]
    next_cursor: NextCursor | None = Field(description="null at the end.")
    balance: CurrentBalance
