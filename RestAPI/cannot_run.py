"""The error of the command line: something must be put right before a command can do its work."""

from __future__ import annotations

import click


class CannotRun(click.ClickException):
    """Printed as one line, without a traceback. The text says what is wrong and what to do."""

    exit_code = 2
