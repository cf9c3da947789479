"""The headers that say how an answer came about."""

from __future__ import annotations

from functools import lru_cache

from berlin.types import Started

MAX_HEADER_CHARS = 1000


def headers_of_start(started: Started | None) -> dict[str, str]:
    """Return the header that names what was left out of a request, where something was."""
    if started is None or not started.dropped:
        return {}
    return {"x-berlin-dropped": printable(", ".join(started.dropped), MAX_HEADER_CHARS)}


@lru_cache
def printable(text: str, longest: int = 200) -> str:
    """Return text that a header can carry."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:longest]
