"""axe-core: what a page does wrong for those who see it differently, or hear it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

SOURCE: Final = Path(__file__).resolve().parents[1] / "vendor" / "axe-core" / "axe.min.js"
GRAVE: Final = {"serious", "critical"}


@cache
def _source() -> str:
    return SOURCE.read_text()


def grave_faults(page: Page) -> list[str]:
    """Every serious or critical violation in the page as it is shown now, with its elements.

    The source is evaluated by the browser's own debugger, which the page's policy does not concern.
    """
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(_source())
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
    )
    return [
        f"{violation['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in found
        for node in violation["nodes"]
        if violation["impact"] in GRAVE
    ]
