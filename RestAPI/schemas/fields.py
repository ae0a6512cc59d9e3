"""The kinds of values that requests are made of, each checked once and described once.

A ``WithJsonSchema`` beside a validator says to OpenAPI what the validator says to Python.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from RestAPI.schemas import values
from RestAPI.schemas.shared import (
    CURRENCY_PATTERN,
    CURSOR_PATTERN,
    IDEMPOTENCY_KEY_PATTERN,
    NO_NUL_PATTERN,
)
from WalletCore.cursor import MAX_CURSOR_CHARACTERS
from WalletCore.domain.model import OperationType
from WalletCore.paging import DEFAULT_PAGE_ITEMS, MAX_PAGE_ITEMS
from WalletCore.store import MAX_KEY_CHARACTERS

MAX_TEXT_CHARACTERS: Final = 255
MAX_DESCRIPTION_CHARACTERS: Final = 1000

SHARED_MARK: Final = "x-shared"
"""Stands in a model's schema for a reference to one of SHARED_SCHEMAS: Pydantic itself refuses
references that it did not make."""


def shared(name: str) -> WithJsonSchema:
    """The annotation of a value that SHARED_SCHEMAS describes under ``name``."""
    return WithJsonSchema({SHARED_MARK: name})


class Strict(BaseModel):
    """A part of a request. A field that is not declared is refused, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """A part of an answer. These models describe; what is answered comes ready from the store."""

    model_config = ConfigDict(extra="forbid")


Text: TypeAlias = Annotated[
    str,
    Field(max_length=MAX_TEXT_CHARACTERS, json_schema_extra={"pattern": NO_NUL_PATTERN}),
    AfterValidator(values.no_nul),
]
"""An owner, a name, a reference."""

LongText: TypeAlias = Annotated[
    str,
    Field(max_length=MAX_DESCRIPTION_CHARACTERS, json_schema_extra={"pattern": NO_NUL_PATTERN}),
    AfterValidator(values.no_nul),
]
"""A description."""

SomeText: TypeAlias = Annotated[Text, Field(min_length=1)]
"""A user's name: a Text that is not empty."""

SomeLongText: TypeAlias = Annotated[LongText, Field(min_length=1)]
"""What a message says: a LongText that is not empty."""

Amount: TypeAlias = Annotated[
    Decimal,
    PlainValidator(values.positive_amount),
    shared("Amount"),
]
"""A positive amount in major units."""

OptionalAmount: TypeAlias = Annotated[
    Decimal | None,
    PlainValidator(values.optional_amount),
    shared("OptionalAmount"),
]
"""The same, or None."""

CreditLimit: TypeAlias = Annotated[
    Decimal,
    PlainValidator(values.credit_limit),
    shared("CreditLimit"),
]
"""A ``min_balance`` in major units: 0 or negative."""

CurrencyCode: TypeAlias = Annotated[
    str,
    Field(pattern=CURRENCY_PATTERN),
    shared("CurrencyCode"),
]
"""The code of a currency. Whether it is known is for the ledger to say."""

Metadata: TypeAlias = Annotated[
    dict[str, Any],
    PlainValidator(values.metadata),
    shared("Metadata"),
]
"""A JSON object of the caller's own."""

Ceiling: TypeAlias = Annotated[
    Decimal | None,
    PlainValidator(values.ceiling),
    shared("Ceiling"),
]
"""A ``max_balance`` in major units: 0 or positive; None for no ceiling."""

OrderedKind: TypeAlias = Annotated[
    OperationType,
    BeforeValidator(values.ordered_type),
    shared("OrderedType"),
]
"""DEPOSIT or WITHDRAW, in any case."""

OperationKind: TypeAlias = Annotated[
    OperationType,
    BeforeValidator(values.operation_type),
    shared("OperationType"),
]
"""The type of an operation, in any case."""

ItemKey: TypeAlias = Annotated[
    str, Field(pattern=IDEMPOTENCY_KEY_PATTERN, max_length=MAX_KEY_CHARACTERS)
]
"""An Idempotency-Key that stands in a body."""

WholeNumber: TypeAlias = Annotated[int, BeforeValidator(values.whole_number)]
"""A whole number in a body: of seconds, of days."""

Moment: TypeAlias = Annotated[
    datetime,
    PlainValidator(values.parse_time),
    shared("Moment"),
]
"""A moment, given as RFC 3339 text."""

Cursor: TypeAlias = Annotated[
    str,
    AfterValidator(values.no_nul),
    shared("Cursor"),
]
"""A place in a listing. The listing itself says whether it is one of its own."""

Limit: TypeAlias = Annotated[
    int, Field(ge=1, le=MAX_PAGE_ITEMS), BeforeValidator(values.query_integer)
]
"""How many items a page has at most."""

Flag: TypeAlias = Annotated[
    bool, PlainValidator(values.query_flag), WithJsonSchema({"type": "boolean"})
]
"""Yes or no, as a URL writes it."""

GivenId: TypeAlias = Annotated[
    UUID,
    PlainValidator(values.given_uuid),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": values.UUID_PATTERN}),
]
"""An id in a query or a body."""

UuidText: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
"""An id in an answer."""

Money: TypeAlias = Annotated[
    str, Field(pattern=r"^-?[0-9]{1,40}(\.[0-9]{1,8})?$", examples=["10.50"])
]
"""An amount or a balance in an answer: always as many decimals as the currency has."""

Instant: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2030-01-31T12:00:00.000000Z"],
    ),
]
"""A time in an answer: UTC, microseconds."""

NextCursor: TypeAlias = Annotated[
    str, Field(max_length=MAX_CURSOR_CHARACTERS, pattern=CURSOR_PATTERN)
]


class Order(StrEnum):
    """In which order something is listed."""

    NEWEST = "newest"
    OLDEST = "oldest"


class PageQuery(Strict):
    """Which part of a listing."""

    limit: Limit = Field(DEFAULT_PAGE_ITEMS, description="How many items at most.")
    cursor: Cursor | None = Field(None, description="Where to go on; leave it out at first.")
