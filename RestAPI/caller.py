"""Who asks in a request, and what they may see and do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from WalletCore.domain.commands import Command
from WalletCore.domain.errors import CofferError, NotAllowed
from WalletCore.domain.origin import Origin
from WalletCore.inbox import NotificationFilter
from WalletCore.keys import ApiKey, Scope
from WalletCore.store import IdempotencyKey, Outcome, Store

CALLER: Final = "coffer.caller"
"""The Caller of the request, in its environment."""


def no_check() -> None:
    """Nothing that could end."""


@dataclass(frozen=True, slots=True)
class Caller:
    """``store``: shows what this caller may see. ``key_scope``: that of its Idempotency-Keys.

    ``check``: for what goes on for long. Raises KeyRefused once the caller's key works no more, and
    Unavailable. ``api_key``: what the caller came with; None in open access and in the shop.
    """

    store: Store
    origin: Origin
    scopes: frozenset[Scope]
    key_scope: str
    check: Callable[[], None] = field(default=no_check, kw_only=True)
    api_key: ApiKey | None = field(default=None, kw_only=True)

    def execute(
        self, command: Command, key: IdempotencyKey | None, *, dry_run: bool = False
    ) -> Outcome:
        """See Store.execute."""
        return self.store.execute(command, key, self.origin, dry_run=dry_run)

    def execute_each(
        self, commands: Sequence[tuple[Command, IdempotencyKey | None]]
    ) -> list[Outcome | CofferError]:
        """See Store.execute_each."""
        return self.store.execute_each(commands, self.origin)

    def require(self, scope: Scope, what: str) -> None:
        """Raises NotAllowed: ``what`` needs ``scope``."""
        if not (scope in self.scopes or Scope.ADMIN in self.scopes):
            raise NotAllowed(f"{what} needs a key with the scope {scope}.")

    def require_no_owner(self, what: str) -> None:
        """Raises NotAllowed where the caller is limited to an owner: ``what`` undoes what others
        have decided about that owner.
        """
        if self.origin.owner is not None:
            raise NotAllowed(f"{what} is for keys that are not limited to an owner.")

    def own(self, wanted: NotificationFilter) -> NotificationFilter:
        """``wanted``, narrowed to what this caller may see. Raises NotAllowed."""
        owner = self.origin.owner
        if owner is None:
            return wanted
        check_owner(owner, wanted.user_id)
        return replace(wanted, user_id=owner)


def check_owner(owner: str, wanted: str | None) -> None:
    """Whether a caller who is limited to ``owner`` may name ``wanted``. Raises NotAllowed."""
    if wanted not in (None, owner):
        raise NotAllowed("This key is limited to one owner, and that is another one.")
