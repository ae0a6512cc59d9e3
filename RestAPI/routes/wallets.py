"""Wallets: create, list, read, change, and their balances."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.schemas.wallets import (
    Balance,
    BalanceQuery,
    Wallet,
    WalletChange,
    WalletCreation,
    WalletPage,
    WalletQuery,
)
from WalletCore.domain.commands import UNSET, CreateWallet, UpdateWallet
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CurrencyUnknown,
    CursorInvalid,
    LimitExceeded,
    WalletClosed,
    WalletNotEmpty,
    WalletNotFound,
)
from WalletCore.domain.model import Document
from WalletCore.keys import Scope
from WalletCore.paging import PageRequest
from WalletCore.store import IdempotencyKey, Outcome, WalletFilter

WALLETS_PATH: Final = "/api/v1/wallets"
TAG: Final = "Wallets"


class WalletRoutes:
    """The endpoints under ``/wallets`` but for operations."""

    def __init__(self, default_currency: str) -> None:
        self._default_currency = default_currency

    @endpoint(
        tag=TAG,
        body=WalletCreation,
        body_may_be_empty=True,
        idempotent=True,
        responses={201: Wallet},
        errors=(AmountInvalid, AmountTooPrecise, AmountOutOfRange, CurrencyUnknown),
        location=f"{WALLETS_PATH}/",
    )
    def create_wallet(
        self,
        caller: Caller,
        body: WalletCreation,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Create a wallet

        It is active and empty. A body is not needed. Limits are for keys with the scope admin.
        """
        _require_admin_of_limits(caller, body.model_fields_set)
        command = CreateWallet(
            wallet_id=uuid7(),
            currency=body.currency or self._default_currency,
            owner=body.owner,
            name=body.name,
            min_balance=body.min_balance,
            metadata=body.metadata,
            max_balance=body.max_balance,
        )
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(
        tag=TAG,
        query=WalletQuery,
        responses={200: WalletPage},
        errors=(CursorInvalid, CurrencyUnknown),
    )
    def list_wallets(self, caller: Caller, query: WalletQuery) -> Document:
        """List wallets

        In the order of their creation, page by page.
        """
        if query.currency is not None:
            # A misspelt currency must not look like one that nobody uses.
            caller.store.currencies[query.currency]
        page = caller.store.wallets(
            WalletFilter(query.owner, query.currency, query.status, query.search),
            PageRequest(query.cursor, query.limit),
        )
        return {"items": page.items, "next_cursor": page.next_cursor}

    @endpoint(tag=TAG, responses={200: Wallet}, errors=(WalletNotFound,))
    def get_wallet(self, caller: Caller, wallet_id: UUID) -> Document:
        """Read a wallet"""
        return caller.store.wallet(wallet_id)

    @endpoint(
        tag=TAG,
        body=WalletChange,
        idempotent=True,
        responses={200: Wallet},
        errors=(
            AmountInvalid,
            AmountTooPrecise,
            AmountOutOfRange,
            LimitExceeded,
            WalletNotFound,
            WalletClosed,
            WalletNotEmpty,
        ),
    )
    def change_wallet(
        self,
        caller: Caller,
        wallet_id: UUID,
        body: WalletChange,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome:
        """Rename a wallet, set its metadata and limits, freeze, unfreeze or close it

        A closed wallet stays closed, and its history stays readable. Limits are for keys with the
        scope admin, and the status is for keys that are not limited to an owner.
        """
        sent = body.model_fields_set
        _require_admin_of_limits(caller, sent)
        if "status" in sent:
            caller.require_no_owner("The status of a wallet")
        command = UpdateWallet(
            wallet_id=wallet_id,
            name=body.name if "name" in sent else UNSET,
            metadata=body.metadata if "metadata" in sent else UNSET,
            status=body.status if "status" in sent else UNSET,
            min_balance=body.min_balance if "min_balance" in sent else UNSET,
            max_balance=body.max_balance if "max_balance" in sent else UNSET,
        )
        return caller.execute(command, key, dry_run=dry_run)

    @endpoint(tag=TAG, query=BalanceQuery, responses={200: Balance}, errors=(WalletNotFound,))
    def get_balance(self, caller: Caller, wallet_id: UUID, query: BalanceQuery) -> Document:
        """Read a wallet's balance, now or at a moment

        With `at`, the balance after the last operation up to that moment.
        """
        if query.at is None:
            return caller.store.balance(wallet_id)
        return caller.store.balance_at(wallet_id, query.at)


def _require_admin_of_limits(caller: Caller, sent: set[str]) -> None:
    """How far a balance may fall and rise is not for everybody. Raises NotAllowed."""
    if sent & {"min_balance", "max_balance"}:
        caller.require(Scope.ADMIN, "A limit of a wallet")
