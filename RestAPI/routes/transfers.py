"""Transfers between wallets."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.routes.operations import MONEY_ERRORS
from RestAPI.schemas.transfers import Transfer as TransferAnswer
from RestAPI.schemas.transfers import TransferOrder
from WalletCore.domain.commands import Leg, Transfer
from WalletCore.domain.errors import CurrencyMismatch, SameWallet, TransferNotFound
from WalletCore.domain.model import Document
from WalletCore.store import IdempotencyKey, Outcome

TRANSFERS_PATH: Final = "/api/v1/transfers"
TAG: Final = "Transfers"


class TransferRoutes:
    """The endpoints under ``/transfers``."""

    @endpoint(
        tag=TAG,
        body=TransferOrder,
        idempotent=True,
        responses={201: TransferAnswer},
        errors=(*MONEY_ERRORS, CurrencyMismatch, SameWallet),
        location=f"{TRANSFERS_PATH}/",
    )
    def transfer(
        self,
        caller: Caller,
        body: TransferOrder,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Move money between wallets

        Either from one wallet to another, or by several legs, which are done in their order, all
        or none. A refusal of one of several legs names it as `leg`, counted from 0; then nothing
        has changed. Both wallets of a leg are in the same currency; each has an event of its own.
        """
        orders = body.movements()
        ids = sorted(uuid7() for _ in orders)
        command = Transfer(
            transfer_id=ids[0] if len(ids) == 1 else uuid7(),
            legs=tuple(
                Leg(id_, order.source_wallet_id, order.target_wallet_id, order.amount)
                for id_, order in zip(ids, orders, strict=True)
            ),
            reference=body.reference,
            description=body.description,
            metadata=body.metadata,
        )
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(tag=TAG, responses={200: TransferAnswer}, errors=(TransferNotFound,))
    def get_transfer(self, caller: Caller, transfer_id: UUID) -> Document:
        """Read a transfer"""
        return caller.store.transfer(transfer_id)
