"""Statements: everything that moved in a wallet in a period."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from flask import Response, request

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.entrance import REQUEST_ID
from RestAPI.long_answers import LongAnswer, LongAnswers
from RestAPI.schemas.statements import Statement, StatementQuery
from RestAPI.statement_formats import CSV_MEDIA_TYPE, WRITERS, Format
from WalletCore.domain.errors import Overloaded, WalletNotFound
from WalletCore.statements import STATEMENT_SLICE_ENTRIES

TAG: Final = "Operations"


class StatementRoutes:
    """The endpoint of statements."""

    def __init__(self, long_answers: LongAnswers) -> None:
        self._long_answers = long_answers

    @endpoint(
        tag=TAG,
        query=StatementQuery,
        responses={200: Statement},
        text_type=CSV_MEDIA_TYPE,
        errors=(WalletNotFound, Overloaded),
    )
    def get_statement(self, caller: Caller, wallet_id: UUID, query: StatementQuery) -> Response:
        """Read a wallet's statement of a period

        All operations from `from` on and before `to`, oldest first, between the balances before and
        after them. It is fixed when it begins and adds up, whatever moves meanwhile; of a period
        that ended a minute ago it is the same for ever. Any length is sent as it is read. When that
        fails on the way, the answer ends there: without `closing_balance`, or without the row
        `closing`, it is not whole, ask again. `format=csv` is RFC 4180 in UTF-8 with a
        header; its second row is the opening balance, its last one the totals and the closing
        balance. A reference or description that a spreadsheet could take for a formula has an
        apostrophe before it, as has one that begins with an apostrophe.
        """
        statement = caller.store.statement(wallet_id, query.since, query.until)
        write, content_type = WRITERS[query.format]
        parts = write(statement)
        body: bytes | LongAnswer
        if statement.count <= STATEMENT_SLICE_ENTRIES:
            # The usual one is an ordinary answer: its length is known, and a failure is a problem.
            body = b"".join(parts)
        else:
            body = self._long_answers.open(parts, request.environ[REQUEST_ID])
        response = Response(body, content_type=content_type)
        if query.format is Format.CSV:
            name = f"statement-{wallet_id}.csv"
            response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
