"""Parts of the OpenAPI document that are written by hand: parameters, headers, the problem."""

from __future__ import annotations

from typing import Final

from RestAPI.problems import PROBLEMS
from RestAPI.schemas.shared import IDEMPOTENCY_KEY_PATTERN
from WalletCore.domain.model import Document
from WalletCore.store import MAX_KEY_CHARACTERS

IDEMPOTENCY_KEY: Final[Document] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: 1 to "
    f"{MAX_KEY_CHARACTERS} visible ASCII characters of your own, best a new UUID.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY_CHARACTERS,
        "pattern": IDEMPOTENCY_KEY_PATTERN,
    },
}

UNUSED_KEY: Final[Document] = {
    **IDEMPOTENCY_KEY,
    "description": "Not needed: twice is the same as once. It is checked as everywhere else, and "
    "neither remembered nor compared.",
}

DRY_RUN: Final[Document] = {
    "name": "dry_run",
    "in": "query",
    "required": False,
    "description": "true: only tell what would happen; nothing is done or remembered.",
    "schema": {"type": "boolean"},
}

HEADERS: Final[Document] = {
    "X-Request-Id": {
        "description": "Your own X-Request-Id if you sent one, else a new one. The log has it too.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Idempotency-Replayed": {
        "description": "Present when this is the stored answer to an earlier request.",
        "schema": {"type": "string", "const": "true"},
    },
    "Coffer-Dry-Run": {
        "description": "Present when nothing was done, because of `dry_run=true`.",
        "schema": {"type": "string", "const": "true"},
    },
    "Location": {
        "description": "The path of what was made; not there with `dry_run=true`.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "WWW-Authenticate": {
        "description": "What to send: an API key, or a token of the shop (RFC 6750).",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}

SECURITY_SCHEMES: Final[Document] = {
    "ApiKey": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "ck_<id>_<secret>",
        "description": "An API key. Where access is open, on loopback, none is needed.",
    },
    "ShopToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token that POST /api/auth answers.",
    },
}

SHOP_ERROR_SCHEMA: Final = "ShopError"
SHOP_ERROR: Final[Document] = {
    "title": SHOP_ERROR_SCHEMA,
    "description": "What the shop answers instead of a result.",
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {"type": "string", "minLength": 1, "description": "What is wrong, for people."}
    },
    "additionalProperties": False,
}

PROBLEM: Final[Document] = {
    "title": "Problem",
    "description": "What is answered instead of a result (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:coffer:problem:[a-z_]+$"},
        "title": {"type": "string", "description": "The same for every problem of this code."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "enum": sorted({kind.code for kind in PROBLEMS})},
        "detail": {"type": "string", "description": "What is wrong here, and what to do."},
        "errors": {
            "type": "array",
            "description": "Where the request is not valid, and what is wrong there.",
            "items": {
                "type": "object",
                "required": ["where", "what"],
                "properties": {"where": {"type": "string"}, "what": {"type": "string"}},
                "additionalProperties": False,
            },
        },
        "available": {"type": "string", "description": "With insufficient_funds: what there is."},
        "limit": {"type": "string", "description": "With limit_exceeded: which limit."},
        "index": {
            "type": "integer",
            "minimum": 0,
            "description": "Of many that are all or nothing: the one that cannot be done, counted "
            "from 0.",
        },
        "leg": {
            "type": "integer",
            "minimum": 0,
            "description": "Of a transfer with several legs: the one that cannot be done, counted "
            "from 0.",
        },
        "remaining": {
            "type": "string",
            "description": "With hold_exceeded, reversal_exceeded: how much is left.",
        },
        "hold_status": {
            "type": "string",
            "description": "With hold_already_resolved: what became of the hold.",
        },
    },
    "additionalProperties": False,
}
