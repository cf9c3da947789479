"""The text of the benchmark's answers: whoever reads one knows what it has to be."""

from __future__ import annotations

from functools import cache


@cache
def pieces(count: int) -> list[str]:
    """Return the pieces of an answer: no two of one answer are the same."""
    return [f"w{n} " for n in range(count)]


@cache
def text(count: int) -> str:
    """Return the whole text of an answer."""
    return "".join(pieces(count))
