"""The protocol of the balance cache as a model: every interleaving of its steps is tried.

Writers commit, delete value and lease, and answer. Readers look, take the lease on a miss, read
PostgreSQL, and fill if the lease is still theirs. Anything in Redis may vanish at any moment. No
read may show less than what had been acknowledged when it began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import pytest

Protocol: TypeAlias = Literal["leases", "no leases", "answers before deleting", "no waiting"]


@dataclass(frozen=True)
class Cached:
    """Something in Redis: ``content`` is a version, or the reader that holds the lease.

    ``seen`` is the version that PostgreSQL had when the lease was taken: what is younger than a
    writer's commit needs no waiting for.
    """

    content: int
    seen: int


@dataclass(frozen=True)
class Reader:
    step: Literal["begin", "missed", "read", "end"] = "begin"
    leased: bool = False
    seen: int = 0
    acknowledged: int = 0
    version: int = 0


@dataclass(frozen=True)
class Writer:
    """``cut_off``: it does not reach Redis, and waits until all of its time has expired."""

    cut_off: bool
    step: Literal["begin", "committed", "deleted", "end"] = "begin"
    version: int = 0


@dataclass(frozen=True)
class World:
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    version: int = 1
    acknowledged: int = 1
    value: Cached | None = None
    lease: Cached | None = None

    def with_writer(self, index: int, writer: Writer, **changes: object) -> World:
        writers = (*self.writers[:index], writer, *self.writers[index + 1 :])
        return replace(self, writers=writers, **changes)  # type: ignore[arg-type]

    def with_reader(self, index: int, reader: Reader, **changes: object) -> World:
        readers = (*self.readers[:index], reader, *self.readers[index + 1 :])
        return replace(self, readers=readers, **changes)  # type: ignore[arg-type]


class StaleRead(Exception):
    pass


def steps(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    for index, writer in enumerate(world.writers):
        yield from writer_steps(world, index, writer, protocol)
    for index, reader in enumerate(world.readers):
        yield from reader_steps(world, index, reader, protocol)
    # Expiry, eviction, a flush, a restart.
    if world.value is not None:
        yield "the value vanishes", replace(world, value=None)
    if world.lease is not None:
        yield "the lease vanishes", replace(world, lease=None)


def writer_steps(
    world: World, index: int, writer: Writer, protocol: Protocol
) -> Iterator[tuple[str, World]]:
    name = f"writer {index}"
    if writer.step == "begin":
        version = world.version + 1
        yield (
            f"{name} commits {version}",
            world.with_writer(
                index, replace(writer, step="committed", version=version), version=version
            ),
        )
    elif writer.step == "committed":
        if protocol == "answers before deleting":
            answered = max(world.acknowledged, writer.version)
            yield (
                f"{name} answers",
                world.with_writer(index, replace(writer, step="deleted"), acknowledged=answered),
            )
        elif not writer.cut_off:
            yield (
                f"{name} deletes",
                world.with_writer(index, replace(writer, step="deleted"), value=None, lease=None),
            )
        elif protocol == "no waiting" or not any(
            cached is not None and cached.seen < writer.version
            for cached in (world.value, world.lease)
        ):
            yield f"{name} has waited", world.with_writer(index, replace(writer, step="deleted"))
    elif writer.step == "deleted":
        ended = replace(writer, step="end")
        if protocol == "answers before deleting":
            yield f"{name} deletes", world.with_writer(index, ended, value=None, lease=None)
        else:
            answered = max(world.acknowledged, writer.version)
            yield f"{name} answers", world.with_writer(index, ended, acknowledged=answered)


def reader_steps(
    world: World, index: int, reader: Reader, protocol: Protocol
) -> Iterator[tuple[str, World]]:
    name = f"reader {index}"
    ended = replace(reader, step="end")
    if reader.step == "begin":
        if world.value is not None:
            if world.value.content < world.acknowledged:
                raise StaleRead(f"{name} sees {world.value.content}, not {world.acknowledged}")
            yield f"{name} hits", world.with_reader(index, ended)
            return
        missed = replace(reader, step="missed", acknowledged=world.acknowledged, seen=world.version)
        if protocol == "no leases":
            yield f"{name} misses", world.with_reader(index, replace(missed, leased=True))
        elif world.lease is None:
            yield (
                f"{name} misses and takes the lease",
                world.with_reader(
                    index, replace(missed, leased=True), lease=Cached(index, world.version)
                ),
            )
        else:
            yield f"{name} misses", world.with_reader(index, missed)
    elif reader.step == "missed":
        if world.version < reader.acknowledged:
            raise StaleRead(f"{name} loads {world.version}, not {reader.acknowledged}")
        yield (
            f"{name} loads {world.version}",
            world.with_reader(index, replace(reader, step="read", version=world.version)),
        )
    elif reader.step == "read":
        value = Cached(reader.version, reader.seen)
        holds = world.lease is not None and world.lease.content == index
        if protocol == "no leases":
            yield f"{name} fills {reader.version}", world.with_reader(index, ended, value=value)
        elif reader.leased and holds:
            yield (
                f"{name} fills {reader.version}",
                world.with_reader(index, ended, value=value, lease=None),
            )
        else:
            yield f"{name} does not fill", world.with_reader(index, ended)


def first_violation(start: World, protocol: Protocol) -> tuple[list[str] | None, int]:
    """The shortest way to a stale read, if there is one, and how many worlds were visited."""
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        world = waiting.popleft()
        try:
            following = list(steps(world, protocol))
        except StaleRead as stale:
            path = [str(stale)]
            place = came_from[world]
            while place is not None:
                path.append(place[1])
                place = came_from[place[0]]
            return path[::-1], len(came_from)
        for label, after in following:
            if after not in came_from:
                came_from[after] = (world, label)
                waiting.append(after)
    return None, len(came_from)


def world_of(writers: str, readers: int) -> World:
    """``writers``: a ``w`` for each one, an ``x`` for each one that does not reach Redis."""
    return World(tuple(Writer(kind == "x") for kind in writers), (Reader(),) * readers)


@pytest.mark.parametrize(("writers", "readers"), [("w", 3), ("ww", 2), ("wx", 2)])
def test_no_interleaving_of_the_leases_shows_a_stale_balance(writers: str, readers: int) -> None:
    violation, visited = first_violation(world_of(writers, readers), "leases")
    assert violation is None
    assert visited > 200


@pytest.mark.parametrize(
    ("protocol", "writers"),
    [("no leases", "w"), ("answers before deleting", "w"), ("no waiting", "x")],
)
def test_the_model_finds_what_is_wrong_with_less(protocol: Protocol, writers: str) -> None:
    violation, _ = first_violation(world_of(writers, 2), protocol)
    assert violation is not None
    assert violation[-1].startswith("reader")
