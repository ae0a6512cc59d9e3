"""What a case expects, against what came: variables, matchers, JSON without floats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

MAX_SHOWN_CHARACTERS = 300
"""How much of a value a failure message shows."""

_VARIABLE = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_MATCHER_NAME = re.compile(r"\$[a-z_]+")
_MISSING = object()


class CaseError(AssertionError):
    """A case that did not come out as written, or that cannot be run as written."""


def loads(text: str | bytes) -> Any:
    """JSON with Decimals in place of floats. Raises ValueError, also for a repeated member."""
    return json.loads(text, parse_float=Decimal, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError(f"a member is there twice, among {[name for name, _ in pairs]}")
    return members


def dumps(value: Any) -> str:
    """Compact JSON; a Decimal is written digit by digit."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        members = (f"{json.dumps(name)}:{dumps(item)}" for name, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def shown(value: Any) -> str:
    """A value for a failure message, cut to MAX_SHOWN_CHARACTERS."""
    text = "nothing" if value is _MISSING else dumps(value)
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return f"{text[:MAX_SHOWN_CHARACTERS]}... ({len(text)} characters)"


def substitute(value: Any, variables: Mapping[str, Any]) -> Any:
    """``value`` with the variables put into its texts. Raises CaseError for an unknown one."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _text(found[1], variables), value)
    if isinstance(value, dict):
        return {
            substitute(name, variables): substitute(item, variables) for name, item in value.items()
        }
    if isinstance(value, list):
        return [substitute(item, variables) for item in value]
    return value


def substitute_path(path: str, variables: Mapping[str, Any]) -> str:
    """``path`` with every ``${name}`` replaced and percent-encoded; a slash stays a slash."""
    return _VARIABLE.sub(lambda found: quote(_text(found[1], variables), safe="/"), path)


def _text(name: str, variables: Mapping[str, Any]) -> str:
    if name not in variables:
        raise CaseError(f"there is no variable ${{{name}}}; there are {sorted(variables)}")
    value = variables[name]
    return value if isinstance(value, str) else dumps(value)


def at_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901). Raises KeyError if there is none."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            raise KeyError(pointer)
    return document


def mismatches(
    expected: Any, actual: Any, variables: Mapping[str, Any], *, exact: bool, at: str = ""
) -> list[str]:
    """Every place where ``actual`` is not as the pattern ``expected``; empty when it is.

    Objects may have further members unless ``exact``. A boolean never equals a number, and a number
    with a point never equals an integer.
    """
    matcher = _matcher(expected)
    if matcher is not None:
        return _match(*matcher, actual, variables, exact=exact, at=at)
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = [
            problem
            for name, item in expected.items()
            for problem in mismatches(
                item, actual.get(name, _MISSING), variables, exact=exact, at=f"{at}/{name}"
            )
        ]
        further = sorted(actual.keys() - expected.keys()) if exact else []
        return found + [
            f"{at}/{name}: expected nothing, got {shown(actual[name])}" for name in further
        ]
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            lengths = f"expected {len(expected)} items, got {len(actual)}"
            return [f"{at or 'the body'}: {lengths}: {shown(actual)}"]
        return [
            problem
            for index, (item, value) in enumerate(zip(expected, actual, strict=True))
            for problem in mismatches(item, value, variables, exact=exact, at=f"{at}/{index}")
        ]
    if type(expected) is type(actual) and expected == actual:
        return []
    return [f"{at or 'the body'}: expected {shown(expected)}, got {shown(actual)}"]


def _matcher(expected: Any) -> tuple[str, Any] | None:
    if isinstance(expected, dict) and len(expected) == 1:
        name, argument = next(iter(expected.items()))
        if _MATCHER_NAME.fullmatch(name):
            return name, argument
    return None


def _match(
    name: str, argument: Any, actual: Any, variables: Mapping[str, Any], *, exact: bool, at: str
) -> list[str]:
    if name in ("$each", "$contains") and isinstance(actual, list):
        found = [
            mismatches(argument, item, variables, exact=exact, at=f"{at}/{index}")
            for index, item in enumerate(actual)
        ]
        if name == "$each" and found:
            return [problem for problems in found for problem in problems]
        if name == "$contains" and [] in found:
            return []
    elif name == "$not" and actual is not _MISSING:
        if mismatches(argument, actual, variables, exact=exact):
            return []
    elif name == "$saved":
        if argument not in variables:
            raise CaseError(f"nothing was saved as {argument}")
        return mismatches(variables[argument], actual, variables, exact=True, at=at)
    elif name in _SIMPLE and actual is not _MISSING and _SIMPLE[name](argument, actual):
        return []
    return [f"{at or 'the body'}: expected {shown({name: argument})}, got {shown(actual)}"]


def _is_seconds_after(wanted: Any, actual: Any) -> bool:
    """Whether ``actual`` is the time exactly so many seconds after another as ``wanted`` says."""
    earlier, seconds = wanted
    if not (_TYPES["time"](earlier) and _TYPES["time"](actual)):
        return False
    passed = datetime.fromisoformat(actual) - datetime.fromisoformat(earlier)
    return passed == timedelta(seconds=seconds)


_SIMPLE: Mapping[str, Callable[[Any, Any], bool]] = {
    "$any": lambda _, __: True,
    "$len": lambda length, actual: isinstance(actual, str | list) and len(actual) == length,
    "$regex": lambda regex, actual: (
        isinstance(actual, str) and re.fullmatch(regex, actual, re.DOTALL) is not None
    ),
    "$type": lambda name, actual: _TYPES[name](actual),
    "$seconds_after": _is_seconds_after,
}


def _is_text(regex: str) -> Callable[[Any], bool]:
    compiled = re.compile(regex, re.ASCII)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "uuid": _is_text(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "time": _is_text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
    "amount": _is_text(r"-?(0|[1-9]\d*)(\.\d+)?"),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
