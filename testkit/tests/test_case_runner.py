"""The runner of the cases: it must send what is written, notice what is wrong, and say it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from testkit.case_clients import Answer
from testkit.case_matching import CaseError
from testkit.cases import Runner, answer_problems, load_case, load_cases
from testkit.tests.samples import always, get_step, make_answer, make_case


@pytest.mark.parametrize(
    "expect",
    [
        {"status": 201},
        {"status": 200, "json": {"a": 2}},
        {"status": 200, "json_exact": {}},
        {"status": 200, "absent": ["/a"]},
        {"status": 200, "absent": [""]},
        {"status": 200, "headers": {"Location": "/x"}},
        {"status": 200, "headers": {"X-Request-Id": None}},
        {"status": 200, "headers": {"X-Request-Id": "other"}},
        {"status": 200, "headers": {"X-Request-Id": {"$regex": "x"}}},
        {"status": 200, "body": '{"a": 1}'},
        {"status": 200, "contains": ['{"a":1}', "b"]},
    ],
)
def test_expectations_that_fail(expect: dict[str, Any]) -> None:
    assert answer_problems(expect, make_answer({"a": 1}), {})


def test_expectations_that_hold() -> None:
    expect = {
        "status": 200,
        "json": {"a": "${x}"},
        "json_exact": {"a": "y"},
        "absent": ["/b"],
        "headers": {"X-Request-ID": {"$regex": "r-.*"}, "Location": None},
        "body": '{"a":"${x}"}',
        "contains": ["${x}"],
    }
    assert answer_problems(expect, make_answer({"a": "y"}), {"x": "y"}) == []


def test_a_body_that_is_not_json_is_a_problem() -> None:
    answer = Answer(200, {}, b"<html>")
    assert "not JSON" in answer_problems({"status": 200, "json": {}}, answer, {})[0]


PROBLEM = {
    "type": "urn:coffer:problem:not_found",
    "title": "Not found",
    "status": 404,
    "code": "not_found",
    "detail": "There is nothing here; look elsewhere.",
}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (make_answer({}, headers={"x-request-id": ""}), "X-Request-Id"),
        (make_answer({}, headers={"content-type": "text/html"}), "Content-Type"),
        (make_answer({"amount": Decimal("1.5")}), "has a point"),
        (make_answer({"list": [{"amount": Decimal("1.5")}]}), "has a point"),
        (Answer(200, make_answer({}).headers, b"oops"), "not JSON"),
    ],
)
def test_house_rules(answer: Answer, told: str) -> None:
    with pytest.raises(CaseError, match=told):
        Runner(always(answer)).run(make_case(get_step()))


def test_csv_is_right_where_it_was_asked_for_and_nowhere_else() -> None:
    table = Answer(200, {"x-request-id": "r-1", "content-type": "text/csv; a=b"}, b"a,b\r\n")
    step = get_step()
    asked = {**step, "request": {"method": "GET", "path": "/api/v1/x?from=1&format=csv"}}
    Runner(always(table)).run(make_case(asked))
    with pytest.raises(CaseError, match="it is no CSV"):
        Runner(always(make_answer({}))).run(make_case(asked))
    with pytest.raises(CaseError, match="Content-Type"):
        Runner(always(table)).run(make_case(step))
    with pytest.raises(CaseError, match="expected"):
        Runner(always(make_answer({}, 404))).run(make_case({**asked, "expect": {"status": 404}}))


@pytest.mark.parametrize("member", sorted(PROBLEM))
def test_an_error_is_a_whole_problem_document(member: str) -> None:
    case = make_case(get_step({"status": 404}))
    Runner(always(make_answer(PROBLEM, 404))).run(case)
    lacking = {name: value for name, value in PROBLEM.items() if name != member}
    for document in (lacking, {**PROBLEM, member: 0}):
        with pytest.raises(CaseError, match=f"/{member}: expected"):
            Runner(always(make_answer(document, 404))).run(case)
    plain = make_answer(PROBLEM, 404, {"content-type": "application/json"})
    with pytest.raises(CaseError, match="Content-Type"):
        Runner(always(plain)).run(case)


def test_the_message_says_file_step_expected_and_came() -> None:
    case = make_case(get_step(), get_step({"json": {"a": 2}}))
    with pytest.raises(CaseError) as caught:
        Runner(always(make_answer({"a": 1}))).run(case)
    assert str(caught.value) == (
        "group/sample.json: step 2 of 2: GET /api/v1/wallets\n"
        "  /a: expected 2, got 1\n"
        '  the answer: 200 "{\\"a\\":1}"'
    )


def test_a_step_is_sent_as_it_is_written() -> None:
    sent: list[tuple[str, str, Mapping[str, str], bytes | None]] = []

    def client(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        sent.append((method, path, headers, body))
        return make_answer({"next": "a/b&c=ü", "list": [{"n": 7}]})

    post = {"method": "POST", "path": "/api/v1/x?cursor=${next}&n=${seven}"}
    runner = Runner(client)
    runner.run(
        make_case(
            get_step(save={"next": "/next", "seven": "/list/0/n", "id": "header X-Request-Id"}),
            {"request": {**post, "json": {"a": "${id}", "n": [1]}}, "expect": {"status": 200}},
            {
                "request": {**post, "headers": {"content-type": None, "A": "${long}"}, "body": "é"},
                "expect": {"status": 200},
            },
            {"request": {**post, "body_base64": "/w=="}, "expect": {"status": 200}},
            variables={"ab": "ab", "long": {"repeat": "${ab}", "times": 2}},
        )
    )
    path = "/api/v1/x?cursor=a/b%26c%3D%C3%BC&n=7"
    json_type = {"Content-Type": "application/json"}
    assert sent == [
        ("GET", "/api/v1/wallets", {}, None),
        ("POST", path, json_type, b'{"a":"r-1","n":[1]}'),
        ("POST", path, {"A": "abab"}, "é".encode()),
        ("POST", path, json_type, b"\xff"),
    ]


def test_repeat_counts() -> None:
    paths = []

    def client(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        paths.append(path)
        return make_answer({})

    step = {"request": {"method": "GET", "path": "/api/v1/${n}"}, "expect": {"status": 200}}
    Runner(client).run(make_case({**step, "repeat": 3}))
    assert paths == ["/api/v1/1", "/api/v1/2", "/api/v1/3"]


def test_unique_is_another_in_each_run() -> None:
    paths = set()

    def client(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        paths.add(path)
        return make_answer({})

    case = make_case(
        {"request": {"method": "GET", "path": "/api/v1/${unique}"}, "expect": {"status": 200}}
    )
    for _ in range(2):
        Runner(client).run(case)
    assert len(paths) == 2


def test_within_seconds_asks_again_but_not_for_ever() -> None:
    answers = iter([make_answer({"a": 1}), make_answer(PROBLEM, 404), make_answer({"a": 2})])
    case = make_case(get_step({"json": {"a": 2}}, within_seconds=5))
    Runner(lambda method, path, headers, body: next(answers)).run(case)
    with pytest.raises(CaseError, match="expected 2, got 1"):
        Runner(always(make_answer({"a": 1}))).run(
            make_case(get_step({"json": {"a": 2}}, within_seconds=1))
        )


@pytest.mark.parametrize("source", ["/b", "/a/0", "header Location"])
def test_what_cannot_be_saved_is_a_problem(source: str) -> None:
    with pytest.raises(CaseError, match="nothing to save as x"):
        Runner(always(make_answer({"a": 1}))).run(make_case(get_step(save={"x": source})))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": []}, "steps"),
        ({"name": "Other"}, "name"),
        ({"name": "other"}, "not that of the file"),
        ({"stores": ["disk"]}, "disk"),
        ({"stpes": []}, "stpes"),
        ({"description": ""}, "description"),
        ({"steps": [{"request": {"method": "GET", "path": "/"}}]}, "expect"),
        ({"steps": [get_step({"statsu": 1})]}, "statsu"),
        ({"steps": [get_step({"json": {"$tpye": "uuid"}})]}, "tpye"),
        ({"steps": [get_step({"json": [{"a": {"$type": "uuidd"}}]})]}, "uuidd"),
        ({"steps": [get_step({"json": {"$any": True, "a": 1}})]}, "any"),
        ({"steps": [get_step({"json": {"$regex": "("}})]}, "regex"),
        ({"steps": [get_step({"json": {"$seconds_after": ["${at}"]}})]}, "too short"),
        ({"steps": [get_step(save={"x": "id"})]}, "id"),
        ({"steps": [get_step(save={"X": "/id"})]}, "X"),
        ({"steps": [{**get_step(), "within_seconds": 99}]}, "99"),
        (
            {
                "steps": [
                    {
                        "request": {"method": "POST", "path": "/"},
                        "expect": {"status": 200},
                        "within_seconds": 1,
                    }
                ]
            },
            "GET",
        ),
        (
            {
                "steps": [
                    {
                        "request": {"method": "POST", "path": "/", "json": 1, "body": "1"},
                        "expect": {"status": 200},
                    }
                ]
            },
            "should not be valid",
        ),
        ({"expected_ledger": [{"wallet": "x", "balance": "1"}]}, "version"),
        ({"expected_events": [{"wallet": "x", "types": ["created"]}]}, "created"),
        ({"expected_notifications": [{"wallet": "x", "notifications": [{}]}]}, "type"),
        (
            {"expected_notifications": [{"notifications": [{"type": "coffer.message"}]}]},
            "not valid under any",
        ),
    ],
)
def test_a_file_that_the_schema_refuses(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    good = {"name": "sample", "description": "A sample of a case.", "steps": [get_step()]}
    path = tmp_path / "sample.json"
    path.write_text(json.dumps(good), encoding="utf-8")
    assert load_case(path).name == "sample"
    path.write_text(json.dumps({**good, **change}), encoding="utf-8")
    with pytest.raises(CaseError, match=told):
        load_case(path)


def test_a_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "sample.json").write_text("{", encoding="utf-8")
    with pytest.raises(CaseError, match="not JSON"):
        list(load_cases(tmp_path))
