"""Reading a body line by line, so that it may be of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from RestAPI.problems import BadRequest, BodyTooLarge, RequestTimeout

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, WSGIEnvironment

NDJSON_TYPE: Final = "application/x-ndjson"
MAX_LINE_BYTES: Final = 64 * 1024
MAX_BLANK_LINES: Final = 1000
"""In a row: a stream of nothing would keep its place for as long as it likes."""

READ_BYTES: Final = 64 * 1024


def lines_of(environ: WSGIEnvironment) -> Iterator[bytes]:
    """The lines of the body that are not blank, whether its length was announced or it comes in
    chunks.

    Raises BodyTooLarge for a line beyond MAX_LINE_BYTES, BadRequest if the body ends early, its
    chunks are broken or it goes on with blank lines, and RequestTimeout; what came before is given
    first.
    """
    rest = b""
    blank = 0
    for part in _parts(environ):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield _short_enough(line)
                blank = 0
                continue
            blank += 1
            if blank > MAX_BLANK_LINES:
                raise BadRequest(f"There are more than {MAX_BLANK_LINES} blank lines in a row.")
        _short_enough(rest)
    if rest.strip():
        yield rest


def _short_enough(line: bytes) -> bytes:
    if len(line) > MAX_LINE_BYTES:
        raise BodyTooLarge(f"A line has at most {MAX_LINE_BYTES} bytes.")
    return line


def _parts(environ: WSGIEnvironment) -> Iterator[bytes]:
    announced = environ.get("CONTENT_LENGTH")
    stream: InputStream = environ["wsgi.input"]
    left = int(announced) if announced else None
    if left is None and not environ.get("wsgi.input_terminated"):
        return
    while left is None or left > 0:
        try:
            part = stream.read(READ_BYTES if left is None else min(READ_BYTES, left))
        except RequestTimeout:
            raise
        except Exception as error:
            # Each server has classes of its own for a broken chunk or a lost client.
            raise BadRequest("The body could not be read to its end.") from error
        if not part:
            break
        left = None if left is None else left - len(part)
        yield part
    if left:
        raise BadRequest("The body ended before its Content-Length.")
