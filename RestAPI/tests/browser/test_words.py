"""The languages of the console say the same, and all that it says is there to be said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

STATIC: Final = Path(__file__).resolve().parents[2] / "static"
LANGUAGES: Final = ("en", "ru")
PLURALS: Final = {"en": {"one", "other"}, "ru": {"one", "few", "many", "other"}}

# What stands between the parts of a template is known only while it runs.
_CALL: Final = re.compile(r"""\bt\(\s*(?:"([^"]+)"|`([^`]+)`)""")
_TERNARY: Final = re.compile(r"""\bt\(\s*[^"`)]*\?\s*"([^"]+)"\s*:\s*"([^"]+)"\s*[,)]""")
_WRONG: Final = re.compile(r"""(?:FieldWrong\([^,]+,|AmountUnclear\()\s*([^;]+)\);""")

Words = dict[str, Any]


@pytest.fixture
def words(page: Page) -> dict[str, Words]:
    """The words of each language, as the page has them."""
    load = "async (code) => (await import(`/static/console/words/${code}.js`)).default"
    return {code: page.evaluate(load, code) for code in LANGUAGES}


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_the_languages_have_the_same_keys_with_the_same_placeholders(
    words: dict[str, Words],
) -> None:
    english, russian = words["en"], words["ru"]
    assert english.keys() == russian.keys()
    for key, text in english.items():
        other = russian[key]
        assert isinstance(text, str) == isinstance(other, str), key
        if isinstance(text, str):
            assert placeholders(text) == placeholders(other), key
            assert text.strip(), key
            assert other.strip(), key
        else:
            assert text.keys() == PLURALS["en"], key
            assert other.keys() == PLURALS["ru"], key
            assert placeholders(text["other"]) == placeholders(other["other"]), key


def sources() -> list[Path]:
    return [path for path in STATIC.rglob("*.js") if not {"words", "vendor"} & {*path.parts}]


def asked_for() -> set[str]:
    """Every key in the sources; of one that is put together, a pattern."""
    keys = set()
    for path in sources():
        text = path.read_text()
        for plain, template in _CALL.findall(text):
            keys.add(re.escape(plain) if plain else _pattern(template))
        for pair in _TERNARY.findall(text):
            keys |= {re.escape(key) for key in pair}
        for arguments in _WRONG.findall(text):
            keys |= {re.escape(key) for key in re.findall(r'"(\w+\.\w+)"', arguments)}
    return keys


def _pattern(template: str) -> str:
    """A template of JavaScript as a pattern for the keys that it can give."""
    return "".join(
        r"[\w.-]+" if part.startswith("${") else re.escape(part)
        for part in re.split(r"(\$\{[^}]*\})", template)
    )


def test_all_that_the_sources_say_is_there(words: dict[str, Words]) -> None:
    keys = asked_for()
    assert len(keys) > 100
    missing = {key for key in keys if not any(re.fullmatch(key, there) for there in words["en"])}
    assert missing == set()


def test_nothing_is_there_that_nobody_says(words: dict[str, Words]) -> None:
    keys = asked_for()
    whole = "\n".join(path.read_text() for path in sources())
    unsaid = {
        there
        for there in words["en"]
        if not any(re.fullmatch(key, there) for key in keys) and f'"{there}"' not in whole
    }
    # Refusals are found by the codes of the service.
    assert {key for key in unsaid if not key.startswith("refused.")} == set()


def test_every_refusal_is_one_of_the_service(words: dict[str, Words], page: Page) -> None:
    # Those of the shop have no codes; its page makes some out of what it says.
    own = ("refused.unreachable", "refused.shop_")
    document = page.evaluate("async () => (await (await fetch('/openapi.json')).text())")
    for key in words["en"]:
        if key.startswith("refused.") and not key.startswith(own):
            assert key.removeprefix("refused.") in document, key
