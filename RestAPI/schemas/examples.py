"""Examples of answers, composed by the code that composes the answers, so that they cannot age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import orjson

from RestAPI.statement_formats import json_parts
from WalletCore.documents import event_document
from WalletCore.domain.events import EventType, wallet_event
from WalletCore.domain.model import (
    EXTERNAL,
    Document,
    Entry,
    Message,
    OperationType,
    Wallet,
    WalletStatus,
    message_document,
    operation_document,
    wallet_document,
)
from WalletCore.domain.money import Currency
from WalletCore.domain.notices import notice
from WalletCore.domain.origin import Origin
from WalletCore.inbox import Notification, notification_document
from WalletCore.statements import Statement

_USD = Currency("USD", 2)
_MADE = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
_MOVED = datetime(2030, 1, 31, 12, 5, tzinfo=UTC)
_WALLET_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
_OPERATION_ID = UUID("01890a62-40b6-7c1f-9c1d-6e5f1a2b3c4d")
_EVENT_ID = UUID("01890a62-40b7-7d20-8a3e-0f9e8d7c6b5a")
_NOTIFICATION_ID = UUID("01890a62-40c1-7a44-9f02-3b1c2d3e4f5a")

_wallet = Wallet(
    id=_WALLET_ID,
    owner="alice",
    name="Savings",
    currency=_USD,
    balance_minor=1050,
    held_minor=0,
    shortfall_minor=0,
    min_balance_minor=0,
    version=2,
    entry_seq=1,
    status=WalletStatus.ACTIVE,
    metadata={},
    created_at=_MADE,
    updated_at=_MOVED,
)
_entry = Entry(
    wallet_id=_WALLET_ID,
    seq=1,
    operation_id=_OPERATION_ID,
    operation_type=OperationType.DEPOSIT,
    delta_minor=1050,
    balance_after_minor=1050,
    counterparty=EXTERNAL,
    reference="order-1001",
    description=None,
    metadata={},
    created_at=_MOVED,
)

WALLET_EXAMPLE: Final[Document] = wallet_document(_wallet)
OPERATION_EXAMPLE: Final[Document] = operation_document(_entry, _USD)
STATEMENT_EXAMPLE: Final[Document] = orjson.loads(
    b"".join(
        json_parts(
            Statement(
                wallet_id=_WALLET_ID,
                currency=_USD,
                since=_MADE,
                until=_MOVED + timedelta(hours=1),
                after_seq=0,
                last_seq=1,
                opening_minor=0,
                closing_minor=1050,
                read_slice=lambda _after_seq, _last_seq: [_entry],
            )
        )
    )
)
_event = wallet_event(
    _EVENT_ID,
    EventType.OPERATION_COMPLETED,
    _wallet,
    OPERATION_EXAMPLE,
    _MOVED,
    origin=Origin(
        "key:5f0c2a9e81b47d36",
        "192.0.2.7",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        request_id="01890a62-40b6-7b1e-8a3c-1d2e3f405162",
    ),
)
EVENT_EXAMPLE: Final[Document] = event_document(_event.body, recorded=True, status=None)
_told = notice(_event.body)
NOTIFICATION_EXAMPLE: Final[Document] = notification_document(
    Notification(
        position=1,
        id=_NOTIFICATION_ID,
        event_id=_told.event_id,
        wallet_id=_told.wallet_id,
        user_id=_told.user_id,
        type=_told.type,
        title=_told.title,
        text=_told.text,
        data=_told.data,
        created_at=_MOVED,
        read_at=None,
    )
)
MESSAGE_EXAMPLE: Final[Document] = message_document(
    Message(
        id=_EVENT_ID,
        user_id="alice",
        description="Your parcel has arrived.",
        status=None,
        created_at=_MOVED,
        updated_at=_MOVED,
    )
)

_PROFILE_NAME: Final = "Process 4711, one of 2: 250 looks in 5.0 s"

PROFILE_EXAMPLE: Final[Document] = {
    "$schema": "https://www.speedscope.app/file-format-schema.json",
    "name": _PROFILE_NAME,
    "exporter": "coffer",
    "activeProfileIndex": 0,
    "shared": {
        "frames": [
            {"name": "thread committer"},
            {"name": "Committer._commit", "file": "WalletCore/committer.py", "line": 276},
        ]
    },
    "profiles": [
        {
            "type": "sampled",
            "name": _PROFILE_NAME,
            "unit": "microseconds",
            "startValue": 0,
            "endValue": 120_000,
            "samples": [[0, 1]],
            "weights": [120_000],
        }
    ],
}

STATUS_EXAMPLE: Final[Document] = {
    "at": "2026-01-31T12:00:00.000000Z",
    "parts": [
        {"name": "database", "state": "up", "detail": "PostgreSQL 17.2"},
        {"name": "cache", "state": "none", "detail": "none is configured (COFFER_REDIS_URL)"},
        {"name": "broker", "state": "up", "detail": "RabbitMQ: 0 messages wait, 0 are dead"},
        {"name": "relay", "state": "up", "detail": "one leads, 1 stand by"},
        {"name": "worker", "state": "up", "detail": "2: consuming"},
    ],
    "lag": {"events": 3, "seconds": 0.018, "of_newest": 10_000},
    "requests": {
        "count": 1200,
        "failed": 0,
        "seconds": {
            "count": 1200,
            "sum": 4.8,
            "buckets": [{"le": "0.005", "count": 1150}, {"le": "+Inf", "count": 1200}],
        },
    },
    "operations": {"entries": 1500},
    "queue": 4,
    "batches": {"count": 300, "commands": 1100},
    "hot_wallets": [{"wallet_id": WALLET_EXAMPLE["id"], "events": 90}],
}

ANSWER_EXAMPLES: Final[dict[str, Document]] = {
    "Wallet": WALLET_EXAMPLE,
    "WalletPage": {"items": [WALLET_EXAMPLE], "next_cursor": None},
    "Operation": OPERATION_EXAMPLE,
    "OperationPage": {"items": [OPERATION_EXAMPLE], "next_cursor": None},
    "Statement": STATEMENT_EXAMPLE,
    "CloudEvent": EVENT_EXAMPLE,
    "Message": MESSAGE_EXAMPLE,
    "Notification": NOTIFICATION_EXAMPLE,
    "NotificationPage": {"items": [NOTIFICATION_EXAMPLE], "next_cursor": None},
    "Marked": {"read": 3},
    "ProfileFile": PROFILE_EXAMPLE,
    "Status": STATUS_EXAMPLE,
    "Pong": {"ping": "pong"},
    "Liveness": {"status": "alive"},
    "Readiness": {"status": "not ready", "missing": ["database"]},
}
"""By the name of the model that they are examples of, where no case of ``tests_data`` gives one."""

TEXT_EXAMPLES: Final[dict[str, str]] = {
    "image/svg+xml": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 80"></svg>',
    "text/event-stream": "retry: 2000\nid: MDE4OTBhNWQtYWM5Ng\n\n"
    "id: MDE4OTBhNjItNDBiNw\nevent: notification\n"
    f"data: {orjson.dumps(NOTIFICATION_EXAMPLE).decode()}\n\n",
    "text/plain": "# TYPE coffer_refusals_total counter\n"
    'coffer_refusals_total{code="insufficient_funds"} 3.0\n',
}
"""Answers that are no JSON, by their type."""
