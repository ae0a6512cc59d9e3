"""Answers that both stores compose in the same way from what they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from WalletCore.domain.model import Document, MessageStatus, Wallet, rfc3339
from WalletCore.domain.money import Currency, format_amount
from WalletCore.paging import Page

Row = TypeVar("Row")


def balance_document(wallet: Wallet) -> Document:
    """A wallet's balance now."""
    currency = wallet.currency
    return {
        "wallet_id": str(wallet.id),
        "currency": currency.code,
        "balance": format_amount(wallet.balance_minor, currency),
        "held": format_amount(wallet.held_minor, currency),
        "available": format_amount(wallet.available_minor, currency),
        "version": wallet.version,
    }


def balance_at_document(
    wallet_id: UUID, currency: Currency, at: datetime, *, seq: int, balance_minor: int
) -> Document:
    """A wallet's balance as of ``at``, after its entry ``seq`` (0: before the first)."""
    return {
        "wallet_id": str(wallet_id),
        "currency": currency.code,
        "balance": format_amount(balance_minor, currency),
        "at": rfc3339(at),
        "seq": seq,
    }


def event_document(body: Document, *, recorded: bool, status: str | None) -> Document:
    """An event as it is answered: its CloudEvents form, and ``status`` as one attribute more.

    ``recorded``: whether the worker has it; ``status``: what was set by hand.
    """
    if status is None:
        status = MessageStatus.PROCESSED if recorded else MessageStatus.NOT_PROCESSED
    return {**body, "status": str(status)}


@dataclass(slots=True)
class Totals:
    """Of one currency, in minor units, each positive as a rule."""

    deposits: int = 0
    withdrawals: int = 0
    balances: int = 0


def trial_balance_document(totals: Mapping[Currency, Totals]) -> Document:
    """The trial balance of ``totals`` by currency.

    Every deposit and withdrawal has the world outside as its other side, so what came in, less
    what went out, less what the wallets hold must be zero.
    """
    rows: list[Document] = []
    balanced = True
    for currency, total in totals.items():
        difference = total.deposits - total.withdrawals - total.balances
        balanced = balanced and difference == 0
        rows.append(
            {
                "currency": currency.code,
                "deposits": format_amount(total.deposits, currency),
                "withdrawals": format_amount(total.withdrawals, currency),
                "balances": format_amount(total.balances, currency),
                "difference": format_amount(difference, currency),
            }
        )
    return {"balanced": balanced, "currencies": rows}


def page_of(
    rows: Sequence[Row],
    limit: int,
    document: Callable[[Row], Document],
    cursor: Callable[[Row], str],
) -> Page:
    """The first ``limit`` of ``rows`` (one more was asked for), with a cursor if there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page([document(row) for row in shown], cursor(shown[-1]) if more else None)
