"""Many operations in one request, all or nothing or each on its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import orjson
from flask import Response, request

from RestAPI.bulk_items import (
    FIRST_ERROR_STATUS,
    all_items,
    claim_whole,
    command_of,
    do_each,
    result_json,
)
from RestAPI.caller import CALLER, Caller
from RestAPI.endpoint import DRY_RUN_HEADER, View, endpoint, is_dry_run
from RestAPI.entrance import REQUEST_ID
from RestAPI.long_answers import LongAnswers
from RestAPI.patience import renew
from RestAPI.problems import invalid
from RestAPI.reading import JSON_TYPE, parse_idempotency_key, parse_json
from RestAPI.reading_lines import NDJSON_TYPE, lines_of
from RestAPI.routes.operations import MONEY_ERRORS
from RestAPI.schemas.bulk import (
    MAX_BULK_BYTES,
    BulkAnswer,
    BulkOperation,
    BulkOrder,
    BulkTransfer,
)
from WalletCore.domain.commands import Group
from WalletCore.domain.errors import (
    CofferError,
    CurrencyMismatch,
    Overloaded,
    SameWallet,
    Unavailable,
)
from WalletCore.domain.model import Document
from WalletCore.store import IdempotencyKey, Outcome

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TAG: Final = "Operations"

BULK: Final = "bulk"
"""Where the path of an operation has its id."""

SLICE_LINES: Final = 500
"""Lines of a stream that are done, and answered, together."""

SLICE_BYTES: Final = 1024 * 1024
"""A slice ends with the line that goes beyond this: parsed, JSON takes fifty times its length."""


class BulkRoutes:
    """The endpoint of many."""

    def __init__(self, long_answers: LongAnswers) -> None:
        self._long_answers = long_answers

    @endpoint(
        tag=TAG,
        body=BulkOrder,
        max_body_bytes=MAX_BULK_BYTES,
        idempotent=True,
        responses={200: BulkAnswer},
        errors=(*MONEY_ERRORS, CurrencyMismatch, SameWallet, Overloaded),
        models=(BulkOperation, BulkTransfer),
    )
    def operate_in_bulk(
        self,
        caller: Caller,
        body: BulkOrder,
        key: IdempotencyKey | None,
        dry_run: bool,
    ) -> Outcome | Response:
        """Do many operations and transfers

        Each on its own, with a result each, in their order; a refusal stops no other. An item's
        idempotency_key is an Idempotency-Key of its own; that of the whole request stands for one
        of every item, by its place, so that a request that broke off can be sent again. Or, with
        `atomic: true`, all or nothing: then a refusal names the item as `index`, counted from 0.

        For more than fits into one body send `Content-Type: application/x-ndjson`, one item a line
        and as many lines as you like: each is answered by a line of its own while you send, so read
        the answer meanwhile. The last line is `{"done": ..., "refused": ..., "complete": true}`;
        where it is missing or `complete` is false, not everything has arrived: send it again with
        the same Idempotency-Key.
        """
        if body.atomic:
            commands = tuple(map(command_of, all_items(body.operations)))
            return caller.execute(Group(commands), key, dry_run=dry_run)
        reused = claim_whole(caller, key, dry_run=dry_run)
        if reused is not None:
            raise reused
        given = (
            (number, one, f"body.operations.{number}") for number, one in enumerate(body.operations)
        )
        results = do_each(caller, given, key, dry_run=dry_run)
        done = sum(result.status < FIRST_ERROR_STATUS for result in results)
        counts = b'{"done":%d,"refused":%d,"results":[' % (done, len(results) - done)
        answer = counts + b",".join(map(result_json, results)) + b"]}"
        return Response(answer, 200, content_type=JSON_TYPE)

    def by_content_type(self) -> View:
        """The endpoint, and beside it the same for a stream of lines."""

        @functools.wraps(self.operate_in_bulk)
        def view() -> Response:
            environ = request.environ
            content_type: str = environ.get("CONTENT_TYPE", "")
            if content_type.partition(";")[0].strip().lower() == NDJSON_TYPE:
                return self._stream(environ)
            return self.operate_in_bulk()

        return view

    def _stream(self, environ: WSGIEnvironment) -> Response:
        caller: Caller = environ[CALLER]
        key = parse_idempotency_key(environ, None, caller.key_scope)
        dry_run = is_dry_run(environ)
        reused = claim_whole(caller, key, dry_run=dry_run)
        if reused is not None:
            raise reused
        parts = self._answers(caller, lines_of(environ), key, dry_run=dry_run)
        answer = self._long_answers.open(parts, environ[REQUEST_ID])
        response = Response(answer, 200, content_type=NDJSON_TYPE)
        if dry_run:
            response.headers[DRY_RUN_HEADER] = "true"
        return response

    def _answers(
        self,
        caller: Caller,
        lines: Iterator[bytes],
        key: IdempotencyKey | None,
        *,
        dry_run: bool,
    ) -> Iterator[bytes]:
        """A line for each line, slice by slice, and the sums."""
        done = number = 0
        broken: CofferError | None = None
        while broken is None:
            part: list[tuple[int, object | CofferError, str]] = []
            size = 0
            try:
                for line in lines:
                    part.append((number, _read(line, number), f"line.{number}"))
                    number += 1
                    size += len(line)
                    if len(part) == SLICE_LINES or size > SLICE_BYTES:
                        break
            except CofferError as error:
                broken = error
            if not part:
                break
            renew()
            try:
                # It may have been revoked while the client sent what it liked.
                caller.check()
            except CofferError as error:
                broken = error
                part = [(place, error, where) for place, _, where in part]
            results = do_each(caller, part, key, dry_run=dry_run)
            done += sum(result.status < FIRST_ERROR_STATUS for result in results)
            if all(result.status == Unavailable.status for result in results):
                broken = Unavailable("Nothing can be done right now. Send it again.")
            yield b"".join(result_json(result) + b"\n" for result in results)
        sums: Document = {"done": done, "refused": number - done, "complete": broken is None}
        if broken is not None:
            sums["problem"] = broken.problem()
        yield orjson.dumps(sums) + b"\n"


def _read(line: bytes, number: int) -> object:
    """What a line says, or what is wrong with it."""
    try:
        return parse_json(line)
    except CofferError as error:
        return invalid([(f"line.{number}", error.detail)])
