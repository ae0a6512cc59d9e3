"""What the command lines of service and worker share: their settings, and how they say no."""

from __future__ import annotations

import click
from pydantic import ValidationError

from WalletCore.settings import Settings, load_settings


class CannotRun(click.ClickException):
    """Printed as one line, without a traceback. The text says what is wrong and what to do."""

    exit_code = 2


def usable_settings() -> Settings:
    """The settings. Raises CannotRun with a line for each that cannot be used."""
    try:
        return load_settings()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        lines = [
            f"COFFER_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            for fault in faults
        ]
        raise CannotRun("\n".join(lines)) from None


def refuse_memory(settings: Settings, what: str) -> None:
    """Raise CannotRun where everything is kept in the memory of a server."""
    if settings.in_memory:
        raise CannotRun(
            f"memory:// keeps everything in the one process of its server, which does what "
            f"{what} does elsewhere. Set COFFER_DATABASE_URL to a PostgreSQL to run {what}."
        )
