"""The rules of the ledger once more, as they are told rather than as they are programmed.

So naive that one can see that it is right: plain dictionaries, one command after the other, and a
balance that is the sum of a list. The real ledger is compared with it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final
from uuid import UUID

from WalletCore.domain.commands import (
    UNSET,
    CaptureHold,
    Command,
    CreateWallet,
    Deposit,
    ExpireHold,
    Group,
    Leg,
    OpenAccount,
    PlaceHold,
    Purchase,
    Reverse,
    SendMessage,
    SetMessageStatus,
    Transfer,
    Unset,
    UpdateWallet,
    VoidHold,
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
    ceiling: int | None = None
    name: str | None = None
    metadata: Document = field(default_factory=dict)
    status: str = "active"
    deltas: list[int] = field(default_factory=list)
    changes: int = 1
    holds: dict[UUID, int] = field(default_factory=dict)
    """What each open hold still keeps back."""

    @property
    def balance(self) -> int:
        """The sum of all movements."""
        return sum(self.deltas)

    @property
    def free(self) -> int:
        """What can be taken out."""
        return self.balance - sum(self.holds.values()) - self.limit


class Model:
    """The rules again, as they are told rather than as they are programmed: one refusal after the
    other, hence the many returns.
    """

    def __init__(self) -> None:
        self.wallets: dict[UUID, ModelWallet] = {}
        self.remembered: dict[str, tuple[bytes, tuple[int, str]]] = {}
        self.sides: dict[UUID, list[tuple[ModelWallet, int]]] = {}
        self.reversed: dict[UUID, int] = {}
        self.reversals: set[UUID] = set()
        self.held: set[UUID] = set()

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

    def wallets_of(self, operation: UUID) -> tuple[UUID, ...]:
        """The wallets on both sides of an operation; none if it was never done."""
        mine = [id(wallet) for wallet, _ in self.sides.get(operation, ())]
        return tuple(id_ for id_, wallet in self.wallets.items() if id(wallet) in mine)

    def decide(self, command: Command) -> tuple[int, str]:  # noqa: PLR0911
        """Status and code, with nothing remembered."""
        if isinstance(command, CreateWallet):
            return self._create(command)
        if isinstance(command, SendMessage | SetMessageStatus):
            raise NotImplementedError("the model knows wallets alone")
        if isinstance(command, Group):
            return self._atomic(command)
        if isinstance(command, Transfer):
            return self._transfer(command)
        if isinstance(command, Reverse):
            return self._reverse(command)
        if isinstance(command, Purchase):
            # To a wallet of its own a purchase is what one leg of a transfer is.
            sides = (command.wallet_id, command.merchant_id)
            _, (status, code) = self._leg(Leg(command.operation_id, *sides, command.price))
            return (status, code) if code else (200, "")
        if isinstance(command, OpenAccount):
            self.wallets[command.wallet_id] = ModelWallet("COIN", 0, name="Shop")
            self._post(self.wallets[command.wallet_id], int(command.coins), command.operation_id)
            return 201, ""
        wallet = self.wallets.get(command.wallet_id)
        if wallet is None:
            return 404, "wallet_not_found"
        if isinstance(command, UpdateWallet):
            return self._update(wallet, command)
        if isinstance(command, CaptureHold | VoidHold | ExpireHold):
            return self._resolve(wallet, command)
        return self._move(wallet, command)

    def _move(
        self, wallet: ModelWallet, command: Deposit | Withdraw | PlaceHold
    ) -> tuple[int, str]:
        if wallet.status != "active":
            return 409, f"wallet_{wallet.status}"
        minor, fault = in_minor(command.amount, EXPONENTS[wallet.currency])
        if fault or minor <= 0:
            return 422, fault or "amount_invalid"
        if isinstance(command, Deposit):
            if code := no_room(wallet, minor):
                return 400, code
            self._post(wallet, minor, command.operation_id)
        elif minor > wallet.free:
            return 400, "insufficient_funds"
        elif isinstance(command, Withdraw):
            self._post(wallet, -minor, command.operation_id)
        else:
            wallet.holds[command.hold_id] = minor
            self.held.add(command.hold_id)
            wallet.changes += 1
            return 201, ""
        return 200, ""

    def _post(self, wallet: ModelWallet, delta: int, operation: UUID) -> None:
        wallet.deltas.append(delta)
        wallet.changes += 1
        self.sides.setdefault(operation, []).append((wallet, delta))

    def _atomic(self, command: Group) -> tuple[int, str]:
        """One after the other; where one cannot be, everything is as it was."""
        before = copy.deepcopy(vars(self))
        for one in command.commands:
            status, code = self.decide(one)
            if code:
                vars(self).update(before)
                return status, code
        return 200, ""

    def _transfer(self, command: Transfer) -> tuple[int, str]:
        """Leg by leg; what was done is taken back where one cannot be."""
        done: list[tuple[Leg, int]] = []
        answer = 201, ""
        for leg in command.legs:
            minor, answer = self._leg(leg)
            if answer[0] != 201:
                break
            done.append((leg, minor))
        if answer[0] != 201:
            for leg, _ in reversed(done):
                for wallet in (self.wallets[leg.source_id], self.wallets[leg.target_id]):
                    wallet.deltas.pop()
                    wallet.changes -= 1
                del self.sides[leg.operation_id]
        return answer

    def _leg(self, leg: Leg) -> tuple[int, tuple[int, str]]:  # noqa: PLR0911
        if leg.source_id == leg.target_id:
            return 0, (422, "same_wallet")
        both = (self.wallets.get(leg.source_id), self.wallets.get(leg.target_id))
        for wallet in both:
            if wallet is None:
                return 0, (404, "wallet_not_found")
            if wallet.status != "active":
                return 0, (409, f"wallet_{wallet.status}")
        source, target = both
        assert source is not None
        assert target is not None
        if source.currency != target.currency:
            return 0, (400, "currency_mismatch")
        minor, fault = in_minor(leg.amount, EXPONENTS[source.currency])
        if fault or minor <= 0:
            return 0, (422, fault or "amount_invalid")
        if minor > source.free:
            return 0, (400, "insufficient_funds")
        if code := no_room(target, minor):
            return 0, (400, code)
        self._post(source, -minor, leg.operation_id)
        self._post(target, minor, leg.operation_id)
        return minor, (201, "")

    def _resolve(  # noqa: PLR0911
        self, wallet: ModelWallet, command: CaptureHold | VoidHold | ExpireHold
    ) -> tuple[int, str]:
        capture = isinstance(command, CaptureHold)
        if capture and wallet.status != "active":
            return 409, f"wallet_{wallet.status}"
        if command.hold_id not in self.held:
            return 404, "hold_not_found"
        if isinstance(command, ExpireHold):
            return 200, ""  # those of the model last for hours
        left = wallet.holds.get(command.hold_id)
        if left is None:
            return 409, "hold_already_resolved"
        if isinstance(command, CaptureHold):
            minor = left
            if command.amount is not None:
                minor, fault = in_minor(command.amount, EXPONENTS[wallet.currency])
                if fault or minor <= 0:
                    return 422, fault or "amount_invalid"
            if minor > left:
                return 400, "hold_exceeded"
            self._post(wallet, -minor, command.operation_id)
            wallet.holds[command.hold_id] = left - minor
            if not command.final and minor < left:
                return 200, ""
        else:
            wallet.changes += 1
        del wallet.holds[command.hold_id]
        return 200, ""

    def _reverse(self, command: Reverse) -> tuple[int, str]:  # noqa: PLR0911
        sides = self.sides.get(command.original_id)
        if sides is None:
            return 404, "operation_not_found"
        for wallet, _ in sides:
            if wallet.status != "active":
                return 409, f"wallet_{wallet.status}"
        left = abs(sides[0][1]) - self.reversed.get(command.original_id, 0)
        if command.original_id in self.reversals or left == 0:
            return 409, "not_reversible"
        minor = left
        if command.amount is not None:
            minor, fault = in_minor(command.amount, EXPONENTS[sides[0][0].currency])
            if fault or minor <= 0:
                return 422, fault or "amount_invalid"
        if minor > left:
            return 400, "reversal_exceeded"
        for wallet, delta in sides:
            if delta > 0 and minor > wallet.free:
                return 400, "insufficient_funds"
            if delta < 0 and (code := no_room(wallet, minor)):
                return 400, code
        self.reversed[command.original_id] = abs(sides[0][1]) - left + minor
        self.reversals.add(command.operation_id)
        for wallet, delta in sides:
            self._post(wallet, -minor if delta > 0 else minor, command.operation_id)
        return 201, ""

    def _create(self, command: CreateWallet) -> tuple[int, str]:
        if command.currency not in EXPONENTS:
            return 422, "currency_unknown"
        limit, fault = in_minor(command.min_balance, EXPONENTS[command.currency])
        if fault or limit > 0:
            return 422, fault or "amount_invalid"
        ceiling, fault = ceiling_of(command.max_balance, EXPONENTS[command.currency])
        if fault:
            return 422, fault
        self.wallets[command.wallet_id] = ModelWallet(
            command.currency, limit, ceiling, command.name, dict(command.metadata)
        )
        return 201, ""

    def _update(self, wallet: ModelWallet, command: UpdateWallet) -> tuple[int, str]:  # noqa: PLR0911
        wanted = {
            name: value
            for name in ("name", "metadata", "status")
            if (value := getattr(command, name)) is not UNSET and value != getattr(wallet, name)
        }
        exponent = EXPONENTS[wallet.currency]
        limit, ceiling = wallet.limit, wallet.ceiling
        if not isinstance(command.min_balance, Unset):
            limit, fault = in_minor(command.min_balance, exponent)
            if fault or limit > 0:
                return 422, fault or "amount_invalid"
        if not isinstance(command.max_balance, Unset):
            ceiling, fault = ceiling_of(command.max_balance, exponent)
            if fault:
                return 422, fault
        if not wanted and (limit, ceiling) == (wallet.limit, wallet.ceiling):
            return 200, ""
        if wallet.status == "closed":
            return 409, "wallet_closed"
        if wanted.get("status") == "closed" and (wallet.balance != 0 or wallet.holds):
            return 409, "wallet_not_empty"
        if limit != wallet.limit and wallet.free + wallet.limit < limit:
            return 400, "limit_exceeded"
        if ceiling not in (None, wallet.ceiling) and wallet.balance > ceiling:
            return 400, "limit_exceeded"
        wallet.limit, wallet.ceiling = limit, ceiling
        for name, value in wanted.items():
            setattr(wallet, name, value)
        wallet.changes += 1
        return 200, ""


def no_room(wallet: ModelWallet, minor: int) -> str:
    """The code of why so much may not come in, or nothing."""
    most = MOST_MINOR if wallet.ceiling is None else wallet.ceiling
    return "limit_exceeded" if wallet.balance + minor > most else ""


def ceiling_of(amount: Decimal | None, exponent: int) -> tuple[int | None, str]:
    """A ``max_balance`` in minor units, or the code of what is wrong with it."""
    if amount is None:
        return None, ""
    minor, fault = in_minor(amount, exponent)
    return minor, fault or ("amount_invalid" if minor < 0 else "")


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
