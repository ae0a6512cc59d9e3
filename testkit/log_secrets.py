"""Looks for secrets in the logs of the programs that the suite starts: there are never any."""

from __future__ import annotations

import re
from typing import Final

_SECRETS: Final = {
    "an API key": re.compile(r"ck_[0-9a-f]{16}_[A-Za-z0-9_-]{43}"),
    "a token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "a password's hash": re.compile(r"\$argon2id\$v="),
    "a URL's password": re.compile(r"\b\w+://[^\s:/@]*:(?!\*\*\*@)[^\s@/\"]+@"),
}
MAX_SHOWN_CHARACTERS: Final = 200


class SecretLogged(AssertionError):
    """A log holds what it never may."""


def check_log(text: str) -> None:
    """Raises SecretLogged, which names the kind and the line with the secret cut out."""
    for kind, pattern in _SECRETS.items():
        for line in text.splitlines():
            if pattern.search(line):
                shown = pattern.sub("<...>", line)[:MAX_SHOWN_CHARACTERS]
                raise SecretLogged(f"{kind} in the log: {shown}")
