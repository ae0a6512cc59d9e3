"""Put random secrets for the containers into ``.env`` where it has none; make it if need be."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

ENV_FILE = Path(__file__).resolve().parent.parent / ".env"
PASSWORD_BYTES = 24
JWT_SECRET_BYTES = 32
KEY_ID_BYTES = 8
KEY_SECRET_BYTES = 32
OWNER_ONLY = 0o600


def password() -> str:
    """A password that can stand in a URL."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def api_key() -> str:
    """An API key, as WalletCore.keys has it, which may do everything."""
    return f"ck_{secrets.token_hex(KEY_ID_BYTES)}_{secrets.token_urlsafe(KEY_SECRET_BYTES)}"


def jwt_secret() -> str:
    """What signs the tokens of the shop."""
    return secrets.token_urlsafe(JWT_SECRET_BYTES)


SECRETS = {
    "POSTGRES_PASSWORD": password,
    "RABBITMQ_DEFAULT_PASS": password,
    "REDIS_PASSWORD": password,
    "COFFER_SERVICE_PASSWORD": password,
    "COFFER_WORKER_PASSWORD": password,
    "COFFER_TESTS_PASSWORD": password,
    "COFFER_BOOTSTRAP_KEY": api_key,
    "COFFER_JWT_SECRET": jwt_secret,
    "GRAFANA_ADMIN_PASSWORD": password,
}
"""What is needed, and what makes it."""


def complete(file: Path) -> list[str]:
    """Add what is missing, leave what is set. Returns the names that were added."""
    text = (
        file.read_text() if file.exists() else "# Made by `make up`. All settings: .env.example\n"
    )
    missing = [name for name in SECRETS if not re.search(rf"^{name}=\S", text, re.MULTILINE)]
    if missing:
        kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in missing]
        added = [f"{name}={SECRETS[name]()}" for name in missing]
        _replace(file, "\n".join([*kept, *added, ""]))
    return missing


def get(file: Path, name: str) -> str | None:
    """What is set under ``name``, None for nothing."""
    found = re.search(rf"^{name}=(\S+)", file.read_text(), re.MULTILINE) if file.exists() else None
    return found[1] if found else None


def put(file: Path, name: str, value: str) -> None:
    """Set ``name``, whatever it was before."""
    lines = file.read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0].strip() != name]
    _replace(file, "\n".join([*kept, f"{name}={value}", ""]))


def _replace(file: Path, text: str) -> None:
    """Write the file anew, readable by its owner only from its first moment."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "w") as opened:
        opened.write(text)
    new.replace(file)
