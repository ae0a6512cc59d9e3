"""The OpenAPI 3.1 document, written once at start from the url map and the endpoints' Operations.

https://spec.openapis.org/oas/v3.1.1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from werkzeug.routing import Map, Rule

from RestAPI.endpoint import Model, Operation, operation_of
from RestAPI.openapi_errors import (
    Endpoint,
    error_responses,
    header_references,
    problem_rows,
)
from RestAPI.openapi_examples import Examples, load_examples
from RestAPI.openapi_parts import (
    DRY_RUN,
    HEADERS,
    IDEMPOTENCY_KEY,
    PROBLEM,
    SECURITY_SCHEMES,
    SHOP_ERROR,
    SHOP_ERROR_SCHEMA,
    UNUSED_KEY,
)
from RestAPI.reading import JSON_TYPE
from RestAPI.schemas.examples import ANSWER_EXAMPLES, TEXT_EXAMPLES, WALLET_EXAMPLE
from RestAPI.schemas.fields import SHARED_MARK
from RestAPI.schemas.shared import CURRENCY_PATTERN, SCHEMA_PREFIX, SHARED_SCHEMAS
from RestAPI.schemas.values import UUID_PATTERN
from RestAPI.scopes import Guard, Needed
from WalletCore.domain.model import Document
from WalletCore.domain.money import Currencies
from WalletCore.keys import Scope

CONTRACT_VERSION: Final = "1.0.0"
"""The version of the HTTP contract under ``/api/v1``."""

_ANSWER = "serialization"
_REQUEST = "validation"

_INTRODUCTION = """\
Wallets over HTTP: create them, put money in, take it out, move it, hold it, read their history.

* **Money** is an exact decimal. It is taken as a JSON string or number and answered as a string \
with as many decimals as the currency has.
* **Idempotency-Key**: every POST, PUT and PATCH takes one. The same key with the same request \
gives the stored answer again, with `Idempotency-Replayed: true`, and nothing is done twice.
* **dry_run**: with `?dry_run=true` every POST, PUT and PATCH answers what would happen, with \
`Coffer-Dry-Run: true`, and nothing is done; ids in that answer mean nothing.
* **traceparent** ([W3C Trace Context](https://www.w3.org/TR/trace-context/)): that of a request \
which changes something is passed on in the event; one that is not valid counts as none.
* **X-Request-Id**: 1 to 128 letters, digits and `._:/+=@-` of your own, or one is made; it is in \
the answer, in the log and in the events that the request caused, as `requestid`.
* **Keys**: unless access is open, send `Authorization: Bearer ck_...`. Each endpoint names the \
scope that the key needs; a key that is limited to an owner finds the wallets of nobody else.
* **Events** of every change go to RabbitMQ, too: [asyncapi.yaml](/asyncapi.yaml) describes them.
* **Pages**: `limit` items at most; `next_cursor` leads on.
* **Problems** are `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)) \
with a stable `code`; each endpoint lists its own. Those of the shop have a shape of their own.

<details><summary>All problems</summary>

| status | code | meaning |
|---|---|---|
{rows}

</details>
"""

_TAGS: Final = (
    ("Wallets", "Create, list, read and change wallets."),
    ("Operations", "Move money, and read how it moved."),
    ("Transfers", "Move money between wallets."),
    ("Holds", "Keep money back, and capture it later."),
    ("Ledger", "The books as a whole."),
    ("Events", "The log of everything that happened, and messages of your own in it."),
    ("Notifications", "What people are told of the events."),
    ("Keys", "Who may use the service."),
    (
        "Shop",
        "A merch shop for employees, with paths, shapes and errors of its own.",
    ),
    ("Service", "How the service itself is doing."),
)


class Guarded(Protocol):
    """An application that knows what each endpoint asks of its callers."""

    needed: dict[str, Needed]
    open_access: bool
    url_map: Map
    view_functions: dict[str, Any]


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas without a title on every field that only repeats the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def build_document(app: Guarded, currencies: Currencies) -> Document:
    """Describe every endpoint that ``app`` has so far. ``currencies``: those that it knows."""
    rules = [
        (rule, operation)
        for rule in app.url_map.iter_rules()
        if (operation := operation_of(app.view_functions[rule.endpoint]))
    ]
    references, schemas = _model_schemas(operation for _, operation in rules)
    written = load_examples()
    paths: dict[str, Document] = {}
    for rule, operation in rules:
        path = re.sub(r"<(?:[a-z]+:)?([^<>]+)>", r"{\1}", rule.rule)
        method = next(iter(rule.methods - {"HEAD", "OPTIONS"})) if rule.methods else "GET"
        summary = app.view_functions[rule.endpoint].__doc__ or rule.endpoint
        paths.setdefault(path, {})[method.lower()] = _describe(
            Endpoint(rule, operation, app.needed[rule.endpoint], app.open_access),
            summary,
            references,
            schemas,
            written,
        )
    # Queries are written out as parameters; nothing refers to their models.
    queries = {operation.query.__name__ for _, operation in rules if operation.query}
    document: Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Coffer",
            "version": CONTRACT_VERSION,
            "summary": "A self-hosted wallet service.",
            "description": _INTRODUCTION.format(rows="\n".join(problem_rows())),
        },
        "servers": [{"url": "/", "description": "Where this document comes from."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS],
        "paths": paths,
        "components": {
            "schemas": {
                **{name: schema for name, schema in schemas.items() if name not in queries},
                **SHARED_SCHEMAS,
                "CurrencyCode": _currency_schema(currencies),
                "Problem": PROBLEM,
                SHOP_ERROR_SCHEMA: SHOP_ERROR,
            },
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }
    return {name: _with_references(part) for name, part in document.items()}


def _model_schemas(
    operations: Iterator[Operation],
) -> tuple[dict[tuple[Model, str], Document], Document]:
    """The schemas of all models by name, and how to refer to each."""
    models: dict[tuple[Model, Any], None] = {}
    for operation in operations:
        models.update(
            {(model, _REQUEST): None for model in (operation.query, operation.body) if model}
        )
        models.update({(model, _REQUEST): None for model in operation.models})
        models.update({(model, _ANSWER): None for model in operation.responses.values() if model})
    written = models_json_schema(
        list(models), ref_template=SCHEMA_PREFIX + "{model}", schema_generator=_Schemas
    )
    references: Any = written[0]
    schemas: Document = written[1].get("$defs", {})
    return references, schemas


def _describe(
    endpoint: Endpoint,
    text: str,
    references: Mapping[tuple[Model, str], Document],
    schemas: Document,
    written: Examples,
) -> Document:
    """One operation of a path."""
    rule, operation, needed, _ = endpoint
    summary, _, description = text.partition("\n")
    described: Document = {
        "operationId": rule.endpoint,
        "tags": [operation.tag],
        "summary": summary.strip(),
        "parameters": list(_parameters(rule, operation, references, schemas)),
        "responses": _responses(endpoint, references, written),
    }
    description = re.sub(r"\n +", "\n", description.strip())
    if isinstance(needed, Scope):
        # Role names beside a scheme that is none of OAuth: since OpenAPI 3.1. No page shows them.
        described["security"] = [
            {"ApiKey": [needed.value]},
            *([{}] if endpoint.open_access else []),
        ]
        description += f"\n\nScope: `{needed}`"
    elif needed is Guard.KEY:
        described["security"] = [{"ApiKey": []}, *([{}] if endpoint.open_access else [])]
        description += "\n\nFor any key that works, whatever its scopes."
    elif needed is Guard.TOKEN:
        described["security"] = [{"ShopToken": []}]
    if description:
        described["description"] = description.strip()
    if operation.body:
        media: Document = {"schema": references[operation.body, _REQUEST]}
        media["examples"] = written.requests(rule.endpoint)
        described["requestBody"] = {
            "required": not operation.body_may_be_empty,
            "content": {JSON_TYPE: media},
        }
    return described


def _parameters(
    rule: Rule,
    operation: Operation,
    references: Mapping[tuple[Model, str], Document],
    schemas: Document,
) -> Iterator[Document]:
    of_path: Document = {}
    if operation.path:
        of_path = operation.path.model_json_schema()["properties"]
    for name in sorted(rule.arguments):
        if name in of_path:
            schema = {**of_path[name]}
            examples = schema.pop("examples")
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "schema": schema,
                "example": examples[0],
            }
            continue
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid", "pattern": UUID_PATTERN},
            "example": WALLET_EXAMPLE["id"],
        }
    if operation.query:
        schema = schemas[references[operation.query, _REQUEST]["$ref"].removeprefix(SCHEMA_PREFIX)]
        for name, described in schema["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": False,
                "description": described.get("description", ""),
                "schema": _query_schema(described),
            }
    if operation.idempotent:
        yield DRY_RUN
        yield IDEMPOTENCY_KEY
    elif operation.keyed:
        yield IDEMPOTENCY_KEY
    if operation.repeatable:
        yield UNUSED_KEY
    yield from operation.parameters


def _query_schema(described: Document) -> Document:
    """A field's schema as a query's: there a field is left out, it cannot be null."""
    schema = {key: value for key, value in described.items() if key != "description"}
    if schema.get("default", ...) is None:
        del schema["default"]
    given = [branch for branch in schema.pop("anyOf", []) if branch != {"type": "null"}]
    return {**schema, **(given[0] if given else {})}


def _responses(
    endpoint: Endpoint, references: Mapping[tuple[Model, str], Document], written: Examples
) -> Document:
    """The answers by status: good ones with their models, problems with their codes."""
    operation, name = endpoint.operation, endpoint.rule.endpoint
    responses: Document = {}
    for status, model in operation.responses.items():
        content: Document = {operation.media_type: _text_media(operation.media_type)}
        if model is not None:
            examples = written.answers(name, status) or _composed(model)
            schema = references[model, _ANSWER]
            content[operation.media_type] = {"schema": schema, "examples": examples}
        if operation.text_type is not None:
            content[operation.text_type] = _text_media(operation.text_type)
            content[operation.text_type]["examples"] |= written.answers(name, status, text=True)
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": header_references(status, operation),
            "content": content,
        }
        if operation.shop and model is None:
            del responses[str(status)]["content"]
    return responses | error_responses(endpoint, written)


def _text_media(kind: str) -> Document:
    return {
        "schema": {"type": "string"},
        "examples": {name: {"value": text} for name, text in TEXT_EXAMPLES.items() if name == kind},
    }


def _composed(model: Model) -> Document:
    """The example of an answer that no case is about."""
    found = ANSWER_EXAMPLES.get(model.__name__)
    return {} if found is None else {"composed": {"value": found}}


def _currency_schema(currencies: Currencies) -> Document:
    return {
        "title": "CurrencyCode",
        "description": "ISO 4217 and the currencies of this deployment.",
        "type": "string",
        "pattern": CURRENCY_PATTERN,
        "enum": sorted(currency.code for currency in currencies),
    }


def _with_references(value: Any) -> Any:
    """``value`` with a reference wherever SHARED_MARK stands for a shared schema."""
    if isinstance(value, dict):
        walked = {name: _with_references(item) for name, item in value.items()}
        name = walked.pop(SHARED_MARK, None)
        return walked if name is None else {"$ref": SCHEMA_PREFIX + name, **walked}
    if isinstance(value, list):
        return [_with_references(item) for item in value]
    return value
