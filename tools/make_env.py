"""Put random passwords for the containers into ``.env`` where it has none; make it if need be."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

ENV_FILE = Path(__file__).resolve().parent.parent / ".env"
NAMES = (
    *("POSTGRES_PASSWORD", "RABBITMQ_DEFAULT_PASS", "REDIS_PASSWORD"),
    *("COFFER_SERVICE_PASSWORD", "COFFER_WORKER_PASSWORD", "COFFER_TESTS_PASSWORD"),
)
PASSWORD_BYTES = 24
OWNER_ONLY = 0o600


def complete(file: Path) -> list[str]:
    """Add what is missing, leave what is set. Returns the names that were added."""
    text = (
        file.read_text() if file.exists() else "# Made by `make up`. All settings: .env.example\n"
    )
    missing = [name for name in NAMES if not re.search(rf"^{name}=\S", text, re.MULTILINE)]
    if missing:
        kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in missing]
        added = [f"{name}={secrets.token_urlsafe(PASSWORD_BYTES)}" for name in missing]
        _replace(file, "\n".join([*kept, *added, ""]))
    return missing


def _replace(file: Path, text: str) -> None:
    """Write the file anew, readable by its owner only from its first moment."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as opened:
        opened.write(text)
    new.replace(file)
