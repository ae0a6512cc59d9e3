"""The examples of the documentation, out of the cases: ``python -m testkit.examples`` writes them.

What the chosen cases are answered in memory is kept; what differs from run to run (ids, times,
secrets) is made the same.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from pydantic import SecretStr
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from RestAPI.app import create_app
from RestAPI.endpoint import operation_of
from RestAPI.openapi_examples import EXAMPLES_PATH
from testkit.case_clients import Answer, WsgiClient
from testkit.case_matching import dumps, substitute
from testkit.cases import Case, Runner, load_cases
from testkit.ledgers import memory_store
from WalletCore.settings import MEMORY_URL, Settings

MAX_REQUEST_EXAMPLES: Final = 4
MAX_BODY_CHARACTERS: Final = 400
MAX_SHOP_ERRORS: Final = 3
MAX_TRIED: Final = 4
"""How many cases are run for the best answer of an endpoint."""

SETTINGS: Final = Settings(
    database_url=SecretStr(MEMORY_URL),
    redis_url=None,
    amqp_url=None,
    jwt_secret=SecretStr("a-secret-of-the-examples-that-is-long-enough"),
)

_FIRST_ERROR: Final = 400
_ASIDE: Final = ("bad_input", "idempotency", "dry_run", "limits", "money", "paging")
"""Folders of cases that are about something else than how an endpoint is used."""

_OF_EVERYTHING: Final = frozenset(
    {
        "get_event",
        "list_events",
        "list_items",
        "list_keys",
        "list_notifications",
        "list_wallets",
        "mark_all_read",
        "search_operations",
        "set_price",
        "trial_balance",
    }
)
"""Endpoints whose answers other cases would have a part in: theirs run on stores of their own."""

_MEASURED: Final = frozenset({"get_profile", "get_status"})
"""Endpoints whose answers are figures of the moment: RestAPI.schemas.examples has one of each."""

_FIRST: Final[Mapping[str, tuple[str, ...]]] = {
    "capture_hold": ("capture_in_full", "capture_in_part", "capture_into_a_wallet"),
    "change_wallet": ("rename", "patch_everything_at_once"),
    "create_wallet": ("create_empty_object", "create_with_everything"),
    "get_event": ("event_by_id",),
    "get_hold": ("hold_is_read_again",),
    "get_statement": (
        "period",
        "csv",
    ),
    "list_holds": ("holds_by_status",),
    "log_in": ("first_log_in",),
    "mark_all_read": ("read_all_of_everything",),
    "operate": ("deposit", "withdraw", "amount_as_a_number", "everything_is_kept"),
    "operate_in_bulk": ("bulk_of_two", "bulk_atomic"),
    "place_hold": ("hold_keeps_money_back", "hold_lasts_as_long_as_it_says"),
    "reverse": ("reverse_a_deposit", "reverse_in_part"),
    "send_message": ("message_is_sent",),
    "set_message_status": ("message_status_by_hand",),
    "transfer": ("transfer", "legs_in_their_order"),
    "void_hold": ("void",),
}
"""The cases that say best how an endpoint is asked, the simplest first. What is not named here is
found by its rank."""

_FOLDERS: Final = {
    "operate_in_bulk": "bulk",
    "reverse": "reversals",
    "get_statement": "statements",
    "list_operations": "history",
}
"""Where the cases of an endpoint are, if it is not the folder that its tag names."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_FIXED_TIME: Final = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
_PLAIN: Final = (
    (re.compile(r"ck_[0-9a-f]{16}_[A-Za-z0-9_-]+"), "ck_5f0c2a9e81b47d36_" + "x" * 43),
    (
        re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjF9.c2lnbmVk",
    ),
    (re.compile(r"\b[0-9a-f]{16}\b"), "5f0c2a9e81b47d36"),
    (re.compile(r'("next_cursor": ?)"[^"]+"'), r'\1"MDE4OTBhNWQtYWM5Ng"'),
)
"""What differs from run to run, and what stands for it."""


class _Step(NamedTuple):
    """A step of a case, and the name of the endpoint that it asks."""

    case: Case
    number: int
    endpoint: str
    folder: str
    document: Mapping[str, Any]

    @property
    def status(self) -> int:
        return int(self.document["expect"]["status"])

    @property
    def rank(self) -> tuple[int, bool, bool, bool, int, int, str]:
        """What makes it a good example, the best first: it is what its case is about, and short."""
        request = self.document["request"]
        steps = self.case.document["steps"]
        about = all(later["request"]["method"] == "GET" for later in steps[self.number + 1 :])
        size = len(dumps(request.get("json", ""))) + len(request["path"])
        folder = self.case.path.parent.name
        first = _FIRST.get(self.endpoint, ())
        place = first.index(self.case.name) if self.case.name in first else len(first)
        aside = folder in _ASIDE
        return place, aside, folder != self.folder, not about, len(steps), size, self.case.label


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a step sent (None if that is no JSON object) and what it was answered, made stable."""

    body: Any
    answer: Any


class Normal:
    """Makes what one case sends and receives the same in every run."""

    def __init__(self, started: datetime) -> None:
        self._started = started
        self._ids: dict[str, str] = {}

    def text(self, text: str, unique: str) -> str:
        """``text`` with fixed ids, times and secrets, and names without their unique part."""
        text = re.sub(rf"[-_.]?{unique}", "", text)
        text = _UUID.sub(self._id, text)
        text = _TIME.sub(self._time, text)
        for pattern, fixed in _PLAIN:
            text = pattern.sub(fixed, text)
        return text

    def _id(self, found: re.Match[str]) -> str:
        number = len(self._ids) + 1
        return self._ids.setdefault(found[0], f"01890a5d-ac96-774b-bcce-b302099a{number:04x}")

    def _time(self, found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0])
        if moment.microsecond == 0:  # written in the case
            return found[0]
        minutes = round((moment - self._started) / timedelta(minutes=1))
        shifted = _FIXED_TIME + timedelta(minutes=minutes)
        return shifted.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def build_examples() -> dict[str, Any]:
    """By endpoint: ``requests`` by the name of their case, ``answers`` by status, and within it by
    code (or, where there is none, by the name of the case), each with ``summary`` and ``value``.
    """
    by_endpoint: dict[str, list[_Step]] = {}
    for step in _steps():
        by_endpoint.setdefault(step.endpoint, []).append(step)
    with _application() as shared:
        runs = _Runs(shared)
        return {
            endpoint: _examples(sorted(steps, key=lambda step: step.rank), runs)
            for endpoint, steps in sorted(by_endpoint.items())
        }


def _examples(steps: list[_Step], runs: _Runs) -> dict[str, Any]:
    """Those of one endpoint."""
    good = [step for step in steps if step.status < _FIRST_ERROR]
    answered = _answers(good, runs) if good and good[0].endpoint not in _MEASURED else {}
    answers = {**answered, **_errors(steps, runs)}
    return {"requests": _requests(good, runs), "answers": dict(sorted(answers.items()))}


def _steps() -> Iterator[_Step]:
    """Every step that can be an example: it is done once, and asks an endpoint of the API."""
    with memory_store() as store:
        app = create_app(SETTINGS, store)
    adapter = app.url_map.bind("")
    folders = {
        name: _FOLDERS.get(name, operation.tag.lower())
        for name, view in app.view_functions.items()
        if (operation := operation_of(view))
    }
    for case in load_cases():
        if not case.runs_on("memory"):
            continue
        for number, step in enumerate(case.document["steps"]):
            endpoint = _endpoint(adapter, step["request"])
            if endpoint in folders and "repeat" not in step:
                yield _Step(case, number, endpoint, folders[endpoint], step)


def _endpoint(adapter: MapAdapter, request: Mapping[str, Any]) -> str:
    """The name of what answers; "" where nothing does, or a HEAD, whose answer has no body."""
    path = request["path"].partition("?")[0]
    try:
        endpoint, _ = adapter.match(path, method=request["method"])
    except HTTPException:
        return ""
    return "" if request["method"] == "HEAD" else str(endpoint)


def _requests(steps: list[_Step], runs: _Runs) -> dict[str, Any]:
    """The simplest bodies that are accepted, each with other fields or of another type."""
    found: dict[str, Any] = {}
    kinds = set()
    for step in steps:
        request = step.document["request"]
        given = request.get("json")
        if not isinstance(given, dict) or len(dumps(given)) > MAX_BODY_CHARACTERS:
            continue
        kind = (frozenset(given), dumps(given.get("operation_type", given.get("status"))))
        if kind in kinds or step.case.name in found or "dry_run" in request["path"]:
            continue
        kinds.add(kind)
        found[step.case.name] = _example(step, runs.seen(step).body)
        if len(found) == MAX_REQUEST_EXAMPLES:
            break
    return found


def _answers(steps: list[_Step], runs: _Runs) -> dict[str, Any]:
    """Of each good status the first answer that says something: a page with items, say. Where an
    endpoint answers a text as well, the first of these, too.
    """
    kinds: dict[tuple[str, bool], list[_Step]] = {}
    for step in steps:
        path = step.document["request"]["path"]
        if "dry_run" not in path:
            kinds.setdefault((str(step.status), "format=csv" in path), []).append(step)
    found: dict[str, dict[str, Any]] = {}
    for (status, _), candidates in kinds.items():
        tried = candidates[:MAX_TRIED]
        best = next((step for step in tried if not _is_bare(runs.seen(step).answer)), tried[0])
        answer = runs.seen(best).answer
        if answer is not None:
            found.setdefault(status, {})[best.case.name] = _example(best, answer)
    return found


def _is_bare(answer: Any) -> bool:
    return isinstance(answer, dict) and any(value == [] for value in answer.values())


def _errors(steps: list[_Step], runs: _Runs) -> dict[str, Any]:
    """Of each code the simplest case that provokes it; the shop has no codes, so a few of each."""
    found: dict[str, dict[str, Any]] = {}
    for step in steps:
        if step.status < _FIRST_ERROR:
            continue
        expected = step.document["expect"]
        wanted = expected.get("json", expected.get("json_exact"))
        examples = found.setdefault(str(step.status), {})
        code = wanted.get("code") if isinstance(wanted, dict) else None
        if isinstance(code, str):
            if code not in examples:
                examples[code] = _example(step, runs.seen(step).answer)
        elif isinstance(wanted, dict) and "errors" in wanted and len(examples) < MAX_SHOP_ERRORS:
            examples.setdefault(step.case.name, _example(step, runs.seen(step).answer))
    return {status: examples for status, examples in found.items() if examples}


def _example(step: _Step, value: Any) -> dict[str, Any]:
    return {"summary": step.case.document.get("description", step.case.name), "value": value}


class _Runs:
    """Runs cases when they are asked for, each once."""

    def __init__(self, shared: Runner) -> None:
        self._shared = shared
        self._done: dict[str, list[_Seen]] = {}
        self._alone: dict[str, list[_Seen]] = {}

    def seen(self, step: _Step) -> _Seen:
        """What the step sent and was answered."""
        alone = step.endpoint in _OF_EVERYTHING
        done = self._alone if alone else self._done
        label = step.case.label
        if label not in done:
            done[label] = _run_alone(step.case) if alone else _run(step.case, self._shared)
        return done[label][step.number]


def _run_alone(case: Case) -> list[_Seen]:
    with _application() as runner:
        return _run(case, runner)


@contextmanager
def _application() -> Iterator[Runner]:
    """A runner of cases on an application that nobody has used yet."""
    with memory_store() as store:
        app = create_app(SETTINGS, store)
        try:
            yield Runner(WsgiClient(app))
        finally:
            app.close()


def _run(case: Case, runner: Runner) -> list[_Seen]:
    """What each step of a case sent and was answered, the last time that it was done."""
    seen: dict[int, _Seen] = {}
    numbers = {id(step): number for number, step in enumerate(case.document["steps"])}
    normal = Normal(datetime.now(UTC))

    def observe(step: Mapping[str, Any], variables: Mapping[str, Any], answer: Answer) -> None:
        unique = str(variables["unique"])
        given = step["request"].get("json")
        body = None
        if isinstance(given, dict):
            body = json.loads(normal.text(dumps(substitute(given, variables)), unique))
        seen[numbers[id(step)]] = _Seen(body, _answered(answer, normal, unique))

    runner.run(case, observe)
    return [seen[number] for number in range(len(seen))]


def _answered(answer: Answer, normal: Normal, unique: str) -> Any:
    """The answer's JSON; its text where it is text; None where there is nothing to show."""
    text = normal.text(answer.body.decode("utf-8", "replace"), unique)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json"):
        return json.loads(text)
    return text if text and kind == "text/csv" else None


def written() -> str:
    """The text of the file of examples, as the cases give it now."""
    return json.dumps(build_examples(), ensure_ascii=False, indent=1, sort_keys=False) + "\n"


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    EXAMPLES_PATH.write_text(written(), encoding="utf-8")
