"""Short cuts for tests of what is recorded: notices and the events that they are read out of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from testkit.event_contract import document
from WalletCore.domain.model import Document
from WalletCore.domain.notices import Notice, notice

TIME: Final = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)


def notice_of(event_id: UUID | None = None, **fields: Any) -> Notice:
    """What is told of a message to alice; ``fields`` are those that are to be different."""
    usual: dict[str, Any] = {
        "event_id": event_id or uuid7(),
        "type": "coffer.message",
        "wallet_id": None,
        "user_id": "alice",
        "time": TIME,
        "title": "Message",
        "text": "hello",
        "data": {"user_id": "alice", "description": "hello"},
    }
    return Notice(**{**usual, **fields})


def example_events() -> dict[str, Document]:
    """An event of each type by its type, as asyncapi.yaml shows them."""
    return {
        message["name"]: message["examples"][0]["payload"]
        for message in document()["components"]["messages"].values()
    }


def noticed(type_: str, **data: Any) -> Notice:
    """What is told of the example of this type, with ``data`` in its data."""
    event = example_events()[type_]
    return notice({**event, "data": {**event["data"], **data}})
