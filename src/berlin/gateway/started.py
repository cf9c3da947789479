"""The headers that say how an answer came about."""

from __future__ import annotations

from functools import lru_cache

from berlin.types import Started

MAX_HEADER_CHARS = 1000


def headers_of_start(started: Started | None, asked: str) -> dict[str, str]:
    """Return the headers for who answered, after how many requests, and what was left out.

    Args:
        started: the `Started` event, if any.
        asked: the name of the requested provider.
    """
    if started is None:
        return {"x-berlin-provider": printable(asked), "x-berlin-attempts": "1"}
    headers = {
        "x-berlin-provider": printable(started.provider or asked),
        "x-berlin-attempts": str(started.attempts),
    }
    if started.age_s is not None:
        headers["Age"] = str(int(started.age_s))
    if started.dropped:
        headers["x-berlin-dropped"] = printable(", ".join(started.dropped), MAX_HEADER_CHARS)
    return headers


@lru_cache
def printable(text: str, longest: int = 200) -> str:
    """Return text that is safe in a header."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:longest]
