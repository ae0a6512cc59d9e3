"""How the store in memory is doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from WalletCore.condition import (
    HOT_SECONDS,
    MAX_HOT_EVENTS,
    MAX_HOT_WALLETS,
    Condition,
    HotWallet,
    Lag,
    Part,
    State,
)
from WalletCore.domain.model import Event


def memory_condition(
    events: Sequence[Event],
    is_recorded: Callable[[UUID], bool],
    now: datetime,
    newest_events: int,
) -> Condition:
    """See Store.condition. ``events``: the ``newest_events`` newest ones, oldest first."""
    waiting = [event for event in events if not is_recorded(event.id)]
    oldest = max(0.0, (now - waiting[0].created_at).total_seconds()) if waiting else 0.0
    since = now - timedelta(seconds=HOT_SECONDS)
    counted = Counter(
        event.wallet_id
        for event in events[-MAX_HOT_EVENTS:]
        if event.wallet_id is not None and event.created_at >= since
    )
    hottest = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MAX_HOT_WALLETS]
    return Condition(
        Part("database", State.UP, "in memory"),
        Part("relay", State.NONE, "none is needed in memory"),
        Part("worker", State.UP, "a thread of the server"),
        Lag(len(waiting), oldest, newest_events),
        tuple(HotWallet(wallet_id, count) for wallet_id, count in hottest),
    )
