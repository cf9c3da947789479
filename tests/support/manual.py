"""The pages of the manual, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    """Return a page by its path in the repository."""
    return (ROOT / name).read_text("utf-8")


def code_blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in one language; those inside a longer fence are not code."""
    blocks: list[str] = []
    fence, body = "", [""]
    for line in text.splitlines():
        mark = re.match(r"(`{3,})([a-z]*)$", line)
        if not fence and mark:
            fence, wanted, body = mark[1], mark[2] == language, []
        elif fence and line == fence:
            if wanted:
                blocks.append("\n".join(body) + "\n")
            fence = ""
        else:
            body.append(line)
    return blocks


def prose_lines(text: str) -> Iterator[str]:
    """Give the lines outside of code."""
    fence = ""
    for line in text.splitlines():
        mark = re.match(r"`{3,}", line)
        if mark and not fence:
            fence = mark[0]
        elif fence and line == fence:
            fence = ""
        elif not fence:
            yield line


def section(text: str, title: str) -> str:
    """Return what stands below a heading of the second level, up to the next one."""
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, title
    body, fence = [], ""
    for line in rest.splitlines(keepends=True):
        if line.startswith("```"):
            fence = "" if fence else line
        if not fence and line.startswith("## "):
            break
        body.append(line)
    return "".join(body)
