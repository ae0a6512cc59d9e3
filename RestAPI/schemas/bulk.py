"""Many operations in one request."""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict, Field

from RestAPI.schemas.fields import (
    Amount,
    Answer,
    GivenId,
    ItemKey,
    LongText,
    Metadata,
    OrderedKind,
    Strict,
    Text,
)
from RestAPI.schemas.shared import SCHEMA_PREFIX

MAX_BULK_ITEMS: Final = 10_000
MAX_BULK_BYTES: Final = 8 * 1024 * 1024


class BulkOperation(Strict):
    """A deposit or a withdrawal among many."""

    wallet_id: GivenId
    operation_type: OrderedKind
    amount: Amount
    reference: Text | None = None
    description: LongText | None = None
    metadata: Metadata = Field(default_factory=dict)
    idempotency_key: ItemKey | None = None


class BulkTransfer(Strict):
    """A transfer among many."""

    source_wallet_id: GivenId
    target_wallet_id: GivenId
    amount: Amount
    reference: Text | None = None
    description: LongText | None = None
    metadata: Metadata = Field(default_factory=dict)
    idempotency_key: ItemKey | None = None


class BulkOrder(Strict):
    """Many operations and transfers to be done, in their order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "operations": [
                        {
                            "wallet_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                            "operation_type": "DEPOSIT",
                            "amount": "10.50",
                            "idempotency_key": "payroll-2030-01-alice",
                        },
                        {
                            "source_wallet_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                            "target_wallet_id": "01890a5e-1111-7222-8333-944455566677",
                            "amount": "4.00",
                        },
                    ]
                }
            ]
        }
    )

    atomic: bool = Field(
        False, strict=True, description="true: all or nothing. false: each on its own."
    )
    operations: list[Any] = Field(
        min_length=1,
        max_length=MAX_BULK_ITEMS,
        json_schema_extra={
            "items": {
                "anyOf": [
                    {"$ref": f"{SCHEMA_PREFIX}BulkOperation"},
                    {"$ref": f"{SCHEMA_PREFIX}BulkTransfer"},
                ]
            }
        },
    )


class BulkResult(Answer):
    """What became of one of many: the status and the body that it would have had alone."""

    status: int = Field(ge=200, le=599)
    body: dict[str, Any]
    replayed: bool = Field(
        default_factory=bool, description="true: its key was answered before, and so it is again."
    )


class BulkAnswer(Answer):
    """What became of each, in their order."""

    done: int = Field(ge=0, description="How many were done, now or before under their keys.")
    refused: int = Field(ge=0, description="How many were not.")
    results: list[BulkResult]
