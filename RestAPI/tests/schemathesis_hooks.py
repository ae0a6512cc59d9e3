"""Narrows what schemathesis generates as valid, where JSON Schema has no words for the rule.

Only valid data is touched; what it generates to be refused goes out as it is.

* A transfer is between two wallets.
* How many decimals an amount may have, and how large it may be, depends on the currency of the
  wallet. Whole numbers within the range of every currency are right for all of them.
* What is all or nothing has one key, that of the request.
* A cursor is one that an earlier answer gave. None is made up here.
* Metadata has a limit in bytes and in depth; in a query it is JSON.
* A statement's period has its beginning before its end, and that is at most now.
* Amounts in a query need a currency.
* Events of one wallet are listed newest first.
* A key of an admin is not limited to an owner.
"""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import schemathesis

# This file is loaded by its path, without the project on Python's.
MOST_METADATA_BYTES = 4096
MOST_METADATA_DEPTH = 8

MOST_WHOLE_UNITS = 10**10
"""10^18 minor units of a currency with 8 decimals, the most that a currency can have."""


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Narrow a case that is meant to be accepted."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.query, dict):
        case.query.pop("cursor", None)
        _narrow_query(case.query, case.path)
    if not isinstance(case.body, dict):
        return
    _narrow(case.body)
    for part in (*(case.body.get("legs") or ()), *(case.body.get("operations") or ())):
        if isinstance(part, dict):
            _narrow(part)
            if case.body.get("atomic"):
                part.pop("idempotency_key", None)
    if "metadata" in case.body and not _within_limits(case.body["metadata"]):
        case.body["metadata"] = {}


def _narrow(body: dict[str, Any]) -> None:
    """Amounts in whole units, two wallets where there must be two, and admins of everybody."""
    for name in {"amount", "min_balance", "max_balance"} & body.keys():
        if body[name] is not None:
            body[name] = _whole(body[name])
    if body.get("source_wallet_id") == body.get("target_wallet_id") is not None:
        body["target_wallet_id"] = str(uuid.uuid4())
    if "admin" in (body.get("scopes") or ()):
        body.pop("owner", None)


def _narrow_query(query: dict[str, Any], path: str) -> None:
    if path.endswith("/statement") and "from" in query:
        if "to" in query:
            del query["from"]
        else:
            query["from"] = "2020-01-31T12:00:00Z"
    if path.endswith("/events") and "wallet_id" in query:
        query["order"] = "newest"
    if "metadata" in query:
        query["metadata"] = '{"order":"A-1001"}'
    for name in {"min_amount", "max_amount"} & query.keys():
        if "currency" in query:
            query[name] = _whole(query[name])
        else:
            del query[name]


def _whole(amount: Any) -> str:
    number = Decimal(str(amount))
    units = min(MOST_WHOLE_UNITS, max(1, int(abs(number)))) if number else 0
    return f"-{units}" if number < 0 else str(units)


def _within_limits(metadata: Any) -> bool:
    """Whether the limits that only the description states have nothing against ``metadata``."""
    size = len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode())
    return size <= MOST_METADATA_BYTES and _depth(metadata) <= MOST_METADATA_DEPTH


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
