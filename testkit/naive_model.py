"""The rules of the ledger once more, as they are told rather than as they are programmed.

So naive that one can see that it is right: plain dictionaries, one command after the other, and a
balance that is the sum of a list. The real ledger is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final
from uuid import UUID

from WalletCore.domain.commands import (
    UNSET,
    Command,
    CreateWallet,
    Deposit,
    SendMessage,
    SetMessageStatus,
    UpdateWallet,
    Withdraw,
)
from WalletCore.domain.model import Document
from WalletCore.store import IdempotencyKey

EXPONENTS: Final = {"USD": 2, "JPY": 0, "KWD": 3, "COIN": 0}
"""The currencies that the model knows, with their decimals."""
MOST_MINOR: Final = 10**18


@dataclass
class ModelWallet:
    """What a wallet is, in minor units; ``changes`` is what its version must be."""

    currency: str
    limit: int
    name: str | None = None
    metadata: Document = field(default_factory=dict)
    status: str = "active"
    deltas: list[int] = field(default_factory=list)
    changes: int = 1

    @property
    def balance(self) -> int:
        """The sum of all movements."""
        return sum(self.deltas)


class Model:
    """The rules again, as they are told rather than as they are programmed."""

    def __init__(self) -> None:
        self.wallets: dict[UUID, ModelWallet] = {}
        self.remembered: dict[str, tuple[bytes, tuple[int, str]]] = {}

    def send(self, command: Command, key: IdempotencyKey | None) -> tuple[int, str, bool]:
        """Status, code, and whether it is an earlier answer."""
        if key is not None and key.key in self.remembered:
            request_hash, answer = self.remembered[key.key]
            if request_hash != key.request_hash:
                return 409, "idempotency_key_reused", False
            return *answer, True
        status, code = self.decide(command)
        if key is not None and status not in (404, 422):
            self.remembered[key.key] = key.request_hash, (status, code)
        return status, code, False

    def decide(self, command: Command) -> tuple[int, str]:
        """Status and code, with nothing remembered."""
        if isinstance(command, CreateWallet):
            return self._create(command)
        if isinstance(command, SendMessage | SetMessageStatus):
            raise NotImplementedError("the model knows wallets alone")
        wallet = self.wallets.get(command.wallet_id)
        if wallet is None:
            return 404, "wallet_not_found"
        if isinstance(command, UpdateWallet):
            return self._update(wallet, command)
        return self._move(wallet, command)

    def _move(self, wallet: ModelWallet, command: Deposit | Withdraw) -> tuple[int, str]:
        minor, fault = in_minor(command.amount, EXPONENTS[wallet.currency])
        if fault or minor <= 0:
            return 422, fault or "amount_invalid"
        if wallet.status != "active":
            return 409, f"wallet_{wallet.status}"
        if isinstance(command, Withdraw):
            if wallet.balance - minor < wallet.limit:
                return 400, "insufficient_funds"
            minor = -minor
        elif wallet.balance + minor > MOST_MINOR:
            return 400, "limit_exceeded"
        wallet.deltas.append(minor)
        wallet.changes += 1
        return 200, ""

    def _create(self, command: CreateWallet) -> tuple[int, str]:
        if command.currency not in EXPONENTS:
            return 422, "currency_unknown"
        limit, fault = in_minor(command.min_balance, EXPONENTS[command.currency])
        if fault or limit > 0:
            return 422, fault or "amount_invalid"
        self.wallets[command.wallet_id] = ModelWallet(
            command.currency, limit, command.name, dict(command.metadata)
        )
        return 201, ""

    def _update(self, wallet: ModelWallet, command: UpdateWallet) -> tuple[int, str]:
        wanted = {
            name: value
            for name in ("name", "metadata", "status")
            if (value := getattr(command, name)) is not UNSET and value != getattr(wallet, name)
        }
        if not wanted:
            return 200, ""
        if wallet.status == "closed":
            return 409, "wallet_closed"
        if wanted.get("status") == "closed" and wallet.balance != 0:
            return 409, "wallet_not_empty"
        for name, value in wanted.items():
            setattr(wallet, name, value)
        wallet.changes += 1
        return 200, ""


def in_minor(amount: Decimal, exponent: int) -> tuple[int, str]:
    """Minor units, or the code of what is wrong with the amount, by counting digits."""
    sign, digits, power = amount.as_tuple()
    assert isinstance(power, int)
    text = "".join(map(str, digits))
    if not text.strip("0"):
        return 0, ""
    power += exponent
    if len(text.lstrip("0")) + power > 40:
        return 0, "amount_out_of_range"
    while power < 0:
        if not text.endswith("0"):
            # What is both too large and too precise may be called either.
            return 0, "amount_too_precise"
        text, power = text[:-1], power + 1
    minor = int(text + "0" * power)
    return (0, "amount_out_of_range") if minor > MOST_MINOR else (-minor if sign else minor, "")
