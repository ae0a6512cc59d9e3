"""The API key with which a command of the shell asks a running service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from WalletCore.command_line import CannotRun

KEY_VARIABLE: Final = "COFFER_KEY"
MAX_KEY_FILE_BYTES: Final = 4096


def key_headers(key_file: Path | None) -> dict[str, str]:
    """The header with the key in ``key_file`` or, without, in COFFER_KEY; none without a key.

    It is never an argument: those are in the list of processes. Raises CannotRun.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if key_file is not None:
        try:
            with key_file.open("rb") as file:
                key = file.read(MAX_KEY_FILE_BYTES + 1).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise CannotRun(f"No key can be read from {key_file}.") from None
        if not key:
            raise CannotRun(f"{key_file} is empty; it should hold a key.")
    if not key:
        return {}
    if len(key) > MAX_KEY_FILE_BYTES or not key.isascii() or not key.isprintable() or " " in key:
        raise CannotRun(f"What {key_file or KEY_VARIABLE} holds is no key: one line, ck_...")
    return {"Authorization": f"Bearer {key}"}
