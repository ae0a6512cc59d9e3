"""One of many operations: from what a client gave to a command, its key and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import orjson
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from RestAPI.caller import Caller
from RestAPI.problems import as_error, invalid
from RestAPI.reading import hash_of
from RestAPI.schemas.bulk import BulkOperation, BulkTransfer
from WalletCore.domain.commands import Deposit, Group, Leg, Transfer, Withdraw
from WalletCore.domain.errors import CofferError, IdempotencyKeyReused
from WalletCore.domain.model import OperationType
from WalletCore.store import IdempotencyKey, Outcome

FIRST_ERROR_STATUS: Final = 400

_EACH: Final = hashlib.sha256(b"many, each on its own").digest()

Item: TypeAlias = BulkOperation | BulkTransfer
Movement: TypeAlias = Deposit | Withdraw | Transfer


def do_each(
    caller: Caller,
    given: Iterable[tuple[int, object | CofferError, str]],
    key: IdempotencyKey | None,
    *,
    dry_run: bool,
) -> list[Outcome]:
    """Do each of ``given`` on its own, and give what became of it, in their order.

    Each comes with its number (which, with ``key``, makes its own key), or what is wrong with it,
    and where it stands.
    """
    results: list[Outcome | CofferError | None] = []
    commands: list[tuple[Movement, IdempotencyKey | None]] = []
    for number, one, where in given:
        try:
            if isinstance(one, CofferError):
                raise one
            item = read_item(one, where)
        except CofferError as error:
            results.append(error)
        else:
            commands.append((command_of(item), key_of(caller, item, one, number, key)))
            results.append(None)
    try:
        answers = iter(
            _try_all(caller, [command for command, _ in commands])
            if dry_run
            else caller.execute_each(commands)
        )
    except CofferError as error:  # none of them was begun
        answers = iter([error] * len(commands))
    return [_outcome(next(answers) if result is None else result) for result in results]


def _try_all(caller: Caller, commands: Sequence[Movement]) -> list[Outcome]:
    """What would become of them, one after the other."""
    outcome = caller.execute(Group(tuple(commands), atomic=False), None, dry_run=True)
    results = orjson.loads(outcome.body)["results"]
    return [Outcome(result["status"], orjson.dumps(result["body"])) for result in results]


def claim_whole(caller: Caller, key: IdempotencyKey | None, *, dry_run: bool) -> CofferError | None:
    """Note that ``key`` stands for many, each on its own; what is wrong if it stands for another
    request. With the same key the items may be others: each has its own answer.
    """
    if key is None or dry_run:
        return None
    marked = IdempotencyKey(key.scope, key.key, _EACH)
    outcome = caller.execute(Group((), atomic=False), marked)
    if outcome.status < FIRST_ERROR_STATUS:
        return None
    return IdempotencyKeyReused(orjson.loads(outcome.body)["detail"])


def _outcome(result: Outcome | CofferError) -> Outcome:
    if isinstance(result, Outcome):
        return result
    return Outcome(result.status, orjson.dumps(result.problem()))


def result_json(outcome: Outcome) -> bytes:
    """A BulkResult: the body as it was decided, byte for byte."""
    replayed = b',"replayed":true' if outcome.replayed else b""
    return b'{"status":%d%b,"body":%b}' % (outcome.status, replayed, outcome.body)


def all_items(given: Sequence[object]) -> list[Item]:
    """All of them, none with a key of its own. Raises Invalid with the index of the first fault."""
    items: list[Item] = []
    for number, one in enumerate(given):
        try:
            item = read_item(one, f"body.operations.{number}")
            if item.idempotency_key is not None:
                where = f"body.operations.{number}.idempotency_key"
                what = "All or nothing has one key for all: send Idempotency-Key instead."
                raise invalid([(where, what)])
        except CofferError as error:
            error.extra["index"] = number
            raise
        items.append(item)
    return items


def read_item(given: object, where: str) -> Item:
    """One of many, which stands at ``where``. Raises Invalid, AmountInvalid."""
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


def command_of(item: Item) -> Movement:
    """What it asks the ledger to do."""
    id_ = uuid7()
    told: tuple[Any, ...] = (item.reference, item.description, item.metadata)
    if isinstance(item, BulkTransfer):
        leg = Leg(id_, item.source_wallet_id, item.target_wallet_id, item.amount)
        return Transfer(id_, (leg,), *told)
    kind = Deposit if item.operation_type is OperationType.DEPOSIT else Withdraw
    return kind(item.wallet_id, id_, item.amount, *told)


def key_of(
    caller: Caller, item: Item, given: object, number: int, whole: IdempotencyKey | None
) -> IdempotencyKey | None:
    """The item's own key, or one that follows from that of the whole."""
    if item.idempotency_key is None and whole is None:
        return None
    request_hash = hash_of(["bulk", given])
    if item.idempotency_key is not None:
        return IdempotencyKey(caller.key_scope, item.idempotency_key, request_hash)
    assert whole is not None  # noqa: S101 - see above
    # A key of 255 characters has no room for a place.
    name = hashlib.sha256(whole.key.encode()).hexdigest()
    return IdempotencyKey(f"{whole.scope}bulk", f"{name}:{number}", request_hash)
