"""Operations: deposits, withdrawals, and the history of a wallet."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.schemas.operations import (
    Operation,
    OperationOrder,
    OperationPage,
    OperationQuery,
    ReversalOrder,
)
from WalletCore.domain.commands import Deposit, Reverse, Withdraw
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CursorInvalid,
    InsufficientFunds,
    LimitExceeded,
    NotReversible,
    OperationNotFound,
    ReversalExceeded,
    WalletClosed,
    WalletFrozen,
    WalletNotFound,
)
from WalletCore.domain.model import Document, OperationType
from WalletCore.keys import Scope
from WalletCore.paging import PageRequest
from WalletCore.store import IdempotencyKey, OperationFilter, Outcome

OPERATIONS_PATH: Final = "/api/v1/operations"
TAG: Final = "Operations"

MONEY_ERRORS: Final = (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    InsufficientFunds,
    LimitExceeded,
    WalletNotFound,
    WalletFrozen,
    WalletClosed,
)
"""What moving money may be answered with, whatever moves it."""


class OperationRoutes:
    """The endpoints that move money, and those that tell how it moved."""

    @endpoint(
        tag=TAG,
        body=OperationOrder,
        idempotent=True,
        responses={200: Operation},
        errors=MONEY_ERRORS,
    )
    def operate(
        self,
        caller: Caller,
        wallet_id: UUID,
        body: OperationOrder,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Deposit into or withdraw from a wallet

        A withdrawal is refused when less than its amount is available; then nothing has changed.
        Send an Idempotency-Key to be able to repeat a request whose answer was lost.
        """
        kind = Deposit if body.operation_type is OperationType.DEPOSIT else Withdraw
        command = kind(
            wallet_id=wallet_id,
            operation_id=uuid7(),
            amount=body.amount,
            reference=body.reference,
            description=body.description,
            metadata=body.metadata,
        )
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(
        tag=TAG,
        query=OperationQuery,
        responses={200: OperationPage},
        errors=(WalletNotFound, CursorInvalid),
    )
    def list_operations(self, caller: Caller, wallet_id: UUID, query: OperationQuery) -> Document:
        """Read a wallet's history

        Newest first, page by page, with the balance before and after each operation.
        """
        page = caller.store.operations(
            wallet_id,
            OperationFilter(query.type, query.since, query.until, query.reference),
            PageRequest(query.cursor, query.limit),
        )
        return {"items": page.items, "next_cursor": page.next_cursor}

    @endpoint(tag=TAG, responses={200: Operation}, errors=(OperationNotFound,))
    def get_operation(self, caller: Caller, operation_id: UUID) -> Document:
        """Read an operation

        Of a movement between two wallets, the side of the one that gave.
        """
        return caller.store.operation(operation_id)

    @endpoint(
        tag=TAG,
        body=ReversalOrder,
        body_may_be_empty=True,
        idempotent=True,
        responses={201: Operation},
        errors=(*MONEY_ERRORS, OperationNotFound, NotReversible, ReversalExceeded),
        location=f"{OPERATIONS_PATH}/",
    )
    def reverse(
        self,
        caller: Caller,
        operation_id: UUID,
        body: ReversalOrder,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Reverse an operation

        In full, or in part as often as something is left of it; of a movement between two wallets
        both sides. It is refused when the money is gone, unless `allow_negative` says otherwise.
        That is for keys with the scope admin; reversing at all is for keys that are not limited to
        an owner. The answer is the new operation, of the wallet that
        gives.
        """
        caller.require_no_owner("A reversal")
        if body.allow_negative:
            caller.require(Scope.ADMIN, "allow_negative")
        command = Reverse(
            original_id=operation_id,
            wallet_ids=caller.store.wallets_of_operation(operation_id),
            operation_id=uuid7(),
            amount=body.amount,
            allow_negative=body.allow_negative,
            reference=body.reference,
            description=body.description,
            metadata=body.metadata,
        )
        return caller.execute(command, key, dry_run=dry_run)
