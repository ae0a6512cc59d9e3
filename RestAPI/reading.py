"""Reading a request without losing anything of it: bodies, queries, ids, keys.

Everything here takes the WSGI environment as it is, and says no by raising errors of the tree.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus
from uuid import UUID

import jiter
import orjson

from RestAPI.problems import (
    BadRequest,
    BodyTooLarge,
    JsonInvalid,
    RequestTimeout,
    UnsupportedMediaType,
    invalid,
)
from RestAPI.schemas.values import parse_uuid
from WalletCore.store import MAX_KEY_CHARACTERS, IdempotencyKey
from WalletCore.tracing import TRACEPARENT

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

JSON_TYPE: Final = "application/json"
MAX_BODY_BYTES: Final = 64 * 1024
MAX_QUERY_FIELDS: Final = 20
"""More than any endpoint has parameters."""

MAX_REASON_CHARACTERS: Final = 200
"""How much of the parser's words an answer repeats: they may name a field as long as the body."""

OPEN_SCOPE: Final = ""
"""The one scope of Idempotency-Keys where nobody needs an API key."""

_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_CHARACTERS}}}", re.ASCII)


def read_body(environ: WSGIEnvironment, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The body, at most ``max_bytes``, whether its length was announced or it comes in chunks.

    Raises BodyTooLarge, BadRequest if it ends early or its chunks are broken, and RequestTimeout
    if it does not come in time (where the server watches that, see RestAPI.gunicorn_parts).
    """
    announced = environ.get("CONTENT_LENGTH")
    stream: InputStream = environ["wsgi.input"]
    try:
        if announced:
            length = int(announced)
            if length > max_bytes:
                raise _too_large(max_bytes)
            body = stream.read(length)
            if len(body) < length:
                raise BadRequest("The body ended before its Content-Length.")
            return body
        if not environ.get("wsgi.input_terminated"):
            return b""
        return _read_to_end(stream, max_bytes)
    except (BadRequest, BodyTooLarge, RequestTimeout):
        raise
    except Exception as error:
        # Each server has classes of its own for a broken chunk or a lost client.
        raise BadRequest("The body could not be read to its end.") from error


def _read_to_end(stream: InputStream, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    total = 0
    while part := stream.read(max_bytes + 1 - total):
        parts.append(part)
        total += len(part)
        if total > max_bytes:
            raise _too_large(max_bytes)
    return b"".join(parts)


def parse_body(
    environ: WSGIEnvironment, *, may_be_empty: bool, max_bytes: int = MAX_BODY_BYTES
) -> object:
    """The body as JSON, numbers with a point as Decimal. An empty one is ``{}`` if it may be.

    Raises UnsupportedMediaType, BodyTooLarge, JsonInvalid, BadRequest.
    """
    content_type: str = environ.get("CONTENT_TYPE", "")
    if content_type != JSON_TYPE and content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        if content_type or read_body(environ):
            raise UnsupportedMediaType(
                "Send JSON with Content-Type: application/json."
                if content_type
                else "The body has no Content-Type. Send it with Content-Type: application/json."
            )
        body = b""
    else:
        body = read_body(environ, max_bytes)
    if not body and may_be_empty:
        return {}
    return parse_json(body)


def parse_json(body: bytes) -> object:
    """JSON, numbers with a point as Decimal. Raises JsonInvalid."""
    try:
        return jiter.from_json(
            body,
            allow_inf_nan=False,
            # Names of fields come again and again, values do not.
            cache_mode="keys",
            catch_duplicate_keys=True,
            float_mode="decimal",
        )
    except ValueError as error:
        raise JsonInvalid(f"This is not JSON that can be read exactly: {_reason(error)}.") from None


def parse_query(environ: WSGIEnvironment) -> dict[str, str]:
    """The query's fields. Raises Invalid for one that comes twice or is not UTF-8."""
    text: str = environ.get("QUERY_STRING", "")
    if not text:
        return {}
    fields: dict[str, str] = {}
    for pair in text.split("&", MAX_QUERY_FIELDS):
        if not pair:
            continue
        if len(fields) == MAX_QUERY_FIELDS:
            raise invalid([("query", f"There are more than {MAX_QUERY_FIELDS} fields.")])
        raw_name, _, raw_value = pair.partition("=")
        try:
            name = unquote_plus(raw_name, errors="strict")
            value = unquote_plus(raw_value, errors="strict")
        except UnicodeDecodeError:
            raise invalid([("query", "The query must be percent-encoded UTF-8.")]) from None
        if name in fields:
            raise invalid([(f"query.{name}", "This field is there more than once.")])
        fields[name] = value
    return fields


def parse_ids(path: Mapping[str, str]) -> dict[str, UUID]:
    """The ids in a path, by their names. Raises Invalid for one that is not a UUID."""
    ids: dict[str, UUID] = {}
    for name, text in path.items():
        try:
            ids[name] = parse_uuid(text)
        except ValueError as error:
            raise invalid([(f"path.{name}", str(error))]) from None
    return ids


def parse_idempotency_key(
    environ: WSGIEnvironment, body: object, scope: str
) -> IdempotencyKey | None:
    """The request's Idempotency-Key in ``scope`` with a hash of the request, None if it has none.

    The hash is of method, path and the parsed body in one canonical form, so that white space and
    the order of fields do not make another request of it. Raises Invalid.
    """
    key: str | None = environ.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        what = f"This is 1 to {MAX_KEY_CHARACTERS} visible ASCII characters."
        raise invalid([("header.Idempotency-Key", what)])
    canonical: list[Any] = [environ["REQUEST_METHOD"], environ["PATH_INFO"], body]
    return IdempotencyKey(scope, key, hash_of(canonical))


def hash_of(value: object) -> bytes:
    """SHA-256 of what JSON gave, in one canonical form."""
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer beyond 64 bits, which nothing has refused yet
        text = json.dumps(value, default=str, sort_keys=True).encode()
    return hashlib.sha256(text).digest()


def parse_traceparent(environ: WSGIEnvironment) -> str | None:
    """The request's traceparent; None if there is none that is valid, as W3C wants it.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    given: str | None = environ.get("HTTP_TRACEPARENT")
    if given is None or not TRACEPARENT.fullmatch(given):
        return None
    return given


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"A body has at most {max_bytes} bytes here.")


def _reason(error: ValueError) -> str:
    """What the parser says. Of a number that it cannot hold it tells internals; those stay here."""
    reason = str(error)
    if reason.startswith("Internal error"):
        return "a number is out of every range"
    return reason[:MAX_REASON_CHARACTERS]
