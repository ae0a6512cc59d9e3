"""Typed endpoints: one decorator that reads a request, calls the view and writes its answer.

The decorator keeps what an endpoint takes and gives in an ``Operation``; ``RestAPI.openapi`` writes
the documentation from it, once, at start. On the way of a request there is no reflection.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from flask import Response, request
from pydantic import BaseModel, ValidationError

from RestAPI.caller import CALLER
from RestAPI.entrance import WALLET_ID
from RestAPI.problems import PROBLEM_TYPE, as_error
from RestAPI.reading import (
    JSON_TYPE,
    MAX_BODY_BYTES,
    OPEN_SCOPE,
    parse_body,
    parse_idempotency_key,
    parse_ids,
    parse_query,
)
from RestAPI.schemas.fields import Flag, Strict
from WalletCore.domain.errors import CofferError
from WalletCore.domain.model import Document
from WalletCore.store import Outcome

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Model: TypeAlias = type[BaseModel]
Result: TypeAlias = Document | Outcome | Response
Method: TypeAlias = Callable[..., Result]
View: TypeAlias = Callable[..., Response]


class WriteQuery(Strict):
    """What every request that changes something may say in its URL."""

    dry_run: Flag = False


OK: Final = 200
CREATED: Final = 201
FIRST_ERROR_STATUS: Final = 400
REPLAYED_HEADER: Final = "Idempotency-Replayed"
"""Says of an answer that it is the stored one of an earlier request."""
_WALLET_MEMBERS: Final = ("wallet_id", "source_wallet_id")
DRY_RUN_HEADER: Final = "Coffer-Dry-Run"
"""Says of an answer that nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What an endpoint takes and gives; called with a method, it makes a view of it.

    ``path``: the model of the path's variables where they are no ids.
    ``query``, ``body``: the models of what comes in; ``body_may_be_empty``: no body at all counts
    as an empty object. ``idempotent``: it takes an Idempotency-Key and ``dry_run``.
    ``keyed``: it takes an Idempotency-Key alone, with or without a body. ``shop``: its errors have
    the shape of the shop, and a good answer of None is empty.
    ``repeatable``: doing it twice is the same as once; a key is checked, and not needed.
    ``max_body_bytes``: how long the body may be. ``models``: further ones that the body's schema
    refers to. ``parameters``: further ones, as OpenAPI describes them. ``responses``: the model
    of each answer by its status, the usual one first; None is text of ``media_type``.
    ``text_type``: the type of a text that is answered in its place if that is asked for.
    ``errors``: the problems of its own, beside those that follow from what it takes.
    ``location``: what the header of that name begins with on 201; the id of what was made
    follows, the member ``made`` of it.
    """

    tag: str
    shop: bool = False
    path: Model | None = None
    query: Model | None = None
    body: Model | None = None
    body_may_be_empty: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    models: tuple[Model, ...] = ()
    idempotent: bool = False
    repeatable: bool = False
    keyed: bool = False
    parameters: tuple[Document, ...] = ()
    responses: dict[int, Model | None]
    media_type: str = JSON_TYPE
    text_type: str | None = None
    errors: tuple[type[CofferError], ...] = ()
    location: str | None = None
    made: str = "id"

    def __call__(self, method: Method) -> View:
        """Wrap a method: ids of the path, ``query``, ``body``, ``key`` and, with
        that, ``dry_run`` come to it by name, and ``caller`` if it asks for it.

        It returns a document (answered with the first status of ``responses``), an Outcome (whose
        bytes go out as they are) or a Response. The first line of its docstring is the summary in
        the documentation, the rest the description.
        """
        # Looked up once here instead of once per request.
        query, body = self.query, self.body
        idempotent, repeatable, keyed = self.idempotent, self.repeatable, self.keyed
        location, made = self.location, self.made
        body_may_be_empty, status = self.body_may_be_empty, next(iter(self.responses))
        max_bytes = self.max_body_bytes
        path_model = self.path
        wallet_member = _wallet_member(body)
        takes_caller = "caller" in inspect.signature(method).parameters

        @functools.wraps(method)
        def wrapper(owner: object, **path: str) -> Response:
            environ = request.environ
            arguments: dict[str, Any] = (
                parse_ids(path)
                if path_model is None
                else dict(_validated(path_model, path, "path"))
            )
            environ[WALLET_ID] = arguments.get("wallet_id")
            if takes_caller:
                arguments["caller"] = environ[CALLER]
            data: object = None
            dry_run = False
            if query is not None:
                arguments["query"] = _validated(query, parse_query(environ), "query")
            if body is not None:
                data = parse_body(environ, may_be_empty=body_may_be_empty, max_bytes=max_bytes)
                arguments["body"] = _validated(body, data, "body")
                _note_wallet(environ, arguments["body"], wallet_member)
                if idempotent:
                    scope = environ[CALLER].key_scope
                    arguments["key"] = parse_idempotency_key(environ, data, scope)
                    dry_run = bool(environ.get("QUERY_STRING")) and is_dry_run(environ)
                    arguments["dry_run"] = dry_run
                elif repeatable:
                    parse_idempotency_key(environ, data, OPEN_SCOPE)
                    _validated(Strict, parse_query(environ), "query")
            if keyed:
                scope = environ[CALLER].key_scope
                arguments["key"] = parse_idempotency_key(environ, data, scope)
            result = method(owner, **arguments)
            if isinstance(result, Outcome):
                if dry_run:
                    response = _outcome_response(result, None, made)
                    response.headers[DRY_RUN_HEADER] = "true"
                    return response
                return _outcome_response(result, location, made)
            if isinstance(result, Response):
                if dry_run:
                    result.headers[DRY_RUN_HEADER] = "true"
                return result
            return json_response(result, status)

        wrapper.operation = self  # type: ignore[attr-defined]  # what operation_of looks for
        return wrapper


endpoint = Operation
"""The decorator: ``@endpoint(tag=..., body=..., query=..., responses=...)``."""


def operation_of(view: object) -> Operation | None:
    """The Operation of a decorated view, None of any other."""
    return getattr(view, "operation", None)


def _wallet_member(body: Model | None) -> str:
    """The member of a body that names the wallet for the log; empty if none does."""
    members = getattr(body, "model_fields", {})
    return next((name for name in _WALLET_MEMBERS if name in members), "")


def _note_wallet(environ: WSGIEnvironment, body: BaseModel, member: str) -> None:
    """Leave the wallet that ``body`` names for the log, if it names one."""
    if member in body.model_fields_set:
        environ[WALLET_ID] = getattr(body, member)


def json_response(document: Document, status: int = OK) -> Response:
    """``document`` as an answer."""
    try:
        body = orjson.dumps(document)
    except TypeError:  # a sum beyond 64 bits
        body = json.dumps(document).encode()
    return Response(body, status, content_type=JSON_TYPE)


def is_dry_run(environ: WSGIEnvironment) -> bool:
    """Whether a request is only to be tried out. Raises Invalid."""
    query = _validated(WriteQuery, parse_query(environ), "query")
    return isinstance(query, WriteQuery) and query.dry_run


def _validated(model: Model, data: object, where: str) -> BaseModel:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise as_error(error, where) from None


def _outcome_response(outcome: Outcome, location: str | None, made: str) -> Response:
    """The answer that the store decided, remembered or not, byte for byte."""
    good = outcome.status < FIRST_ERROR_STATUS
    response = Response(
        outcome.body, outcome.status, content_type=JSON_TYPE if good else PROBLEM_TYPE
    )
    if outcome.replayed:
        response.headers[REPLAYED_HEADER] = "true"
    if outcome.status == CREATED and location is not None:
        response.headers["Location"] = location + orjson.loads(outcome.body)[made]
    return response
