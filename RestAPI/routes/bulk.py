"""Many operations in one request, all or nothing or each on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import orjson
from flask import Response
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from RestAPI.endpoint import FIRST_ERROR_STATUS, endpoint
from RestAPI.problems import as_error, invalid
from RestAPI.reading import JSON_TYPE, OPEN_SCOPE
from RestAPI.routes.operations import MONEY_ERRORS
from RestAPI.schemas.bulk import (
    MAX_BULK_BYTES,
    BulkAnswer,
    BulkOperation,
    BulkOrder,
    BulkTransfer,
)
from WalletCore.domain.commands import Atomic, Deposit, Leg, Transfer, Withdraw
from WalletCore.domain.errors import CofferError, CurrencyMismatch, SameWallet
from WalletCore.domain.model import OperationType
from WalletCore.store import IdempotencyKey, Outcome, Store

TAG: Final = "Operations"

Item: TypeAlias = BulkOperation | BulkTransfer
Movement: TypeAlias = Deposit | Withdraw | Transfer


class BulkRoutes:
    """The endpoint of many."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @endpoint(
        tag=TAG,
        body=BulkOrder,
        max_body_bytes=MAX_BULK_BYTES,
        idempotent=True,
        responses={200: BulkAnswer},
        errors=(*MONEY_ERRORS, CurrencyMismatch, SameWallet),
        models=(BulkOperation, BulkTransfer),
    )
    def operate_in_bulk(
        self,
        body: BulkOrder,
        key: IdempotencyKey | None,
        traceparent: str | None,
        dry_run: bool,
    ) -> Outcome | Response:
        """Do many operations and transfers

        Each on its own, with a result each, in their order; a refusal stops no other. An item's
        idempotency_key is an Idempotency-Key of its own; that of the whole request stands for one
        of every item, by its place, so that a request that broke off can be sent again. Or, with
        `atomic: true`, all or nothing: then a refusal names the item as `index`, counted from 0.
        """
        if body.atomic:
            commands = tuple(map(_command, _all_items(body.operations)))
            return self._store.execute(Atomic(commands), key, traceparent, dry_run=dry_run)
        return self._each(body.operations, key, traceparent, dry_run=dry_run)

    def _each(
        self,
        given: Sequence[object],
        key: IdempotencyKey | None,
        traceparent: str | None,
        *,
        dry_run: bool,
    ) -> Response:
        results: list[Outcome | CofferError | None] = []
        commands: list[tuple[Movement, IdempotencyKey | None]] = []
        for number, one in enumerate(given):
            try:
                item = _item(one, number)
            except CofferError as error:
                results.append(error)
            else:
                commands.append((_command(item), _key(item, one, number, key)))
                results.append(None)
        answers = iter(self._store.execute_each(commands, traceparent, dry_run=dry_run))
        return _answer([next(answers) if result is None else result for result in results])


def _all_items(given: Sequence[object]) -> list[Item]:
    """All of them, none with a key of its own. Raises Invalid with the index of the first fault."""
    items: list[Item] = []
    for number, one in enumerate(given):
        try:
            item = _item(one, number)
            if item.idempotency_key is not None:
                where = f"body.operations.{number}.idempotency_key"
                what = "All or nothing has one key for all: send Idempotency-Key instead."
                raise invalid([(where, what)])
        except CofferError as error:
            error.extra["index"] = number
            raise
        items.append(item)
    return items


def _item(given: object, number: int) -> Item:
    """Raises Invalid, AmountInvalid."""
    where = f"body.operations.{number}"
    transfer = isinstance(given, dict) and "source_wallet_id" in given
    model: type[Item] = BulkTransfer if transfer else BulkOperation
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise as_error(error, where) from None
    except CofferError as error:
        # An amount tells its place as if it stood alone.
        error.extra["errors"] = [{"where": f"{where}.amount", "what": error.detail}]
        raise


def _command(item: Item) -> Movement:
    id_ = uuid7()
    told: tuple[Any, ...] = (item.reference, item.description, item.metadata)
    if isinstance(item, BulkTransfer):
        leg = Leg(id_, item.source_wallet_id, item.target_wallet_id, item.amount)
        return Transfer(id_, (leg,), *told)
    kind = Deposit if item.operation_type is OperationType.DEPOSIT else Withdraw
    return kind(item.wallet_id, id_, item.amount, *told)


def _key(
    item: Item, given: object, number: int, whole: IdempotencyKey | None
) -> IdempotencyKey | None:
    """The item's own key, or one that follows from that of the whole."""
    if item.idempotency_key is None and whole is None:
        return None
    text = orjson.dumps(["bulk", given], default=str, option=orjson.OPT_SORT_KEYS)
    request_hash = hashlib.sha256(text).digest()
    if item.idempotency_key is not None:
        return IdempotencyKey(OPEN_SCOPE, item.idempotency_key, request_hash)
    assert whole is not None  # noqa: S101 - see above
    # A key of 255 characters has no room for a place.
    name = hashlib.sha256(whole.key.encode()).hexdigest()
    return IdempotencyKey(f"{whole.scope}bulk", f"{name}:{number}", request_hash)


def _answer(results: Sequence[Outcome | CofferError]) -> Response:
    """The bodies as they were decided, byte for byte."""
    parts: list[bytes] = []
    done = 0
    for result in results:
        outcome = (
            result
            if isinstance(result, Outcome)
            else Outcome(result.status, orjson.dumps(result.problem()))
        )
        done += outcome.status < FIRST_ERROR_STATUS
        replayed = b',"replayed":true' if outcome.replayed else b""
        parts.append(b'{"status":%d%b,"body":%b}' % (outcome.status, replayed, outcome.body))
    body = b'{"done":%d,"refused":%d,"results":[%b]}' % (
        done,
        len(parts) - done,
        b",".join(parts),
    )
    return Response(body, 200, content_type=JSON_TYPE)
