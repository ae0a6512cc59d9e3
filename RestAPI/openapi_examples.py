"""Examples of requests and answers, taken from the cases of ``tests_data`` by ``make examples``.

The file is part of the package, so that a service without the tests has it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from WalletCore.domain.model import Document

EXAMPLES_PATH: Final = Path(__file__).resolve().parent / "examples.json"


class Examples:
    """What the cases sent and were answered, by endpoint; ``written`` as testkit.examples says."""

    def __init__(self, written: Mapping[str, Any]) -> None:
        self._written = written

    def requests(self, endpoint: str) -> Document:
        """Bodies that were accepted, by the name of their case."""
        return dict(self._written.get(endpoint, {}).get("requests", {}))

    def answers(self, endpoint: str, status: int, *, text: bool = False) -> Document:
        """Answers of a status by their code, or the name of their case: those that are JSON, or
        else those that are text.
        """
        found = self._written.get(endpoint, {}).get("answers", {}).get(str(status), {})
        return {
            name: example
            for name, example in found.items()
            if isinstance(example["value"], str) is text
        }


def load_examples() -> Examples:
    """Those of the file beside this module. Raises OSError, ValueError."""
    return Examples(json.loads(EXAMPLES_PATH.read_text(encoding="utf-8")))
