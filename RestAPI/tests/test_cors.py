"""Which pages of others a browser lets use the API."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from RestAPI.cors import ALLOWED_HEADERS, ALLOWED_METHODS, MAX_AGE_SECONDS, Cors
from RestAPI.endpoint import DRY_RUN_HEADER
from RestAPI.rate_limits import Limit, LocalRateLimits, rate_limit_headers

APP = "https://app.example"
COST_LIMIT_SECONDS = 20e-6
"""It takes some 0.5 us; the machine of a test run is shared."""


def cors(origins: str) -> Cors:
    return Cors(origins, open_access=False)


def asked(
    origin: str | None, method: str = "OPTIONS", wanted: str | None = "POST"
) -> dict[str, str]:
    environ = {"REQUEST_METHOD": method}
    if origin is not None:
        environ["HTTP_ORIGIN"] = origin
    if wanted is not None:
        environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"] = wanted
    return environ


def listed(headers: dict[str, str], name: str) -> set[str]:
    return set(headers[f"Access-Control-{name}"].split(", "))


@pytest.mark.parametrize("origins", ["", " ", ",, ,"])
def test_by_default_nobody_is_let_in_and_nothing_is_said(origins: str) -> None:
    off = cors(origins)
    for origin in (APP, "null", "*", "", None):
        assert off.preflight(asked(origin)) is None
        assert off.headers(asked(origin, "GET")) == []
    assert not off.allows(APP)
    assert not off.allows("")


def test_a_listed_page_may_ask_and_read() -> None:
    both = cors(f"{APP}, http://localhost:3000")
    for origin in (APP, "http://localhost:3000"):
        assert both.allows(origin)
        headers = dict(both.headers(asked(origin, "GET")))
        assert headers["Access-Control-Allow-Origin"] == origin
        assert headers["Vary"] == "Origin"
        preflight = dict(both.preflight(asked(origin)) or ())
        assert preflight["Access-Control-Allow-Origin"] == origin
        assert preflight["Vary"] == "Origin"
        assert preflight["Access-Control-Max-Age"] == str(MAX_AGE_SECONDS)
        assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= listed(preflight, "Allow-Methods")
        assert listed(preflight, "Allow-Headers") == {
            *("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"),
            *("traceparent", "Last-Event-ID"),
        }


def test_what_we_answer_with_can_be_read() -> None:
    exposed = listed(dict(cors(APP).headers(asked(APP, "GET"))), "Expose-Headers")
    limit = Limit(1, 1)
    limits = LocalRateLimits()
    limits.take("x", limit)
    of_limits = {name for name, _ in rate_limit_headers(limit, limits.take("x", limit))}
    assert exposed == of_limits | {
        *("X-Request-Id", "Location", "Idempotency-Replayed", DRY_RUN_HEADER)
    }


@pytest.mark.parametrize(
    "origin",
    [
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil.example/https://app.example",
        "https://xapp.example",
        "https://sub.app.example",
        "https://app.example/",
        "https://app.example, https://app.example",
        "HTTPS://APP.EXAMPLE",
        "null",
        "*",
        "",
        None,
    ],
)
def test_any_other_page_is_told_nothing(origin: str | None) -> None:
    some = cors(f"{APP},http://localhost:3000")
    assert origin is None or not some.allows(origin)
    assert some.preflight(asked(origin)) is None
    # A cache still has to keep this answer apart from one that a page may read.
    assert some.headers(asked(origin, "GET")) == [("Vary", "Origin")]


@pytest.mark.parametrize(
    ("method", "wanted"), [("GET", "POST"), ("POST", "POST"), ("OPTIONS", None), ("HEAD", "GET")]
)
def test_only_a_browsers_question_is_a_preflight(method: str, wanted: str | None) -> None:
    for some in (cors(APP), cors("*")):
        assert some.preflight(asked(APP, method, wanted)) is None
        assert some.preflight(asked(APP)) is not None
        assert some.preflight(asked(None)) is None


def test_any_page_may_be_let_in() -> None:
    everybody = cors(" * ")
    for origin in (APP, "null", "http://127.0.0.1:1"):
        assert everybody.allows(origin)
        for headers in (
            everybody.headers(asked(origin, "GET")),
            everybody.preflight(asked(origin)),
        ):
            assert dict(headers or ())["Access-Control-Allow-Origin"] == "*"
    assert dict(everybody.headers(asked(None, "GET")))["Access-Control-Allow-Origin"] == "*"


def test_any_page_is_too_much_where_nobody_is_asked_for_a_key() -> None:
    with pytest.raises(ValueError, match=r"COFFER_CORS_ORIGINS: .* COFFER_ACCESS=keys"):
        Cors("*", open_access=True)
    assert Cors(APP, open_access=True).allows(APP)


@pytest.mark.parametrize("origins", [APP, "*"])
def test_never_with_credentials(origins: str) -> None:
    some = cors(origins)
    for headers in (some.headers(asked(APP, "GET")), some.preflight(asked(APP))):
        assert headers
        assert not any(name == "Access-Control-Allow-Credentials" for name, _ in headers)


@pytest.mark.parametrize(
    ("entry", "origin"),
    [
        ("HTTPS://App.Example", APP),
        ("https://app.example:443", APP),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://app.example:08080", "http://app.example:8080"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("http://192.0.2.1:65535", "http://192.0.2.1:65535"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(entry: str, origin: str) -> None:
    assert cors(f"https://other.example,{entry}").allows(origin)


@pytest.mark.parametrize(
    "entry",
    [
        "https://app.example/",
        "https://app.example/path",
        "https://app.example?x",
        "https://user@app.example",
        "https://*.example",
        "https://app.example:",
        "https://app.example:0",
        "https://app.example:65536",
        "https://app..example",
        "https://.",
        "https://",
        "https://[::1",
        "https://[1.2.3.4]",
        "https://m\xfcnchen.example",
        "https://app.example https://b.example",
        "https://app.example\n",
        "https://app.\x00example",
        "app.example",
        "//app.example",
        "null",
        "*,https://app.example",
        "https://app.example,*",
    ],
)
def test_what_is_no_origin_is_refused_with_the_reason(entry: str) -> None:
    # Blanks around an entry are none of it, so a line's end is put inside.
    with pytest.raises(ValueError, match=r"^COFFER_CORS_ORIGINS: ") as caught:
        cors(entry.replace("\n", "\n.x"))
    assert str(caught.value).isprintable()


@given(st.text(max_size=60))
def test_only_exactly_what_is_listed_is_let_in(origin: str) -> None:
    some = cors(f"{APP},http://localhost:3000")
    assert some.allows(origin) is (origin in (APP, "http://localhost:3000"))


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", ""]))
def test_whatever_is_set_works_or_says_why(text: str, scheme: str) -> None:
    said, headers = "", []
    try:
        some = cors(scheme + text)
        headers = some.headers(asked(scheme + text, "GET"))
    except ValueError as error:
        said = str(error)
    assert said == "" or said.startswith("COFFER_CORS_ORIGINS: ")
    for shown in (said, *(name + value for name, value in headers)):
        assert shown.isprintable()
        assert shown.isascii()


def test_names_are_tokens_that_no_list_needs_to_quote() -> None:
    for name in (*ALLOWED_METHODS, *ALLOWED_HEADERS):
        assert name.replace("-", "").isalpha()


def test_it_costs_next_to_nothing() -> None:
    some, environ = cors(APP), asked(APP, "GET")
    times = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(100):
            some.headers(environ)
        times.append((time.perf_counter() - started) / 100)
    assert min(times) < COST_LIMIT_SECONDS
