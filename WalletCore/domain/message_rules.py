"""The rules of messages of a client's own."""

from __future__ import annotations

from WalletCore.domain.commands import SendMessage, SetMessageStatus
from WalletCore.domain.errors import EventNotFound, EventStatusFixed
from WalletCore.domain.events import EventType
from WalletCore.domain.model import Message, message_document
from WalletCore.domain.working_set import CREATED, OK, Accepted, WorkingSet


def send_message(books: WorkingSet, command: SendMessage) -> Accepted:
    """A message takes the way of everything that happens."""
    books.owner_of_new(command.user_id)
    message = Message(
        id=command.event_id,
        user_id=command.user_id,
        description=command.description,
        status=None,
        created_at=books.now,
        updated_at=books.now,
    )
    books.messages[message.id] = message
    books.changes.sent[message.id] = message
    data = {"user_id": message.user_id, "description": message.description}
    books.tell(message.id, EventType.MESSAGE, message, data)
    return Accepted(CREATED, message_document(message))


def set_message_status(books: WorkingSet, command: SetMessageStatus) -> Accepted:
    """Another status by hand, itself an event."""
    message = books.messages.get(command.event_id)
    if message is None:
        raise EventStatusFixed(
            "Only the status of a message of your own can be set; that of what happened to a "
            "wallet is Processed once the worker has recorded it."
        )
    if books.origin.owner not in (None, message.user_id):
        raise EventNotFound(f"There is no event {command.event_id} in the log.")
    if message.status is not command.status:
        message.status = command.status
        message.updated_at = max(books.now, message.updated_at)
        if message.id not in books.changes.sent:
            books.changes.marked[message.id] = message
        data = {"event_id": str(message.id), "status": command.status.value}
        books.tell(books.new_id(), EventType.MESSAGE_UPDATED, message, data)
    return Accepted(OK, message_document(message))
