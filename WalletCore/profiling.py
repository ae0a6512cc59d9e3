"""Profiles of the running process: a thread looks at what all others do, some times a second.

A look needs Python's lock, which a thread lets go of when it begins to wait, or after 5 ms if
another one wants it: nearly all of a request would be seen as waiting. So just before a look that
time is made short, for some tenths of a millisecond; all the time it would cost half as much again.
A thread that waits (for a lock, a socket, its next task) is left out, unless it is asked for. A
profile holds on to no frame and no value, only to code.
https://docs.python.org/3/library/sys.html#sys._current_frames
"""

from __future__ import annotations

import dis
import os
import random
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Final

from WalletCore.domain.errors import ProfileRunning, Unavailable

MIN_PROFILE_SECONDS: Final = 1
MAX_PROFILE_SECONDS: Final = 60
"""A profile keeps the thread of its request."""

SAMPLES_PER_SECOND: Final = 50
MAX_SHARE_OF_TIME: Final = 0.03
"""The most of one processor that looking may take: where a look at all threads takes longer, there
are fewer looks."""

SWITCH_SECONDS: Final = 0.0001
"""How long a thread may keep Python's lock from a look.
https://docs.python.org/3/library/sys.html#sys.setswitchinterval"""
MIN_LEAD_SECONDS: Final = 0.0001
MAX_LEAD_SECONDS: Final = 0.0007
"""How long before a look that begins: at random, for the lock came at no random moment."""

MAX_STACKS: Final = 5_000
"""Different stacks of a profile; what is beyond is counted as one."""
MAX_FRAMES: Final = 100
"""Of a stack, from its root; what is deeper is counted as one frame."""

OTHER_STACKS: Final = "(other stacks)"
DEEPER: Final = "(deeper)"
WAITING: Final = "(waiting)"

_WAITS: Final = frozenset(
    {"acquire", "wait", "wait_for", "select", "poll", "accept", "recv", "recv_into", "recvfrom"}
    | {"sleep", "fetch", "wait_c", "sigwait", "pause", "join", "epoll", "kqueue"}
)
"""What a thread calls to wait."""
_MAY_WAIT: Final = frozenset({"get", "read", "readinto", "readline", "send", "sendall", "execute"})
"""What may wait: it does if the thread is still there at the next look."""

_DIGITS: Final = re.compile(r"[-_.\d]+(?=$|[ )])")


@dataclass(frozen=True, slots=True)
class Function:
    """A frame of the graph: ``file`` as the program imports it, ``line`` where it begins."""

    name: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was seen. ``stacks``: how often each, its functions from the root on.

    ``samples``: looks at all threads; ``waiting``: how often a thread waited; ``cost``: the share
    of one processor that looking took.
    """

    pid: int
    seconds: float
    samples: int
    waiting: int
    cost: float
    stacks: dict[tuple[Function, ...], int] = field(default_factory=dict)

    @property
    def microseconds_per_sample(self) -> int:
        """What one of the counts stands for."""
        return round(self.seconds * 1_000_000 / max(1, self.samples))


class Profiler:
    """Makes the profiles of this process, one at a time."""

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._ending = threading.Event()
        self._ends_at = 0.0

    def profile(self, seconds: float, *, waiting: bool = False) -> Profile:
        """Look for so many seconds, or until ``end``; the caller's thread does it and is not seen.

        ``waiting``: threads that wait are in it, too, below the frame WAITING.
        Raises ProfileRunning, and Unavailable after ``end``.
        """
        if not self._running.acquire(blocking=False):
            left = max(1, round(self._ends_at - time.monotonic()))
            raise ProfileRunning(
                f"Process {os.getpid()} makes a profile already. Retry in {left} s.",
                retry_after_seconds=left,
            )
        try:
            if self._ending.is_set():
                raise Unavailable("This process is shutting down; there is no profile.")
            self._ends_at = time.monotonic() + seconds
            return _Sampler(waiting=waiting).run(self._ends_at, self._ending)
        finally:
            self._running.release()

    def end(self) -> None:
        """Let a profile that is being made end now, with what it has; none follows."""
        self._ending.set()


class _Sampler:
    """One profile in the making."""

    def __init__(self, *, waiting: bool) -> None:
        self._waiting = waiting
        self._counts: dict[tuple[object, ...], int] = {}
        # By id, because code is hashed by all that is in it; kept, so that no id is used again.
        self._codes: dict[int, CodeType] = {}
        self._callees: dict[tuple[int, int], str] = {}
        self._names: dict[int, str] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._waited = 0
        self._others = 0

    def run(self, ends_at: float, ending: threading.Event) -> Profile:
        """Look until ``ends_at``, a time of the monotonic clock."""
        started, worked = time.monotonic(), time.thread_time()
        looks, interval = 0, 1 / SAMPLES_PER_SECOND
        while (now := time.monotonic()) < ends_at:
            if ending.wait(min(interval, ends_at - now)):
                break
            self._look(_frames())
            looks += 1
            used = (time.thread_time() - worked) / looks
            interval = max(1 / SAMPLES_PER_SECOND, used / MAX_SHARE_OF_TIME)
        seconds = time.monotonic() - started
        return Profile(
            pid=os.getpid(),
            seconds=seconds,
            samples=looks,
            waiting=self._waited,
            cost=(time.thread_time() - worked) / max(seconds, 1e-9),
            stacks=self._stacks(),
        )

    def _look(self, frames: dict[int, FrameType]) -> None:
        me = threading.get_ident()
        places: dict[int, tuple[int, int]] = {}
        for ident, frame in frames.items():
            if ident == me:
                continue
            places[ident] = place = (id(frame), frame.f_lasti)
            waits = self._waits(frame, stays=self._places.get(ident) == place)
            self._waited += waits
            if self._waiting or not waits:
                self._count(ident, frame, waits=waits)
        self._places = places

    def _waits(self, frame: FrameType, *, stays: bool) -> bool:
        """Whether the thread whose innermost frame this is does nothing but wait."""
        place = (id(frame.f_code), frame.f_lasti)
        callee = self._callees.get(place)
        if callee is None:
            self._codes[place[0]] = frame.f_code
            callee = self._callees[place] = called_at(frame.f_code, frame.f_lasti)
        return callee in _WAITS or (stays and callee in _MAY_WAIT)

    def _count(self, ident: int, frame: FrameType, *, waits: bool) -> None:
        codes, ids = self._codes, []
        current: FrameType | None = frame
        while current is not None:
            code = current.f_code
            ids.append(id(code))
            codes[id(code)] = code
            current = current.f_back
        key: tuple[object, ...] = (self._name(ident), waits, *ids[-MAX_FRAMES:])
        if len(ids) > MAX_FRAMES:
            key = (*key[:2], None, *key[2:])
        if key in self._counts:
            self._counts[key] += 1
        elif len(self._counts) < MAX_STACKS:
            self._counts[key] = 1
        else:
            self._others += 1

    def _name(self, ident: int) -> str:
        """The thread's name without its number: threads that do the same are one."""
        name = self._names.get(ident)
        if name is None:
            self._names |= {
                thread.ident: _DIGITS.sub("", thread.name) or "thread"
                for thread in threading.enumerate()
                if thread.ident is not None
            }
            name = self._names.setdefault(ident, "thread")
        return name

    def _stacks(self) -> dict[tuple[Function, ...], int]:
        functions: dict[object, Function] = {None: Function(DEEPER)}
        functions.update({number: _function(code) for number, code in self._codes.items()})
        stacks: dict[tuple[Function, ...], int] = {}
        for (name, waits, *ids), count in self._counts.items():
            stack = (
                Function(f"thread {name}"),
                *(functions[number] for number in reversed(ids)),
                *((Function(WAITING),) if waits else ()),
            )
            stacks[stack] = stacks.get(stack, 0) + count
        if self._others:
            stacks[Function(OTHER_STACKS),] = self._others
        return stacks


def _frames() -> dict[int, FrameType]:
    """The innermost frame of every thread, at a moment that no thread has chosen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        time.sleep(random.uniform(MIN_LEAD_SECONDS, MAX_LEAD_SECONDS))  # noqa: S311 - no secret
        return sys._current_frames()  # noqa: SLF001 - documented
    finally:
        sys.setswitchinterval(before)


def called_at(code: CodeType, offset: int) -> str:
    """The name of what the call at ``offset`` in ``code`` calls; empty where there is no call.

    The name is the last one before the call that begins where the call begins in the source: what
    is in its arguments begins later.
    """
    names: dict[tuple[int | None, int | None], str] = {}
    for instruction in dis.get_instructions(code):
        positions = instruction.positions
        start = (positions.lineno, positions.col_offset) if positions else (None, None)
        if instruction.offset > offset:
            break
        if instruction.opname.startswith("CALL") and instruction.offset == offset:
            return names.get(start, "")
        if instruction.opname.startswith("LOAD_") and isinstance(instruction.argval, str):
            names[start] = instruction.argval
    return ""


def _function(code: CodeType) -> Function:
    return Function(code.co_qualname, short_path(code.co_filename), code.co_firstlineno)


def short_path(path: str) -> str:
    """``path`` as of the folder that it was imported from: nothing of where that is."""
    folders = sorted((folder for folder in sys.path if folder), key=len, reverse=True)
    for folder in (*folders, os.getcwd()):  # noqa: PTH109 - compared as text
        start = folder.rstrip(os.sep) + os.sep
        if path.startswith(start):
            return path[len(start) :]
    return path.rpartition(os.sep)[2]
