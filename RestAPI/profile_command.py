"""``python -m RestAPI profile SECONDS``: a flame graph of a service that runs."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlencode

import click
import orjson

from RestAPI.client import DEFAULT_URL, key_of, place_of
from WalletCore.command_line import CannotRun
from WalletCore.profiling import MAX_PROFILE_SECONDS, MIN_PROFILE_SECONDS

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 15.0
"""Beyond the profile's own time, how long the service may take."""
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_SHOWN_CHARACTERS: Final = 300

PROFILE_PATH: Final = "/api/v1/profile"
SUFFIXES: Final = {"speedscope": ".speedscope.json", "svg": ".svg"}


@click.command()
@click.argument("seconds", type=click.IntRange(MIN_PROFILE_SECONDS, MAX_PROFILE_SECONDS))
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the service is.")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with an API key of the scope admin; otherwise COFFER_KEY holds it.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(sorted(SUFFIXES)),
    default="speedscope",
    show_default=True,
    help="For https://www.speedscope.app, or a picture.",
)
@click.option("--waiting", is_flag=True, help="Show threads that only wait, too.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Where it is written; by default profile.speedscope.json or profile.svg.",
)
def profile(
    seconds: int, *, url: str, key_file: Path | None, form: str, waiting: bool, output: Path | None
) -> None:
    """Make a flame graph of one process of a running service.

    It looks for so many SECONDS at what the process does, which takes at most 3 % of a processor,
    and writes a file. Needs an API key of the scope admin where the service asks for keys.
    """
    address, key = place_of(url), key_of(key_file)
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    query = {"seconds": str(seconds), "format": form, "waiting": "true" if waiting else "false"}
    body = _ask(address, f"{PROFILE_PATH}?{urlencode(query)}", headers, seconds)
    file = output or Path(f"profile{SUFFIXES[form]}")
    try:
        file.write_bytes(body)
    except OSError as error:
        raise CannotRun(f"{file} cannot be written: {error.strerror}.") from None
    click.echo(f"{_title(body, form)}\nWritten to {file}.")


def _ask(address: SplitResult, path: str, headers: Mapping[str, str], seconds: int) -> bytes:
    """The body of a good answer. Raises CannotRun."""
    kind = http.client.HTTPSConnection
    if address.scheme == "http":
        kind = http.client.HTTPConnection  # type: ignore[assignment]
    connection = kind(address.hostname or "", address.port, timeout=CONNECT_SECONDS)
    where = f"{address.scheme}://{address.netloc}"
    try:
        connection.connect()
        if connection.sock is not None:
            connection.sock.settimeout(seconds + ANSWER_SECONDS)
        connection.request("GET", address.path.rstrip("/") + path, headers=dict(headers))
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise CannotRun(
            f"The service at {where} does not answer ({type(error).__name__}). Is it running, and "
            "is --url right?"
        ) from None
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise CannotRun(_refusal(response.status, body, where))
    if len(body) > MAX_ANSWER_BYTES:
        raise CannotRun(f"The answer of {where} is too large to be a profile.")
    return body


def _refusal(status: int, body: bytes, where: str) -> str:
    """Why there is no profile, and what to do."""
    try:
        detail = str(orjson.loads(body)["detail"])[:MAX_SHOWN_CHARACTERS]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        detail = "it is no Coffer, or something stands before it"
    detail = detail if detail.isprintable() else ascii(detail)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return (
            f"{where} refuses: {detail} A profile needs a key of the scope admin, in COFFER_KEY or "
            "in the file that --key-file names."
        )
    return f"{where} answers {status}: {detail}"


def _title(body: bytes, form: str) -> str:
    """What the profile says of itself. Raises CannotRun if it is none."""
    if form == "svg":
        if not body.startswith(b"<svg "):
            raise CannotRun("The service answered something that is no picture.")
        return f"A picture of {len(body):,} bytes."
    try:
        return str(orjson.loads(body)["name"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise CannotRun("The service answered something that is no profile.") from None
