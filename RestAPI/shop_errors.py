"""Errors under the paths of the shop, which have a published shape of their own: ``{"errors"}``.

Whatever is wrong with a request is 400 there, where elsewhere it is 404, 409, 415 or 422. The other
statuses are the same, and so are the headers.
"""

from __future__ import annotations

import re
from typing import Final

import orjson
from flask import Response

from RestAPI.problems import PathNotFound, UnsupportedMediaType, problem_response
from RestAPI.reading import JSON_TYPE
from WalletCore.domain.errors import (
    CofferError,
    InsufficientFunds,
    Invalid,
    LimitExceeded,
    NotFound,
    Refused,
    WalletClosed,
    WalletFrozen,
)
from WalletCore.domain.model import Document

SHOP_PATHS: Final = re.compile(r"/api/(?:auth|info|items|sendCoin|buy)(?:/.*)?", re.DOTALL)
"""The paths of the shop, and whatever is below them."""

BAD_REQUEST: Final = 400

_PLAIN: Final = {
    WalletFrozen.code: "No coins move here for now: a wallet is frozen.",
    WalletClosed.code: "No coins move here any more: a wallet is closed.",
    LimitExceeded.code: "Whoever the coins are for cannot take so many.",
}
"""What the shop says in place of words about wallets and how to manage them, by code. What somebody
else has is nobody's to know."""


def error_response(error: CofferError, path: str, cause: object = None) -> Response:
    """The answer to ``error`` in the shape of ``path``. ``cause``: see ``problem_response``."""
    response = problem_response(error, cause)
    if not SHOP_PATHS.fullmatch(path):
        return response
    shaped = Response(
        orjson.dumps({"errors": _PLAIN.get(error.code, error.detail)}),
        shop_status(type(error)),
        content_type=JSON_TYPE,
    )
    for name, value in response.headers:
        if name not in shaped.headers:
            shaped.headers.add(name, value)
    return shaped


def shop_status(kind: type[CofferError]) -> int:
    """The status that the shop answers an error with."""
    wrong = Invalid | NotFound | Refused | UnsupportedMediaType
    if issubclass(kind, wrong) and not issubclass(kind, PathNotFound):
        return BAD_REQUEST
    return kind.status


def refusal_of(problem: Document) -> Refused:
    """What the ledger refused, by its problem document, in words of the shop."""
    code = problem["code"]
    if code == InsufficientFunds.code:
        return Refused(f"There are too few coins: {problem['available']} can be spent.")
    return Refused(str(_PLAIN.get(code, problem["detail"])))
