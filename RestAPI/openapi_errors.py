"""What an endpoint can answer instead of a result, as OpenAPI describes it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final, NamedTuple

from werkzeug.routing import Rule

from RestAPI.endpoint import CREATED, Operation
from RestAPI.openapi_examples import Examples
from RestAPI.openapi_parts import SHOP_ERROR_SCHEMA
from RestAPI.problems import (
    PROBLEM_TYPE,
    PROBLEMS,
    BadRequest,
    BodyTooLarge,
    CrossSiteRefused,
    HostNotAllowed,
    InternalError,
    JsonInvalid,
    KeyMissing,
    KeyRefused,
    RequestTimeout,
    ScopeMissing,
    TokenInvalid,
    TokenMissing,
    TooManyRequests,
    UnsupportedMediaType,
)
from RestAPI.reading import JSON_TYPE
from RestAPI.schemas.shared import SCHEMA_PREFIX
from RestAPI.scopes import Guard, Needed
from RestAPI.shop_errors import shop_status
from WalletCore.domain.errors import (
    CofferError,
    IdempotencyKeyReused,
    Invalid,
    NotAllowed,
    NotStorable,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
    WalletBusy,
)
from WalletCore.domain.model import Document
from WalletCore.keys import Scope

API_PREFIX: Final = "/api/"


class Endpoint(NamedTuple):
    """Where an operation is served, and what it asks of its callers; nothing of those that need a
    key if access is open.
    """

    rule: Rule
    operation: Operation
    needed: Needed
    open_access: bool


def error_responses(endpoint: Endpoint, written: Examples) -> Document:
    """The errors by status, each with its codes; those of the shop have none. The examples are
    what cases were answered, and otherwise made of the error itself.
    """
    operation = endpoint.operation
    possible = _errors_of(endpoint)
    kinds: dict[int, list[type[CofferError]]] = {}
    for kind in PROBLEMS:
        if kind in possible:
            status = shop_status(kind) if operation.shop else kind.status
            kinds.setdefault(status, []).append(kind)
    describe = _shop_error if operation.shop else _problem
    return {
        str(status): {
            **describe(members, written.answers(endpoint.rule.endpoint, status)),
            "headers": header_references(status, operation),
        }
        for status, members in sorted(kinds.items())
    }


def _problem(members: list[type[CofferError]], seen: Document) -> Document:
    return {
        "description": " ".join(f"`{kind.code}`: {meaning(kind)}" for kind in members),
        "content": {
            PROBLEM_TYPE: {
                "schema": {
                    "allOf": [
                        {"$ref": f"{SCHEMA_PREFIX}Problem"},
                        {"properties": {"code": {"enum": [kind.code for kind in members]}}},
                    ]
                },
                "examples": {
                    kind.code: seen.get(kind.code, {"value": kind(meaning(kind)).problem()})
                    for kind in members
                },
            }
        },
    }


def _shop_error(members: list[type[CofferError]], seen: Document) -> Document:
    texts = [meaning(kind) for kind in members]
    made = {
        kind.code: {"value": {"errors": text}} for kind, text in zip(members, texts, strict=True)
    }
    return {
        "description": " ".join(texts),
        "content": {
            JSON_TYPE: {
                "schema": {"$ref": f"{SCHEMA_PREFIX}{SHOP_ERROR_SCHEMA}"},
                "examples": seen or made,
            }
        },
    }


def _errors_of(endpoint: Endpoint) -> set[type[CofferError]]:
    """The problems that an endpoint can answer: its own, and what follows from what it takes."""
    rule, operation, needed, _ = endpoint
    kinds: set[type[CofferError]] = {InternalError, *operation.errors}
    if rule.arguments or operation.query or operation.body:
        kinds |= {Invalid, BadRequest}
    if operation.body:
        kinds |= {JsonInvalid, UnsupportedMediaType, BodyTooLarge, NotStorable, RequestTimeout}
    if operation.idempotent:
        kinds |= {IdempotencyKeyReused, Overloaded, WalletBusy, OutcomeUnknown}
    if rule.rule.startswith(API_PREFIX):
        kinds |= {Unavailable, TooManyRequests}
        if not operation.shop:
            kinds |= {HostNotAllowed, *((CrossSiteRefused,) if operation.body else ())}
    if isinstance(needed, Scope):
        kinds |= {KeyMissing, KeyRefused, ScopeMissing, NotAllowed, TooManyRequests, Unavailable}
    if needed is Guard.KEY:
        kinds |= {KeyMissing, KeyRefused}
    if needed is Guard.TOKEN:
        kinds |= {TokenMissing, TokenInvalid}
    return kinds


def header_references(status: int, operation: Operation) -> Document:
    """The headers of an answer of this status."""
    names = ["X-Request-Id"]
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        if operation.idempotent or (operation.keyed and status in operation.responses):
            names.append("Idempotency-Replayed")
        if operation.idempotent:
            names.append("Coffer-Dry-Run")
    if status == CREATED:
        names.append("Location")
    if status == HTTPStatus.UNAUTHORIZED:
        names.append("WWW-Authenticate")
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        names.append("Retry-After")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def problem_rows() -> Iterator[str]:
    """The table of all problems."""
    for kind in PROBLEMS:
        yield f"| {kind.status} | `{kind.code}` | {meaning(kind)} |"


def meaning(kind: type[CofferError]) -> str:
    """The first sentences of an error's docstring, on one line."""
    return " ".join((kind.__doc__ or kind.title).partition("\n\n")[0].split()).replace("``", "`")
