"""The heart of Coffer: what may happen to money, decided in memory, purely.

A store locks the wallets that a batch of commands names, hands them to a Ledger, lets it decide the
commands in order, and writes down what came of it. Each command gets its own answer; a refused one
leaves no trace, because every rule checks everything before it changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from WalletCore.domain import (
    hold_rules,
    message_rules,
    money_rules,
    reversal_rules,
    shop_rules,
    wallet_rules,
)
from WalletCore.domain.commands import (
    CaptureHold,
    Command,
    CreateWallet,
    Deposit,
    ExpireHold,
    Group,
    OpenAccount,
    PlaceHold,
    Purchase,
    Reverse,
    SendMessage,
    SetMessageStatus,
    Transfer,
    UpdateWallet,
    VoidHold,
    Withdraw,
)
from WalletCore.domain.errors import CofferError
from WalletCore.domain.model import Document
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.savepoint import Savepoint
from WalletCore.domain.working_set import OK, Accepted, WorkingSet

Answer: TypeAlias = Accepted | CofferError


class Ledger(WorkingSet):
    """Decides commands on a working set, one after the other."""

    def decide(self, command: Command, origin: Origin = SERVICE) -> Answer:
        """Do ``command`` or refuse it. Never raises for what a client can cause."""
        self.origin = origin
        try:
            return RULES[type(command)](self, command)
        except CofferError as refusal:
            return refusal.with_traceback(None)

    def try_out(self, command: Command, ids: Collection[UUID], origin: Origin = SERVICE) -> Answer:
        """What ``decide`` would answer now; nothing is changed. ``ids``: of all that it needs."""
        before = Savepoint(self, ids)
        answer = self.decide(command, origin)
        before.roll_back()
        return answer


def do_all(books: WorkingSet, command: Group) -> Accepted:
    """Every command of a group in its order; if it is atomic, the first that cannot be done is
    named, and none is.
    """
    before = Savepoint(books, _wallets_of(command)) if command.atomic else None
    results: list[Document] = []
    refused = 0
    for index, one in enumerate(command.commands):
        try:
            answer = RULES[type(one)](books, one)
        except CofferError as refusal:
            if before is not None:
                before.roll_back()
                refusal.extra["index"] = index
                raise
            refused += 1
            results.append({"status": refusal.status, "body": refusal.problem()})
        else:
            results.append({"status": answer.status, "body": answer.document})
    done = len(results) - refused
    return Accepted(OK, {"done": done, "refused": refused, "results": results})


def _wallets_of(command: Group) -> set[UUID]:
    ids: set[UUID] = set()
    for one in command.commands:
        if isinstance(one, Transfer):
            ids.update(id_ for leg in one.legs for id_ in (leg.source_id, leg.target_id))
        else:
            ids.add(one.wallet_id)
    return ids


RULES: Final[Mapping[type, Callable[[WorkingSet, Any], Accepted]]] = {
    CreateWallet: wallet_rules.create_wallet,
    UpdateWallet: wallet_rules.update_wallet,
    Deposit: money_rules.deposit,
    Withdraw: money_rules.withdraw,
    Transfer: money_rules.transfer,
    PlaceHold: hold_rules.place_hold,
    CaptureHold: hold_rules.capture_hold,
    VoidHold: hold_rules.void_hold,
    ExpireHold: hold_rules.expire_hold,
    Reverse: reversal_rules.reverse,
    Group: do_all,
    OpenAccount: shop_rules.open_account,
    Purchase: shop_rules.purchase,
    SendMessage: message_rules.send_message,
    SetMessageStatus: message_rules.set_message_status,
}
"""The rule of each kind of command."""


def decide(commands: Iterable[Command], ledger: Ledger) -> list[Answer]:
    """Decide ``commands`` in order on one working set; an answer for each, in the same order."""
    return [ledger.decide(command) for command in commands]
