"""What can be wrong with a ledger, for the tests of ``verify``."""

from __future__ import annotations

from typing import Final

ADD_ENTRY: Final = (
    "INSERT INTO coffer.entries (wallet_id, seq, operation_id, operation_type, delta, "
    "balance_after, counterparty, metadata, created_at) "
)
ADD_EVENT: Final = "INSERT INTO coffer.events (id, wallet_id, seq, type, body, created_at) "
DAMAGES: Final = {
    "a balance that was changed": (
        "UPDATE coffer.wallets SET balance = balance + 1 WHERE id = %(wallet)s",
        "balance",
    ),
    "a balance_after that is wrong": (
        "UPDATE coffer.entries SET balance_after = 7 WHERE wallet_id = %(wallet)s AND seq = 2",
        "seq 2",
    ),
    "a delta that was changed": (
        "UPDATE coffer.entries SET delta = delta + 1 WHERE wallet_id = %(wallet)s AND seq = 2",
        "seq 2",
    ),
    "a gap in seq": (
        "DELETE FROM coffer.entries WHERE wallet_id = %(wallet)s AND seq = 2",
        "seq 2",
    ),
    "a first entry that is missing": (
        "DELETE FROM coffer.entries WHERE wallet_id = %(wallet)s AND seq = 1",
        "seq 1",
    ),
    "a last entry that is missing": (
        "DELETE FROM coffer.entries WHERE wallet_id = %(wallet)s AND seq = 3",
        "entry_seq",
    ),
    "all entries missing": (
        "DELETE FROM coffer.entries WHERE wallet_id = %(wallet)s",
        "entry_seq",
    ),
    "a version that is wrong": (
        "UPDATE coffer.wallets SET version = version + 1 WHERE id = %(wallet)s",
        "version",
    ),
    "an entry_seq that is wrong": (
        "UPDATE coffer.wallets SET entry_seq = entry_seq - 1 WHERE id = %(wallet)s",
        "entr",
    ),
    "an event that is missing": (
        "DELETE FROM coffer.events WHERE wallet_id = %(wallet)s AND seq = 2",
        "walletseq",
    ),
    "a first event that is missing": (
        "DELETE FROM coffer.events WHERE wallet_id = %(wallet)s AND seq = 1",
        "walletseq",
    ),
    "a last event that is missing": (
        "DELETE FROM coffer.events WHERE wallet_id = %(wallet)s AND seq = 4",
        "version",
    ),
    "all events missing": (
        "DELETE FROM coffer.events WHERE wallet_id = %(wallet)s",
        "version",
    ),
    "an event twice": (
        ADD_EVENT + "VALUES (%(new)s, %(wallet)s, 3, 'coffer.operation.completed', '{}', now())",
        "walletseq",
    ),
    "an event of another kind than its entry": (
        "UPDATE coffer.events SET type = 't' WHERE wallet_id = %(wallet)s AND seq = 3",
        "events of operations",
    ),
    "an entry that its wallet never counted": (
        ADD_ENTRY + "VALUES (%(wallet)s, 4, %(new)s, 'DEPOSIT', 1, 501, 'external', '{}', now())",
        "entr",
    ),
    "an entry far beyond what its wallet counted": (
        ADD_ENTRY + "VALUES (%(wallet)s, 99, %(new)s, 'DEPOSIT', 1, 501, 'external', '{}', now())",
        "entr",
    ),
    "an event that its wallet never counted": (
        ADD_EVENT + "VALUES (%(new)s, %(wallet)s, 5, 'coffer.wallet.updated', '{}', now())",
        "version",
    ),
    "an entry of no wallet": (
        ADD_ENTRY + "VALUES (%(new)s, 1, %(new)s, 'DEPOSIT', 1, 1, 'external', '{}', now())",
        "does not exist",
    ),
    "an event of no wallet": (
        ADD_EVENT + "VALUES (%(new)s, %(new)s, 1, 'coffer.wallet.created', '{}', now())",
        "does not exist",
    ),
    "a wallet that is missing": (
        "DELETE FROM coffer.wallets WHERE id = %(wallet)s",
        "does not exist",
    ),
}
"""What can be wrong, how a test makes it so, and a word that the verdict must contain."""
NO_OTHER_SIDE: Final = "no other side"
DAMAGES_BETWEEN: Final = {
    "money that is held for nothing": (
        "UPDATE coffer.wallets SET held = held + 1 WHERE id = %(wallet)s",
        "held is 201, its open holds keep 200",
    ),
    "a hold that is missing": (
        "DELETE FROM coffer.holds WHERE wallet_id = %(wallet)s AND status = 'open'",
        "held is 200, its open holds keep 0",
    ),
    "a hold that its wallet never counted": (
        (
            "INSERT INTO coffer.holds SELECT wallet_id, %(new)s, 3, 0, 'open', NULL, NULL, '{}', "
            "now(), now(), now() FROM coffer.holds WHERE wallet_id = %(wallet)s AND status = 'open'"
        ),
        "held is 200, its open holds keep 203",
    ),
    "a hold that was opened again": (
        "UPDATE coffer.holds SET status = 'open' WHERE wallet_id = %(wallet)s",
        "held is 200, its open holds keep 300",
    ),
    "a capture that its hold forgot": (
        "UPDATE coffer.holds SET captured = 0 WHERE wallet_id = %(wallet)s AND status = 'open'",
        "held is 200, its open holds keep 300",
    ),
    "a side of another operation": (
        "UPDATE coffer.entries SET operation_id = %(new)s WHERE wallet_id = %(wallet)s AND seq = 2",
        NO_OTHER_SIDE,
    ),
    "a side that names another wallet": (
        (
            "UPDATE coffer.entries SET counterparty = gen_random_uuid() "
            "WHERE wallet_id = %(wallet)s AND seq = 3"
        ),
        NO_OTHER_SIDE,
    ),
    "a side that names what is no wallet": (
        "UPDATE coffer.entries SET counterparty = '' WHERE wallet_id = %(wallet)s AND seq = 4",
        NO_OTHER_SIDE,
    ),
    "a side that calls itself external": (
        (
            "UPDATE coffer.entries e SET counterparty = 'external' FROM coffer.entries mine "
            "WHERE mine.wallet_id = %(wallet)s AND mine.counterparty = e.wallet_id::text"
        ),
        NO_OTHER_SIDE,
    ),
    "a side of another amount": (
        (
            "UPDATE coffer.entries e SET delta = e.delta + 1 FROM coffer.entries mine "
            "WHERE mine.wallet_id = %(wallet)s AND mine.counterparty = e.wallet_id::text "
            "AND mine.operation_id = e.operation_id"
        ),
        NO_OTHER_SIDE,
    ),
}
"""The same for the two wallets between which money moved; ``wallet`` is the one that gave."""
