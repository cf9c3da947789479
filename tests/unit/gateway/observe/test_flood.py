"""The log under a flood: bounded lines a second, and a count of those that were left out."""

from __future__ import annotations

import logging

from berlin.gateway.observe.flood import FloodFilter


def test_a_flood_of_lines() -> None:
    """Of a kind there are so many a second; other kinds and the next second have their own."""
    now = [100.0]
    bound = FloodFilter(3, lambda: now[0])

    def written(text: str) -> str | None:
        record = logging.LogRecord("n", logging.WARNING, "", 0, text, (), None)
        return record.getMessage() if bound.filter(record) else None

    assert [written("a") for _ in range(5)] == ["a", "a", "a", None, None]
    assert written("b") == "b"
    now[0] += 1
    assert written("a") == "a left_out=2"
    assert written("a") == "a"
    now[0] += 5
    assert written("b") == "b"
