"""Profiles as flame graphs: a file for speedscope, and a picture that needs no script.

https://github.com/jlfwong/speedscope/blob/main/src/lib/file-format-spec.ts
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from xml.sax.saxutils import escape

from WalletCore.profiling import Function, Profile

SPEEDSCOPE_SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"
EXPORTER: Final = "coffer"

WIDTH_PIXELS: Final = 1200
ROW_PIXELS: Final = 16
HEAD_PIXELS: Final = 44
MIN_BOX_PIXELS: Final = 0.3
"""What is narrower is not drawn; neither is what it calls."""
CHARACTER_PIXELS: Final = 6.6
MIN_LABEL_CHARACTERS: Final = 4

_FORBIDDEN: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 65534, 65535), "�")
"""What XML may not contain, whatever a function is called."""


def title_of(profile: Profile, processes: int) -> str:
    """One line: which process this is, of how many, and how it was looked at."""
    return (
        f"Process {profile.pid}, one of {processes}: {profile.samples} looks in "
        f"{profile.seconds:.1f} s; {sum(profile.stacks.values())} stacks, {profile.waiting} times "
        f"a thread waited; looking took {profile.cost * 100:.1f} % of a processor"
    )


def speedscope(profile: Profile, processes: int) -> dict[str, Any]:
    """The members of speedscope's file; weights in whole microseconds, the heaviest stack first."""
    frames: dict[Function, int] = {}
    ordered = sorted(profile.stacks.items(), key=lambda item: -item[1])
    samples = [
        [frames.setdefault(function, len(frames)) for function in stack] for stack, _ in ordered
    ]
    weights = [count * profile.microseconds_per_sample for _, count in ordered]
    title = title_of(profile, processes)
    return {
        "$schema": SPEEDSCOPE_SCHEMA,
        "name": title,
        "exporter": EXPORTER,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(function) for function in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": title,
                "unit": "microseconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
    }


def _frame(function: Function) -> dict[str, Any]:
    if not function.file:
        return {"name": function.name}
    return {"name": function.name, "file": function.file, "line": function.line}


@dataclass(slots=True)
class _Node:
    count: int = 0
    calls: dict[Function, _Node] = field(default_factory=dict)


def svg(profile: Profile, processes: int) -> str:
    """A picture: the width of a box is its share, what it calls stands below it, and the mouse
    tells it in words. Without script and style, which a policy would forbid.
    """
    root = _Node()
    for stack, count in profile.stacks.items():
        root.count += count
        node = root
        for function in stack:
            node = node.calls.setdefault(function, _Node())
            node.count += count
    boxes = list(_boxes(root, 0.0, 0, max(1, root.count)))
    depth = max((row for _, _, row, _, _ in boxes), default=0) + 1
    height = HEAD_PIXELS + depth * ROW_PIXELS + ROW_PIXELS
    size = f'width="{WIDTH_PIXELS}" height="{height}"'
    title = _text(title_of(profile, processes))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
        f'<rect {size} fill="#ffffff"/>',
        f'<text x="8" y="26" font-size="12" fill="#222222">{title}</text>',
    ]
    parts += (_box(box, max(1, root.count)) for box in boxes)
    if not boxes:
        parts.append('<text x="8" y="52">No thread did anything but wait.</text>')
    return "\n".join([*parts, "</svg>", ""])


_Box = tuple[float, float, int, Function, int]
"""Left side and width in pixels, row from above, what, and how often."""


def _boxes(root: _Node, left: float, row: int, total: int) -> Iterator[_Box]:
    """The boxes of what ``root`` calls, and of what that calls, in the order of their names."""
    scale = WIDTH_PIXELS / total
    for function in sorted(root.calls, key=lambda one: (one.name, one.file, one.line)):
        node = root.calls[function]
        width = node.count * scale
        if width >= MIN_BOX_PIXELS:
            yield left, width, row, function, node.count
            yield from _boxes(node, left, row + 1, total)
        left += width


def _box(box: _Box, total: int) -> str:
    left, width, row, function, count = box
    top = HEAD_PIXELS + row * ROW_PIXELS
    where = f" ({function.file}:{function.line})" if function.file else ""
    words = f"{function.name}{where}: {count} times, {count * 100 / total:.1f} %"
    room = int((width - 4) / CHARACTER_PIXELS)
    label = ""
    if room >= MIN_LABEL_CHARACTERS:
        name = function.name if len(function.name) <= room else function.name[: room - 1] + "…"
        label = f'<text x="{left + 2:.1f}" y="{top + 12}" fill="#222222">{_text(name)}</text>'
    return (
        f'<g><title>{_text(words)}</title><rect x="{left:.1f}" y="{top}" '
        f'width="{max(width - 0.5, MIN_BOX_PIXELS):.1f}" height="{ROW_PIXELS - 1}" '
        f'fill="{_colour(function)}"/>{label}</g>'
    )


def _colour(function: Function) -> str:
    """The same for all of a file, so that the layers of the program are told apart."""
    hue = zlib.crc32(function.file.encode(errors="replace"))
    return f"#{200 + hue % 55:02x}{130 + (hue >> 8) % 90:02x}{70 + (hue >> 16) % 70:02x}"


def _text(text: str) -> str:
    """``text`` in XML: escaped, and without what XML may not contain."""
    clean = text.translate(_FORBIDDEN).encode("utf-8", "replace").decode("utf-8")
    return escape(clean, {'"': "&quot;", "'": "&apos;"})
