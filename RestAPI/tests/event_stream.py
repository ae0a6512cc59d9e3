"""Reading Server-Sent Events as the standard says, for the tests of the stream.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

STREAM: Final = "/api/v1/notifications/stream"
READ_SECONDS: Final = 20.0


@dataclass
class ServerEvent:
    """An event that was dispatched: its id is the last one that came, in it or before it."""

    id: str
    type: str
    data: Any


@dataclass
class Interpreter:
    """What EventSource does with the lines of a stream."""

    last_event_id: str = ""
    retry_milliseconds: int | None = None
    comments: int = 0
    _type: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, lines: Iterable[str]) -> Iterator[ServerEvent]:
        """The events of ``lines``, which have no ends."""
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                yield ServerEvent(self.last_event_id, self._type, json.loads("\n".join(self._data)))
                self._data.clear()
                self._type = ""

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments += 1
            case "id":
                self.last_event_id = value
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "retry":
                self.retry_milliseconds = int(value)
            case _:
                raise AssertionError(f"no field of an event: {line!r}")


class EventReader:
    """A stream of the server at ``port``, read over HTTP. A context manager."""

    def __init__(self, port: int, query: str = "", last_event_id: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READ_SECONDS)
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        self._connection.request("GET", f"{STREAM}?{query}", headers=headers)
        self.response = self._connection.getresponse()
        self.interpreter = Interpreter()
        self._events = self.interpreter.feed(self._lines())

    def begin(self) -> str:
        """Wait for the first lines; the id with which the stream begins."""
        while not self.interpreter.last_event_id:
            list(self.interpreter.feed([self._line()]))
        return self.interpreter.last_event_id

    def take(self, count: int) -> list[ServerEvent]:
        """The next events, waited for."""
        return [next(self._events) for _ in range(count)]

    def rest(self) -> list[ServerEvent]:
        """All that comes until the server ends the stream."""
        return list(self._events)

    def close(self) -> None:
        """Go away without a word."""
        self._connection.close()
        self.response.close()

    def _line(self) -> str:
        return self.response.readline().decode().removesuffix("\n")

    def _lines(self) -> Iterator[str]:
        while line := self.response.readline():
            yield line.decode().removesuffix("\n")

    def __enter__(self) -> Self:
        """The stream."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
