"""The store as somebody sees it whose key is limited to an owner.

What belongs to others is not there. Commands carry the owner in their Origin, and the domain itself
finds no wallet of anybody else; here are the reads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NoReturn
from uuid import UUID

from RestAPI.caller import check_owner
from WalletCore.condition import Condition
from WalletCore.domain.commands import Command
from WalletCore.domain.errors import (
    CofferError,
    EventNotFound,
    NotAllowed,
    NotificationNotFound,
    TransferNotFound,
)
from WalletCore.domain.hold_rules import hold_not_found
from WalletCore.domain.model import Document, HoldStatus
from WalletCore.domain.money import Currencies
from WalletCore.domain.origin import SERVICE, Origin
from WalletCore.domain.reversal_rules import operation_not_found
from WalletCore.domain.working_set import wallet_not_found
from WalletCore.inbox import Notification, NotificationFilter, Notifications
from WalletCore.keys import Keys
from WalletCore.paging import Page, PageRequest
from WalletCore.search import SearchFilter
from WalletCore.shop import Shop
from WalletCore.statements import Statement
from WalletCore.store import IdempotencyKey, OperationFilter, Outcome, Store, WalletFilter

MAX_REMEMBERED_OWNERS: Final = 10_000
"""A wallet's owner never changes, so it is asked for once."""


_OF_ACTORS: Final = frozenset({"actor", "actoraddress", "requestid"})


class Owners:
    """Whose each wallet is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[UUID, str | None] = {}

    def of(self, wallet_id: UUID) -> str | None:
        """The wallet's owner, if it has one. Raises WalletNotFound."""
        try:
            return self._known[wallet_id]
        except KeyError:
            owner: str | None = self._store.wallet(wallet_id)["owner"]
        if len(self._known) >= MAX_REMEMBERED_OWNERS:
            self._known.clear()
        self._known[wallet_id] = owner
        return owner


class OwnedStore:
    """The port of ``WalletCore.store.Store`` on that of everybody."""

    def __init__(self, store: Store, owner: str, owners: Owners) -> None:
        self._store = store
        self._owner = owner
        self._owners = owners

    @property
    def currencies(self) -> Currencies:
        """See Store."""
        return self._store.currencies

    @property
    def notifications(self) -> Notifications:
        """See Store."""
        return OwnedNotifications(self._store.notifications, self._owner)

    @property
    def keys(self) -> Keys:
        """See Store."""
        self._refuse("The keys")

    @property
    def shop(self) -> Shop:
        """See Store."""
        self._refuse("The shop")

    def execute(
        self,
        command: Command,
        key: IdempotencyKey | None = None,
        origin: Origin = SERVICE,
        *,
        dry_run: bool = False,
    ) -> Outcome:
        """See Store."""
        return self._store.execute(command, key, self._limited(origin), dry_run=dry_run)

    def execute_each(
        self,
        commands: Sequence[tuple[Command, IdempotencyKey | None]],
        origin: Origin = SERVICE,
    ) -> list[Outcome | CofferError]:
        """See Store."""
        return self._store.execute_each(commands, self._limited(origin))

    def wallet(self, wallet_id: UUID) -> Document:
        """See Store."""
        self._check(wallet_id)
        return self._store.wallet(wallet_id)

    def wallets(self, wanted: WalletFilter, page: PageRequest) -> Page:
        """See Store. Raises NotAllowed for another owner."""
        check_owner(self._owner, wanted.owner)
        return self._store.wallets(replace(wanted, owner=self._owner), page)

    def balance(self, wallet_id: UUID) -> Document:
        """See Store."""
        self._check(wallet_id)
        return self._store.balance(wallet_id)

    def balance_at(self, wallet_id: UUID, at: datetime) -> Document:
        """See Store."""
        self._check(wallet_id)
        return self._store.balance_at(wallet_id, at)

    def operation(self, operation_id: UUID, wallet_id: UUID | None = None) -> Document:
        """See Store: the side of a wallet that is the owner's."""
        for side in self._store.wallets_of_operation(operation_id):
            if wallet_id in (None, side) and self._owners.of(side) == self._owner:
                return self._store.operation(operation_id, side)
        raise operation_not_found(operation_id)

    def wallets_of_operation(self, operation_id: UUID) -> tuple[UUID, ...]:
        """See Store; all must be the owner's."""
        sides = self._store.wallets_of_operation(operation_id)
        if any(self._owners.of(side) != self._owner for side in sides):
            raise operation_not_found(operation_id)
        return sides

    def transfer(self, transfer_id: UUID) -> Document:
        """See Store; all of its wallets must be the owner's."""
        found = self._store.transfer(transfer_id)
        for leg in found["legs"]:
            for name in ("source_wallet_id", "target_wallet_id"):
                if self._owners.of(UUID(leg[name])) != self._owner:
                    raise TransferNotFound(f"There is no transfer {transfer_id}.")
        return found

    def hold(self, hold_id: UUID) -> Document:
        """See Store."""
        found = self._store.hold(hold_id)
        if self._owners.of(UUID(found["wallet_id"])) != self._owner:
            raise hold_not_found(hold_id)
        return found

    def holds(
        self, wallet_id: UUID, status: HoldStatus | None, page: PageRequest
    ) -> tuple[Page, Document]:
        """See Store."""
        self._check(wallet_id)
        return self._store.holds(wallet_id, status, page)

    def due_holds(self, limit: int, without: Collection[UUID] = ()) -> list[tuple[UUID, UUID]]:  # noqa: ARG002
        """Not for such callers."""
        self._refuse("The holds of all wallets")

    def operations(self, wallet_id: UUID, wanted: OperationFilter, page: PageRequest) -> Page:
        """See Store."""
        self._check(wallet_id)
        return self._store.operations(wallet_id, wanted, page)

    def search(self, wanted: SearchFilter, page: PageRequest) -> Page:
        """See Store."""
        return self._store.search(replace(wanted, owner=self._owner), page)

    def statement(
        self, wallet_id: UUID, since: datetime | None, until: datetime | None
    ) -> Statement:
        """See Store."""
        self._check(wallet_id)
        return self._store.statement(wallet_id, since, until)

    def event(self, event_id: UUID) -> Document:
        """See Store."""
        found = self._store.event(event_id)
        if found.get("userid") != self._owner:
            raise EventNotFound(f"There is no event {event_id} in the log.")
        return _without_actors(found)

    def events(self, page: PageRequest) -> Page:  # noqa: ARG002
        """Not for such callers."""
        self._refuse("The log of all wallets")

    def newest_events(self, wallet_id: UUID | None, page: PageRequest) -> Page:
        """See Store; for such callers only of one wallet."""
        if wallet_id is None:
            self._refuse("The log of all wallets")
        self._check(wallet_id)
        found = self._store.newest_events(wallet_id, page)
        return replace(found, items=[_without_actors(event) for event in found.items])

    def trial_balance(self) -> Document:
        """Not for such callers."""
        self._refuse("The trial balance")

    def condition(self, newest_events: int) -> Condition:  # noqa: ARG002
        """Not for such callers."""
        self._refuse("The state of the service")

    def missing(self) -> list[str]:
        """See Store."""
        return self._store.missing()

    def close(self) -> None:
        """Not this one's to close."""

    def _limited(self, origin: Origin) -> Origin:
        return origin if origin.owner == self._owner else replace(origin, owner=self._owner)

    def _check(self, wallet_id: UUID) -> None:
        if self._owners.of(wallet_id) != self._owner:
            raise wallet_not_found(wallet_id)

    def _refuse(self, what: str) -> NoReturn:
        raise NotAllowed(f"{what} is for keys that are not limited to an owner.")


class OwnedNotifications:
    """The port of ``WalletCore.inbox.Notifications`` on that of everybody."""

    def __init__(self, notifications: Notifications, owner: str) -> None:
        self._all = notifications
        self._owner = owner

    def one(self, notification_id: UUID) -> Document:
        """See Notifications."""
        found = self._all.one(notification_id)
        if found["user_id"] != self._owner:
            raise NotificationNotFound(f"There is no notification {notification_id}.")
        return found

    def newest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """See Notifications."""
        return self._all.newest_first(self._own(wanted), page)

    def oldest_first(self, wanted: NotificationFilter, page: PageRequest) -> Page:
        """See Notifications."""
        return self._all.oldest_first(self._own(wanted), page)

    def top(self) -> int:
        """See Notifications."""
        return self._all.top()

    def after(self, wanted: NotificationFilter, position: int, limit: int) -> list[Notification]:
        """See Notifications."""
        return self._all.after(self._own(wanted), position, limit)

    def mark_read(self, notification_id: UUID) -> Document:
        """See Notifications."""
        self.one(notification_id)
        return self._all.mark_read(notification_id)

    def mark_all_read(self, wanted: NotificationFilter) -> int:
        """See Notifications."""
        return self._all.mark_all_read(self._own(wanted))

    def _own(self, wanted: NotificationFilter) -> NotificationFilter:
        check_owner(self._owner, wanted.user_id)
        return replace(wanted, user_id=self._owner)


def _without_actors(event: Document) -> Document:
    """``event`` without who did it, and from where: that is not an owner's to know."""
    return {name: value for name, value in event.items() if name not in _OF_ACTORS}
