"""The pages for people: nothing inline, nothing from elsewhere, vendored files as they came."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

STATIC = Path(__file__).resolve().parents[1] / "static"
VENDOR = STATIC / "vendor"
PAGES = {"/": STATIC / "console.html", "/docs": STATIC / "docs.html", "/shop": STATIC / "shop.html"}


def test_vendored_files_are_those_that_were_checked_in() -> None:
    listed: dict[str, str] = {}
    for name, entry in json.loads((VENDOR / "vendor.json").read_text()).items():
        assert entry["version"], name
        assert entry["licence"], name
        listed |= entry["sha256"]
    found = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert found == listed


@pytest.mark.parametrize("path", PAGES)
def test_pages_keep_to_their_policy(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    page = answer.get_data(as_text=True)
    assert answer.mimetype == "text/html"
    assert page == PAGES[path].read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/"), address
        with client.get(address) as linked:
            assert linked.status_code == 200, address


def test_swagger_ui_asks_nobody_else() -> None:
    script = (STATIC / "docs.js").read_text()
    assert "validatorUrl: null" in script
    for path in STATIC.glob("*.*"):
        if path.suffix in {".js", ".css", ".html"}:
            hosts = set(re.findall(r"https?://([^/\s\"'`]+)", path.read_text()))
            assert hosts <= {"127.0.0.1:8000"}, path
