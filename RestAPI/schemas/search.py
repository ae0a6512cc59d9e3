"""What a search across wallets takes."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final, Self, TypeAlias

import jiter
from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from RestAPI.schemas import values
from RestAPI.schemas.fields import CurrencyCode, Moment, OperationKind, PageQuery, Text
from RestAPI.schemas.shared import SCHEMA_PREFIX
from WalletCore.domain.errors import AmountInvalid
from WalletCore.domain.model import Document
from WalletCore.domain.money import parse_decimal

MAX_METADATA_CHARACTERS: Final = 2000
"""Of the JSON in a query: percent-encoded, too, it fits into a request line of 8190 bytes."""


def metadata_text(value: object) -> Document:
    """A JSON object in a query. Raises ValueError."""
    text = value if isinstance(value, str) else ""
    if len(text) > MAX_METADATA_CHARACTERS:
        raise ValueError(f"This is at most {MAX_METADATA_CHARACTERS} characters of JSON.")
    try:
        found = jiter.from_json(
            text.encode(), allow_inf_nan=False, catch_duplicate_keys=True, float_mode="decimal"
        )
    except ValueError:
        raise ValueError('This must be a JSON object such as {"order":"A-1001"}.') from None
    return values.metadata(found)


def query_amount(value: object, info: ValidationInfo) -> Decimal:
    """A bound of an amount, at least 0. Raises AmountInvalid or AmountOutOfRange with its place."""
    try:
        amount = parse_decimal(value)
        if amount < 0:
            raise AmountInvalid("An amount is never negative: bounds are at least 0.")
    except AmountInvalid as error:
        faults = [{"where": f"query.{info.field_name}", "what": error.detail}]
        raise type(error)(error.detail, errors=faults) from None
    return amount


MetadataText: TypeAlias = Annotated[
    dict[str, Any],
    PlainValidator(metadata_text),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_METADATA_CHARACTERS,
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": f"{SCHEMA_PREFIX}Metadata"},
            "examples": ['{"order":"A-1001"}'],
        }
    ),
]
"""A JSON object, percent-encoded in a query."""

QueryAmount: TypeAlias = Annotated[
    Decimal,
    PlainValidator(query_amount),
    WithJsonSchema(
        {"type": "string", "pattern": r"^[0-9]{1,19}(\.[0-9]{1,8})?$", "examples": ["10.50"]}
    ),
]
"""A bound of an amount in major units."""


class SearchQuery(PageQuery):
    """Which operations, of all wallets; all conditions together."""

    reference: Text | None = Field(None, description="Only with this reference.")
    metadata: MetadataText | None = Field(
        None,
        description="Only with metadata that contains this JSON object: its members at least, of "
        "arrays their items at least, in any order; percent-encoded.",
    )
    min_amount: QueryAmount | None = Field(
        None, description="Only of this amount or more; needs `currency`."
    )
    max_amount: QueryAmount | None = Field(
        None, description="Only of this amount or less; needs `currency`."
    )
    currency: CurrencyCode | None = Field(None, description="Only of wallets in this currency.")
    type: OperationKind | None = Field(None, description="Only this kind.")
    since: Moment | None = Field(None, alias="from", description="From this moment on, RFC 3339.")
    until: Moment | None = Field(None, alias="to", description="Before this moment, RFC 3339.")

    @model_validator(mode="after")
    def _amounts_are_of_a_currency(self) -> Self:
        if self.currency is None and (self.min_amount, self.max_amount) != (None, None):
            raise ValueError("min_amount and max_amount are of a currency: send currency as well.")
        return self
