"""JSON cases (``tests_data/**``): read, validated, and run against any client.

``tests_data/case.schema.json`` is the format; ``tests_data/README.md`` shows how to add a case.
"""

from __future__ import annotations

import base64
import functools
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from testkit.case_clients import Answer, Client
from testkit.case_matching import (
    CaseError,
    at_pointer,
    dumps,
    loads,
    mismatches,
    shown,
    substitute,
    substitute_path,
)
from testkit.case_notifications import notification_problems
from testkit.case_outcomes import EventTail, ledger_problems

CASES_FOLDER = Path(__file__).resolve().parent.parent / "tests_data"
SCHEMA_PATH = CASES_FOLDER / "case.schema.json"
STORES = ("memory", "postgres", "http")
RETRY_SECONDS = 0.05
"""The pause between two tries of a step with ``within_seconds``."""

_OTHER_FORMATS = {"csv": "text/csv;", "svg": "image/svg+xml"}
"""What is asked for in place of JSON, and what it is answered as."""

_SHOP_PATHS = re.compile(r"/api/(?:auth|info|items|sendCoin|buy)(?:[/?]|$)")

MAX_SHOWN_PROBLEMS = 10

Observer = Callable[[Mapping[str, Any], Mapping[str, Any], Answer], None]
"""Is told each step, the variables that its expectations saw, and the answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case as it was read from ``path``."""

    path: Path
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name; that of its file."""
        return str(self.document["name"])

    @property
    def label(self) -> str:
        """Group and name: ``money/ten_and_half_a_cent``."""
        return f"{self.path.parent.name}/{self.name}"

    def runs_on(self, store: str) -> bool:
        """Whether the case is meant for ``store``, one of STORES."""
        return store in self.document.get("stores", STORES)


@functools.cache
def _validator() -> Draft202012Validator:
    schema = loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def load_case(path: Path) -> Case:
    """The case in a file. Raises CaseError if it is not as the schema says."""
    try:
        document = loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CaseError(f"{path}: not JSON: {error}") from None
    problems = [
        f"{error.json_path}: {error.message[:300]}" for error in _validator().iter_errors(document)
    ]
    if problems:
        raise CaseError(f"{path}: not as case.schema.json says:\n" + "\n".join(problems))
    if document["name"] != path.stem:
        raise CaseError(f"{path}: its name is {document['name']!r}, not that of the file")
    return Case(path, document)


def load_cases(folder: Path = CASES_FOLDER) -> Iterator[Case]:
    """Every case below ``folder``, in the order of their paths. Raises CaseError."""
    for path in sorted(folder.glob("*/**/*.json")):
        yield load_case(path)


class Runner:
    """Runs cases, one after the other, against one ``client``.

    The service behind it may have been used before and may be in use by others: a case has its own
    wallets, and names what must be unique with ``${unique}``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tail = EventTail(self._get)

    def run(self, case: Case, observe: Observer | None = None) -> None:
        """Do every step; ``observe`` is told each.

        Raises CaseError that says file, step, what was expected and what came.
        """
        document = case.document
        steps = document["steps"]
        where = f"{case.path.parent.name}/{case.path.name}"
        try:
            if "expected_events" in document:
                self._tail.skip()
            variables = _variables(document.get("variables", {}))
            for number, step in enumerate(steps, start=1):
                where = f"{case.path.parent.name}/{case.path.name}: step {number} of {len(steps)}"
                for repetition in range(1, step.get("repeat", 1) + 1):
                    variables["n"] = repetition
                    answer = self._step(step, variables)
                    if observe is not None:
                        observe(step, dict(variables), answer)
            where = f"{case.path.parent.name}/{case.path.name}: after the last step"
            self._outcomes(document, variables)
        except CaseError as error:
            raise CaseError(f"{where}: {error}") from None

    def _step(self, step: Mapping[str, Any], variables: dict[str, Any]) -> Answer:
        deadline = time.monotonic() + step.get("within_seconds", 0)
        while True:
            method, path, headers, body = build_request(step["request"], variables)
            answer = self._client(method, path, headers, body)
            problems = house_rule_problems(method, path, answer)
            if answer.status == step["expect"]["status"]:
                problems += _save(step.get("save", {}), answer, variables)
            problems += answer_problems(step["expect"], answer, variables)
            if not problems:
                return answer
            if time.monotonic() >= deadline:
                raise CaseError(_report(method, path, problems, answer))
            time.sleep(RETRY_SECONDS)

    def _outcomes(self, document: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        problems = [
            problem
            for wanted in document.get("expected_ledger", [])
            for problem in ledger_problems(wanted, variables, self._get)
        ]
        if "expected_events" in document:
            problems += self._tail.problems(document["expected_events"], variables)
        for wanted in document.get("expected_notifications", []):
            problems += notification_problems(wanted, variables, self._get)
        if problems:
            raise CaseError("\n  ".join(["", *problems[:MAX_SHOWN_PROBLEMS]]))

    def _get(self, path: str) -> Any:
        answer = self._client("GET", path, {}, None)
        problems = house_rule_problems("GET", path, answer)
        problems += answer_problems({"status": 200}, answer, {})
        if problems:
            raise CaseError(_report("GET", path, problems, answer))
        return loads(answer.body)


def build_request(
    request: Mapping[str, Any], variables: Mapping[str, Any]
) -> tuple[str, str, dict[str, str], bytes | None]:
    """Method, path, headers and body of a step's ``request``, with its variables put in."""
    body: bytes | None = None
    if "json" in request:
        body = dumps(substitute(request["json"], variables)).encode()
    elif "body" in request:
        body = substitute(request["body"], variables).encode()
    elif "body_base64" in request:
        body = base64.b64decode(request["body_base64"], validate=True)
    headers = dict(substitute(request.get("headers", {}), variables))
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return (
        request["method"],
        substitute_path(request["path"], variables),
        {name: value for name, value in headers.items() if value is not None},
        body,
    )


def answer_problems(
    expect: Mapping[str, Any], answer: Answer, variables: Mapping[str, Any]
) -> list[str]:
    """Everything about ``answer`` that is not as a step's ``expect`` says."""
    if answer.status != expect["status"]:
        return [f"expected status {expect['status']}, got {answer.status}"]
    problems = []
    for name, wanted in substitute(expect.get("headers", {}), variables).items():
        value = answer.headers.get(name.lower())
        if wanted is None or value is None:
            if value != wanted:
                problems.append(f"header {name}: expected {shown(wanted)}, got {shown(value)}")
        else:
            problems += mismatches(wanted, value, variables, exact=True, at=f"header {name}")
    text = answer.body.decode("utf-8", "replace")
    if "body" in expect:
        wanted = substitute(expect["body"], variables)
        if text != wanted:
            problems.append(f"expected the body {shown(wanted)}")
    for wanted in substitute(expect.get("contains", []), variables):
        if wanted not in text:
            problems.append(f"the body does not contain {shown(wanted)}")
    if expect.keys() & {"json", "json_exact", "absent"}:
        problems += _json_problems(expect, answer, variables)
    return problems


def _json_problems(
    expect: Mapping[str, Any], answer: Answer, variables: Mapping[str, Any]
) -> list[str]:
    try:
        document = loads(answer.body)
    except ValueError as error:
        return [f"the body is not JSON: {error}"]
    problems = []
    for kind in ("json", "json_exact"):
        if kind in expect:
            wanted = substitute(expect[kind], variables)
            problems += mismatches(wanted, document, variables, exact=kind == "json_exact")
    for pointer in expect.get("absent", []):
        try:
            value = at_pointer(document, pointer)
        except KeyError:
            continue
        problems.append(f"{pointer}: expected nothing, got {shown(value)}")
    return problems


def house_rule_problems(method: str, path: str, answer: Answer) -> list[str]:
    """What every answer must keep to, so that no case has to say it.

    A request id; below /api/v1, JSON without a number that has a point (money is text; the status
    of the service has none, and seconds), or CSV or SVG where that was asked for; an error is a
    problem document (RFC 9457) that names its own status and says what to do, or one of the shop
    under its paths.
    """
    problems = []
    if not answer.headers.get("x-request-id"):
        problems.append("the header X-Request-Id is missing")
    if _SHOP_PATHS.match(path):
        return problems + _shop_problems(method, answer)
    if method == "HEAD" or not (path.startswith("/api/v1") or answer.status in (404, 405, 413)):
        return problems
    error = answer.status >= 400
    content_type = answer.headers.get("content-type", "")
    asked = path.partition("?")[2].split("&")
    for name, wanted in _OTHER_FORMATS.items():
        if not error and f"format={name}" in asked:
            good = content_type.startswith(wanted)
            return problems if good else [*problems, f"it is no {name.upper()}"]
    if content_type != ("application/problem+json" if error else "application/json"):
        problems.append(f"the Content-Type is {content_type!r}")
    try:
        document = loads(answer.body)
    except ValueError as failure:
        return [*problems, f"the body is not JSON: {failure}"]
    if _has_decimal(document) and path != "/api/v1/status":
        problems.append("a number in the body has a point or an exponent")
    if error:
        problems += mismatches(
            {
                "type": {"$regex": "urn:coffer:problem:[a-z_]+"},
                "title": {"$regex": ".{3,}"},
                "status": answer.status,
                "code": {"$regex": "[a-z_]+"},
                "detail": {"$regex": ".{10,}"},
            },
            document,
            {},
            exact=False,
        )
    return problems


def _shop_problems(method: str, answer: Answer) -> list[str]:
    """What every answer of the shop must keep to: never 500, an error is ``{"errors": text}``."""
    if answer.status < 400 or method == "HEAD":
        return []
    problems = ["the shop never answers 500"] if answer.status == 500 else []
    if answer.headers.get("content-type") != "application/json":
        problems.append(f"the Content-Type is {answer.headers.get('content-type')!r}")
    if answer.headers.get("cache-control") != "no-store":
        problems.append("it may be cached")
    try:
        document = loads(answer.body)
    except ValueError as failure:
        return [*problems, f"the body is not JSON: {failure}"]
    return problems + mismatches({"errors": {"$regex": "(?s).{5,}"}}, document, {}, exact=True)


def _has_decimal(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_decimal, value.values()))
    if isinstance(value, list):
        return any(map(_has_decimal, value))
    return not isinstance(value, str | int | None)


def _variables(given: Mapping[str, Any]) -> dict[str, Any]:
    variables: dict[str, Any] = {"unique": uuid.uuid4().hex[:12]}
    for name, value in given.items():
        if isinstance(value, str):
            variables[name] = substitute(value, variables)
        else:
            variables[name] = substitute(value["repeat"], variables) * value["times"]
    return variables


def _save(wanted: Mapping[str, str], answer: Answer, variables: dict[str, Any]) -> list[str]:
    """Put what a step saves into ``variables``; the problems of what is not there."""
    problems = []
    for name, source in wanted.items():
        try:
            if source == "body":
                variables[name] = answer.body.decode()
            elif source.startswith("header "):
                variables[name] = answer.headers[source.removeprefix("header ").lower()]
            else:
                variables[name] = at_pointer(loads(answer.body), source)
        except (KeyError, ValueError):
            problems.append(f"there is nothing to save as {name} at {source!r}")
    return problems


def _report(method: str, path: str, problems: list[str], answer: Answer) -> str:
    body = answer.body.decode("utf-8", "replace")
    lines = [f"{method} {path[:200]}", *problems[:MAX_SHOWN_PROBLEMS]]
    lines.append(f"the answer: {answer.status} {shown(body)}")
    return "\n  ".join(lines)
