"""Every error as an RFC 9457 problem document: one table, one function.

``as_error`` turns whatever was raised into an error of the tree of ``WalletCore.domain.errors``,
which the classes below extend by what only HTTP knows; ``problem_response`` answers with it. The
same classes, listed in PROBLEMS, are what the OpenAPI document is written from.
https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson
from flask import Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from WalletCore.domain import errors
from WalletCore.domain.errors import RETRY_AFTER_SECONDS, CofferError, Invalid, NotFound

PROBLEM_TYPE: Final = "application/problem+json"

MAX_LISTED_ERRORS: Final = 20
"""A body of 64 KiB can have thousands of faults; the first ones say enough."""

MAX_WHERE_CHARACTERS: Final = 120
"""The name of an unknown field can be as long as the body."""


class JsonInvalid(Invalid):
    """The body is not JSON, or JSON that cannot be read without losing something."""

    code = "json_invalid"
    title = "The body is not valid JSON"


class PathNotFound(NotFound):
    """Nothing lives at this path."""

    code = "not_found"
    title = "There is nothing at this path"


class MethodRefused(CofferError):
    """The path exists, the method does not; ``Allow`` lists those that do."""

    status = 405
    code = "method_not_allowed"
    title = "The method is not allowed here"


class BodyTooLarge(CofferError):
    """The body is longer than the service reads."""

    status = 413
    code = "body_too_large"
    title = "The body is too large"


class UnsupportedMediaType(CofferError):
    """The body is not declared as ``application/json``."""

    status = 415
    code = "unsupported_media_type"
    title = "The body must be application/json"


class BadRequest(CofferError):
    """The request is broken as an HTTP message: a body that ends early, a bad chunk, a bad host."""

    status = 400
    code = "bad_request"
    title = "The request is not valid HTTP"


class HostNotAllowed(CofferError):
    """The Host header names something that the service is not known by (COFFER_ALLOWED_HOSTS)."""

    status = 403
    code = "host_not_allowed"
    title = "The service is not known by this host name"


class CrossSiteRefused(CofferError):
    """A browser sends a change for a web page of another origin."""

    status = 403
    code = "cross_site_refused"
    title = "A page of another site may not change anything here"


class KeyMissing(CofferError):
    """The request came without an API key. ``challenge``: the WWW-Authenticate header
    (https://www.rfc-editor.org/rfc/rfc6750#section-3).
    """

    status = 401
    code = "key_missing"
    title = "An API key is needed"
    challenge = 'Bearer realm="coffer"'


class KeyRefused(CofferError):
    """The API key is none that works."""

    status = 401
    code = "key_invalid"
    title = "The API key does not work"
    challenge = 'Bearer realm="coffer", error="invalid_token"'


class ScopeMissing(CofferError):
    """The API key works, and lacks the scope for this."""

    status = 403
    code = "scope_missing"
    title = "The API key lacks a scope"
    challenge = 'Bearer realm="coffer", error="insufficient_scope"'


class TokenMissing(CofferError):
    """The request came without a token of the shop."""

    status = 401
    code = "token_missing"
    title = "Log in first"
    challenge = 'Bearer realm="coffer-shop"'


class TokenInvalid(CofferError):
    """The token is none of the shop's, or its time is over."""

    status = 401
    code = "token_invalid"
    title = "Log in again"
    challenge = 'Bearer realm="coffer-shop", error="invalid_token"'


class WrongPassword(CofferError):
    """The password is not that of the user."""

    status = 401
    code = "wrong_password"
    title = "The password is wrong"
    challenge = 'Bearer realm="coffer-shop"'


class RequestTimeout(CofferError):
    """The client takes too long to send its request."""

    status = 408
    code = "request_timeout"
    title = "The request did not arrive in time"


class UriTooLong(CofferError):
    """The request line is longer than the server reads."""

    status = 414
    code = "uri_too_long"
    title = "The request line is too long"


class TooManyRequests(CofferError):
    """More was asked than a limit allows; ``Retry-After`` says when to ask again.

    ``headers`` are those of the answer, see ``RestAPI.rate_limits.rate_limit_headers``.
    """

    status = 429
    code = "rate_limited"
    title = "There were too many requests"

    def __init__(self, detail: str, headers: Iterable[tuple[str, str]] = (), **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.headers = tuple(headers)


class HeadersTooLarge(CofferError):
    """The headers are more or longer than the server reads."""

    status = 431
    code = "headers_too_large"
    title = "The headers are too large"


class InternalError(CofferError):
    """A defect of the service. Nothing of it is told; the request's id finds it in the log."""


PROBLEMS: Final[tuple[type[CofferError], ...]] = (
    BadRequest,
    errors.InsufficientFunds,
    errors.LimitExceeded,
    errors.CurrencyMismatch,
    errors.HoldExceeded,
    errors.ReversalExceeded,
    KeyMissing,
    KeyRefused,
    TokenMissing,
    TokenInvalid,
    WrongPassword,
    HostNotAllowed,
    CrossSiteRefused,
    ScopeMissing,
    errors.NotAllowed,
    PathNotFound,
    errors.WalletNotFound,
    errors.OperationNotFound,
    errors.TransferNotFound,
    errors.HoldNotFound,
    errors.EventNotFound,
    errors.NotificationNotFound,
    errors.KeyNotFound,
    MethodRefused,
    RequestTimeout,
    errors.IdempotencyKeyReused,
    errors.WalletFrozen,
    errors.WalletClosed,
    errors.WalletNotEmpty,
    errors.HoldAlreadyResolved,
    errors.NotReversible,
    errors.EventStatusFixed,
    BodyTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    Invalid,
    JsonInvalid,
    errors.AmountInvalid,
    errors.AmountTooPrecise,
    errors.AmountOutOfRange,
    errors.CurrencyUnknown,
    errors.SameWallet,
    errors.CursorInvalid,
    errors.NotStorable,
    TooManyRequests,
    HeadersTooLarge,
    InternalError,
    errors.Unavailable,
    errors.Overloaded,
    errors.TooManyStreams,
    errors.ProfileRunning,
    errors.WalletBusy,
    errors.OutcomeUnknown,
)
"""The one table of problems: everything that this service can answer instead of a result."""

_OF_HTTP_STATUS: Final[dict[int, tuple[type[CofferError], str]]] = {
    404: (PathNotFound, "There is nothing at this path; /docs lists what there is."),
    405: (MethodRefused, "The Allow header lists the methods of this path."),
    413: (BodyTooLarge, "Send a smaller body."),
    415: (UnsupportedMediaType, "Send JSON with Content-Type: application/json."),
}

_PLAIN_WORDS: Final = {
    "extra_forbidden": "There is no such field.",
    "missing": "This field is required.",
    "string_type": "This must be a string.",
    "dict_type": "This must be an object.",
    "model_type": "This must be an object.",
    "model_attributes_type": "This must be an object.",
    "bool_type": "This must be true or false.",
}
"""What Pydantic says in words of Python, in words of JSON."""


def as_error(raised: BaseException, where: str = "body") -> CofferError:
    """Whatever was raised, as an error of the tree. What is not foreseen is an InternalError.

    ``where`` is the part of the request that a ValidationError is about.
    """
    if isinstance(raised, CofferError):
        return raised
    if isinstance(raised, ValidationError):
        return invalid(_faults(raised, where))
    if isinstance(raised, HTTPException):
        kind, detail = _OF_HTTP_STATUS.get(
            raised.code or 500, (BadRequest, "The server could not read this request.")
        )
        return kind(detail)
    return InternalError("The service failed; the log has the reason under this request's id.")


def invalid(faults: Iterable[tuple[str, str]]) -> Invalid:
    """A ``validation_failed`` that lists ``(where, what)`` pairs."""
    listed = [{"where": where, "what": what} for where, what in faults]
    first = listed[0]
    return Invalid(f"{first['where']}: {first['what']}", errors=listed[:MAX_LISTED_ERRORS])


def problem_response(error: CofferError, cause: object = None) -> Response:
    """The answer to ``error``. ``cause``: the exception, which may know the allowed methods."""
    response = Response(orjson.dumps(error.problem()), error.status, content_type=PROBLEM_TYPE)
    if error.status == 503:
        seconds = error.extra.get("retry_after_seconds", RETRY_AFTER_SECONDS)
        response.headers["Retry-After"] = str(seconds)
    challenge: str | None = getattr(error, "challenge", None)
    if challenge is not None:
        response.headers["WWW-Authenticate"] = challenge
    if isinstance(error, TooManyRequests):
        response.headers.extend(error.headers)
    if isinstance(cause, MethodNotAllowed) and cause.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(cause.valid_methods))
    return response


def _faults(raised: ValidationError, where: str) -> list[tuple[str, str]]:
    """The faults that Pydantic found, as ``body.amount`` and a sentence."""
    found = raised.errors(include_url=False, include_context=False, include_input=False)
    return [
        (
            ".".join((where, *(str(part) for part in fault["loc"])))[:MAX_WHERE_CHARACTERS],
            _PLAIN_WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, ")),
        )
        for fault in found[:MAX_LISTED_ERRORS]
    ]
