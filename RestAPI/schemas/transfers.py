"""Transfers in and out."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from RestAPI.schemas import values
from RestAPI.schemas.fields import (
    Amount,
    Answer,
    GivenId,
    Instant,
    LongText,
    Metadata,
    Money,
    OptionalAmount,
    Strict,
    Text,
    UuidText,
)
from WalletCore.domain.commands import MAX_LEGS

_ONE: Final = ("source_wallet_id", "target_wallet_id", "amount")
"""What says one movement without legs."""


def _form(there: tuple[str, ...], absent: tuple[str, ...]) -> dict[str, Any]:
    """In words of JSON Schema: these members, and none of those; null counts as not there."""
    null: dict[str, Any] = {"type": "null"}
    return {
        "required": [*there],
        "properties": {
            **{name: {"not": null} for name in there},
            **dict.fromkeys(absent, null),
        },
    }


class LegOrder(Strict):
    """One movement of a transfer."""

    source_wallet_id: GivenId
    target_wallet_id: GivenId
    amount: Amount


class TransferOrder(Strict):
    """A transfer to be done: either one movement (source_wallet_id, target_wallet_id and amount),
    or several as legs, which are done in their order, all or none.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [_form(_ONE, ("legs",)), _form(("legs",), _ONE)],
            "examples": [
                {
                    "source_wallet_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                    "target_wallet_id": "01890a5e-1111-7222-8333-944455566677",
                    "amount": "4.00",
                    "reference": "rent",
                }
            ],
        }
    )

    source_wallet_id: GivenId | None = Field(None, description="Which wallet gives.")
    target_wallet_id: GivenId | None = Field(None, description="Which wallet takes.")
    amount: OptionalAmount = Field(None, description="How much.")
    legs: list[LegOrder] | None = Field(
        None,
        min_length=1,
        max_length=MAX_LEGS,
        description="Several movements; a later one may live on what an earlier one brings.",
    )
    reference: Text | None = Field(None, description="Your own name for it; history finds it.")
    description: LongText | None = Field(None, description="For people to read.")
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("legs", mode="before")
    @classmethod
    def _name_the_leg(cls, legs: object) -> object:
        """Let a wrong amount be told with its leg: it passes Pydantic on a way of its own."""
        if isinstance(legs, list):
            for number, leg in enumerate(legs[:MAX_LEGS]):
                if isinstance(leg, dict) and "amount" in leg:
                    values.positive(leg["amount"], f"body.legs.{number}.amount")
        return legs

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name in _ONE if getattr(self, name) is not None]
        if self.legs is None and len(given) < len(_ONE):
            raise ValueError("Send source_wallet_id, target_wallet_id and amount, or legs.")
        if self.legs is not None and given:
            raise ValueError("Send either legs, or source_wallet_id, target_wallet_id and amount.")
        return self

    def movements(self) -> list[LegOrder]:
        """The legs of either form."""
        if self.legs is not None:
            return self.legs
        return [LegOrder.model_construct(**{name: getattr(self, name) for name in _ONE})]


class TransferLeg(Answer):
    """One movement that was done, with both balances after it."""

    operation_id: UuidText = Field(description="Of both sides; it can be reversed.")
    source_wallet_id: UuidText
    target_wallet_id: UuidText
    amount: Money
    currency: str
    source_balance: Money
    target_balance: Money


class Transfer(Answer):
    """A transfer that was done."""

    id: UuidText
    status: Literal["COMPLETED"]
    legs: list[TransferLeg] = Field(min_length=1, max_length=MAX_LEGS)
    reference: str | None
    description: str | None
    metadata: dict[str, Any]
    created_at: Instant
