"""Searching operations across wallets."""

from __future__ import annotations

from typing import Final

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.schemas.operations import OperationPage
from RestAPI.schemas.search import SearchQuery
from WalletCore.domain.errors import (
    AmountInvalid,
    AmountOutOfRange,
    AmountTooPrecise,
    CurrencyUnknown,
    CursorInvalid,
)
from WalletCore.domain.model import Document
from WalletCore.domain.money import MAX_AMOUNT_MINOR, to_minor
from WalletCore.paging import PageRequest
from WalletCore.search import SearchFilter

OPERATIONS_PATH: Final = "/api/v1/operations"
TAG: Final = "Operations"


class SearchRoutes:
    """The endpoint that finds operations wherever they are."""

    @endpoint(
        tag=TAG,
        query=SearchQuery,
        responses={200: OperationPage},
        errors=(AmountInvalid, AmountTooPrecise, AmountOutOfRange, CurrencyUnknown, CursorInvalid),
    )
    def search_operations(self, caller: Caller, query: SearchQuery) -> Document:
        """Search the operations of all wallets

        Newest first, in the order in which they were asked for. All conditions narrow together. A
        page looks at a bounded number of operations: when few of them match, it may have fewer than
        `limit` items, even none, and still a `next_cursor` that goes on. Only `next_cursor: null`
        is the end. Quickest are a reference, and metadata that few operations have.
        """
        page = caller.store.search(
            self._wanted(caller, query), PageRequest(query.cursor, query.limit)
        )
        return {"items": page.items, "next_cursor": page.next_cursor}

    def _wanted(self, caller: Caller, query: SearchQuery) -> SearchFilter:
        """The same for the store."""
        least_minor, most_minor = 0, MAX_AMOUNT_MINOR
        if query.currency is not None:
            # A misspelt currency must not look like one that nobody uses.
            currency = caller.store.currencies[query.currency]
            if query.min_amount is not None:
                least_minor = to_minor(query.min_amount, currency)
            if query.max_amount is not None:
                most_minor = to_minor(query.max_amount, currency)
        return SearchFilter(
            reference=query.reference,
            metadata=query.metadata,
            least_minor=least_minor,
            most_minor=most_minor,
            currency=query.currency,
            operation_type=query.type,
            since=query.since,
            until=query.until,
        )
