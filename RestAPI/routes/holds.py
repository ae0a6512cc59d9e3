"""Holds: money that is kept back, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.routes.operations import MONEY_ERRORS
from RestAPI.schemas.holds import (
    CapturedHold,
    CaptureOrder,
    Hold,
    HoldOrder,
    HoldPage,
    HoldQuery,
    Nothing,
)
from WalletCore.domain.commands import CaptureHold, PlaceHold, VoidHold
from WalletCore.domain.errors import (
    CurrencyMismatch,
    CursorInvalid,
    HoldAlreadyResolved,
    HoldExceeded,
    HoldNotFound,
    SameWallet,
    WalletNotFound,
)
from WalletCore.domain.model import Document
from WalletCore.paging import PageRequest
from WalletCore.store import IdempotencyKey, Outcome

HOLDS_PATH: Final = "/api/v1/holds"
TAG: Final = "Holds"


class HoldRoutes:
    """The endpoints of holds."""

    @endpoint(
        tag=TAG,
        body=HoldOrder,
        idempotent=True,
        responses={201: Hold},
        errors=MONEY_ERRORS,
        location=f"{HOLDS_PATH}/",
    )
    def place_hold(
        self,
        caller: Caller,
        wallet_id: UUID,
        body: HoldOrder,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Hold money of a wallet

        Less is available, and the balance stays. It is captured, in full or in part, or voided;
        what is left when its time is over is released by itself.
        """
        command = PlaceHold(
            wallet_id=wallet_id,
            hold_id=uuid7(),
            amount=body.amount,
            lasts=timedelta(seconds=body.expires_in_seconds),
            reference=body.reference,
            description=body.description,
            metadata=body.metadata,
        )
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(
        tag=TAG,
        query=HoldQuery,
        responses={200: HoldPage},
        errors=(WalletNotFound, CursorInvalid),
    )
    def list_holds(self, caller: Caller, wallet_id: UUID, query: HoldQuery) -> Document:
        """List a wallet's holds

        Newest first, page by page, with the wallet's balance of the same moment.
        """
        page, balance = caller.store.holds(
            wallet_id, query.status, PageRequest(query.cursor, query.limit)
        )
        return {"items": page.items, "next_cursor": page.next_cursor, "balance": balance}

    @endpoint(tag=TAG, responses={200: Hold}, errors=(HoldNotFound,))
    def get_hold(self, caller: Caller, hold_id: UUID) -> Document:
        """Read a hold"""
        return caller.store.hold(hold_id)

    @endpoint(
        tag=TAG,
        body=CaptureOrder,
        body_may_be_empty=True,
        idempotent=True,
        responses={200: CapturedHold},
        errors=(
            *MONEY_ERRORS,
            CurrencyMismatch,
            SameWallet,
            HoldNotFound,
            HoldExceeded,
            HoldAlreadyResolved,
        ),
    )
    def capture_hold(
        self,
        caller: Caller,
        hold_id: UUID,
        body: CaptureOrder,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Capture a hold

        In full, or in part; what is left is then released, or stays held with `final: false` for
        another capture. The money goes to the outside, or into another wallet of that currency.
        """
        command = CaptureHold(
            wallet_id=self._wallet_of(caller, hold_id),
            hold_id=hold_id,
            operation_id=uuid7(),
            amount=body.amount,
            final=body.final,
            target_id=body.target_wallet_id,
            reference=body.reference,
            description=body.description,
            metadata=body.metadata,
        )
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(
        tag=TAG,
        body=Nothing,
        body_may_be_empty=True,
        idempotent=True,
        responses={200: Hold},
        errors=(HoldNotFound, HoldAlreadyResolved),
    )
    def void_hold(
        self,
        caller: Caller,
        hold_id: UUID,
        body: Nothing,  # noqa: ARG002 - it says nothing
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Void a hold

        What it still keeps back is available again. That works on a frozen wallet, too.
        """
        command = VoidHold(self._wallet_of(caller, hold_id), hold_id)
        return caller.execute(command, key, dry_run=dry_run)

    def _wallet_of(self, caller: Caller, hold_id: UUID) -> UUID:
        """The wallet that must be locked; a hold stays with it. Raises HoldNotFound."""
        return UUID(caller.store.hold(hold_id)["wallet_id"])
