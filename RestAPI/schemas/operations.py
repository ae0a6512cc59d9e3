"""Operations in and out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from RestAPI.schemas.fields import (
    Amount,
    Answer,
    Instant,
    LongText,
    Metadata,
    Moment,
    Money,
    NextCursor,
    OperationKind,
    OptionalAmount,
    OrderedKind,
    PageQuery,
    Strict,
    Text,
    UuidText,
)
from WalletCore.domain.model import OperationType


class OperationOrder(Strict):
    """A deposit or a withdrawal to be done."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"operation_type": "DEPOSIT", "amount": "10.50", "reference": "order-1001"},
                {"operation_type": "WITHDRAW", "amount": 5},
            ]
        }
    )

    operation_type: OrderedKind
    amount: Amount
    reference: Text | None = Field(None, description="Your own name for it; history finds it.")
    description: LongText | None = Field(None, description="For people to read.")
    metadata: Metadata = Field(default_factory=dict)


class ReversalOrder(Strict):
    """How much of an operation is to be undone. Without a body, all that is left of it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"amount": "2.50", "reference": "returned-goods"}]}
    )

    amount: OptionalAmount = Field(None, description="By default all that is left of it.")
    allow_negative: bool = Field(
        False,
        strict=True,
        description="true: also where the money is gone; the wallet then falls below its limit, "
        "and nothing can be taken out before it is made good.",
    )
    reference: Text | None = Field(None, description="Your own name for it; history finds it.")
    description: LongText | None = Field(None, description="For people to read.")
    metadata: Metadata = Field(default_factory=dict)


class OperationQuery(PageQuery):
    """Which operations of a wallet."""

    type: OperationKind | None = Field(None, description="Only this kind.")
    since: Moment | None = Field(None, alias="from", description="From this moment on, RFC 3339.")
    until: Moment | None = Field(None, alias="to", description="Before this moment, RFC 3339.")
    reference: Text | None = Field(None, description="Only with this reference.")


class Operation(Answer):
    """One side of a movement of money, as its wallet has it. What belongs to a transfer, a hold or
    a reversal says so, and names the other wallet if there is one.
    """

    id: UuidText
    wallet_id: UuidText
    operation_type: OperationType
    amount: Money
    currency: str
    previous_balance: Money
    new_balance: Money
    seq: int = Field(ge=1, description="Its place in the wallet's history, without gaps from 1.")
    status: Literal["COMPLETED"]
    reference: str | None
    description: str | None
    metadata: dict[str, Any]
    created_at: Instant
    counterparty_wallet_id: UuidText = Field(default_factory=str, description="The other wallet.")
    transfer_id: UuidText = Field(
        default_factory=str, description="The transfer that it is a side of."
    )
    hold_id: UuidText = Field(default_factory=str, description="The hold that was captured.")
    reversed_operation_id: UuidText = Field(
        default_factory=str, description="The operation that was undone."
    )


class OperationPage(Answer):
    """A part of a wallet's history, newest first."""

    items: list[Operation]
    next_cursor: NextCursor | None = Field(description="null at the end.")
