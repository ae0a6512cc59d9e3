"""Schemas that several models share, and the exact words of JSON Schema for them."""

from __future__ import annotations

from typing import Final

from RestAPI.schemas.values import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    MAX_METADATA_INTEGER,
    ORDERED_TYPES,
)
from WalletCore.cursor import MAX_CURSOR_CHARACTERS
from WalletCore.domain.model import Document, OperationType

SCHEMA_PREFIX: Final = "#/components/schemas/"
NO_NUL_PATTERN: Final = r"^[^\x00]*$"
CURRENCY_PATTERN: Final = r"^[A-Z][A-Z0-9]{2,11}$"
IDEMPOTENCY_KEY_PATTERN: Final = r"^[\x21-\x7e]{1,255}$"
CURSOR_PATTERN: Final = r"^[A-Za-z0-9_-]+$"


def _object_of_values(title: str, description: str) -> Document:
    return {
        "title": title,
        "description": description,
        "type": "object",
        "additionalProperties": {"$ref": f"{SCHEMA_PREFIX}MetadataValue"},
        "propertyNames": {"pattern": NO_NUL_PATTERN},
    }


_METADATA_VALUES: Final[list[Document]] = [
    {"type": "string", "pattern": NO_NUL_PATTERN},
    {"type": "integer", "minimum": -MAX_METADATA_INTEGER, "maximum": MAX_METADATA_INTEGER},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "array", "items": {"$ref": f"{SCHEMA_PREFIX}MetadataValue"}},
    _object_of_values("MetadataObject", "An object inside the metadata."),
]

LAST_EVENT_ID_PARAMETER: Final[Document] = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The id of the last event that came, or next_cursor of "
    "`GET /api/v1/notifications?order=oldest`: the stream goes on exactly after it.",
    "schema": {"$ref": f"{SCHEMA_PREFIX}Cursor"},
}

SHARED_SCHEMAS: Final[dict[str, Document]] = {
    "Amount": {
        "title": "Amount",
        "description": "An exact positive decimal in major units, as a string or a number, with at "
        "most as many decimals as the currency has (trailing zeros do not count).",
        "anyOf": [
            {
                "type": "string",
                "pattern": r"^[0-9]{1,19}(\.[0-9]{1,8})?$",
                "not": {"pattern": "^[0.]*$"},
            },
            {"type": "number", "exclusiveMinimum": 0, "maximum": 10**18},
        ],
        "examples": ["10.50", 10.5],
    },
    "OptionalAmount": {
        "title": "OptionalAmount",
        "anyOf": [{"$ref": f"{SCHEMA_PREFIX}Amount"}, {"type": "null"}],
    },
    "CreditLimit": {
        "title": "CreditLimit",
        "description": "An exact decimal in major units, at most 0.",
        "anyOf": [
            {"type": "string", "pattern": r"^(0|-[0-9]{1,19}(\.[0-9]{1,8})?)$"},
            {"type": "number", "minimum": -(10**18), "maximum": 0},
        ],
        "examples": ["0", "-250.00"],
    },
    "Metadata": {
        **_object_of_values(
            "Metadata",
            "An object of your own: strings, integers within 2^53, booleans, null, arrays and "
            f"objects, at most {MAX_METADATA_BYTES} bytes of JSON and nested at most "
            f"{MAX_METADATA_DEPTH} deep.",
        ),
        "examples": [{"order": "A-1001"}],
    },
    "MetadataValue": {
        "title": "MetadataValue",
        "description": "A string, an integer within 2^53, a boolean, null, or an array or object "
        "of such.",
        # Not what is not one of these: as a plain anyOf, which refers to itself, generators of
        # clients cannot read it.
        "not": {"not": {"anyOf": _METADATA_VALUES}},
    },
    "Ceiling": {
        "title": "Ceiling",
        "description": "An exact decimal in major units, at least 0; null for none.",
        "anyOf": [
            {"type": "string", "pattern": r"^[0-9]{1,19}(\.[0-9]{1,8})?$"},
            {"type": "number", "minimum": 0, "maximum": 10**18},
            {"type": "null"},
        ],
        "examples": ["1000.00", None],
    },
    "OrderedType": {
        "title": "OrderedType",
        "description": "What is done; capitals or not.",
        "type": "string",
        "enum": list(ORDERED_TYPES),
    },
    "OperationType": {
        "title": "OperationType",
        "description": "What was done; capitals or not.",
        "type": "string",
        "enum": [kind.value for kind in OperationType],
    },
    "Moment": {
        "title": "Moment",
        "description": "An RFC 3339 time with an offset.",
        "type": "string",
        "format": "date-time",
        "examples": ["2030-01-31T12:00:00Z"],
    },
    "Cursor": {
        "title": "Cursor",
        "description": "next_cursor of an earlier answer of the same listing, as it came.",
        "type": "string",
        "format": "cursor",
        "maxLength": MAX_CURSOR_CHARACTERS,
        "pattern": CURSOR_PATTERN,
    },
}
"""Schemas that several models share, by their name among the document's components."""
