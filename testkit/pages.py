"""The pages of the documentation as programs: their blocks of commands, run in one shell each.

A block marked ``sh`` is run; a block marked ``text`` after it is what it prints, where ``...``
stands for any part of a line, and a line of nothing else for any lines.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUN: Final = "sh"
PRINTED: Final = "text"
WILDCARD: Final = "..."
PAGE_TIMEOUT_SECONDS: Final = 150.0

_BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "\x1eend of block "


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, the line of the page that it begins on."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [
        Block(found[1], found[2], page.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(page)
    ]


def run_page(
    page: str, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]
) -> list[str]:
    """Run the commands of a page in one shell in ``folder``; what is not as the page says.

    ``replaced``: texts of the page, and what stands for each here, such as the service's address.
    """
    all_blocks = blocks(page)
    commands = [block for block in all_blocks if block.language == RUN]
    script = "set -eo pipefail\n"
    for number, block in enumerate(commands):
        text = block.text
        for told, here in replaced.items():
            text = text.replace(told, here)
        script += f"{text}\nprintf '\\n\\036end of block {number}\\n'\n"
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=folder,
        env=dict(environment),
        text=True,
        capture_output=True,
        timeout=PAGE_TIMEOUT_SECONDS,
        check=False,
    )
    outputs = re.split(rf"\n?{_END}\d+\n", done.stdout)
    if done.returncode != 0 or len(outputs) != len(commands) + 1:
        failed = commands[min(len(outputs), len(commands)) - 1]
        return [
            f"line {failed.line} ended with {done.returncode}: {outputs[-1]}\n{done.stderr[-2000:]}"
        ]
    return [
        f"line {block.line}: the page says\n{wanted}\nand it printed\n{printed}"
        for block, printed in zip(commands, outputs, strict=False)
        if (wanted := _wanted(all_blocks, block)) is not None and not matches(wanted, printed)
    ]


def matches(wanted: str, printed: str) -> bool:
    """Whether ``printed`` is as a block of text says."""
    pattern = ""
    for line in wanted.strip("\n").split("\n"):
        if line == WILDCARD:
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(map(re.escape, line.split(WILDCARD))) + "\n"
    return re.fullmatch(pattern, printed.strip("\n") + "\n") is not None


def _wanted(all_blocks: list[Block], block: Block) -> str | None:
    """The text that follows a block of commands, if one does before the next block."""
    after = all_blocks.index(block) + 1
    if after < len(all_blocks) and all_blocks[after].language == PRINTED:
        return all_blocks[after].text
    return None
