"""Very many or very long events: they are cut so that the loop gets its turns."""

from __future__ import annotations

import pytest

from berlin.providers.long import MAX_CHARS, MAX_EVENTS, MAX_PIECE_CHARS, slices
from berlin.types import (
    Accumulator,
    Extra,
    ExtraDelta,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
)

LONG = "abc" * MAX_PIECE_CHARS
EVENTS: dict[str, list[StreamEvent]] = {
    "many pieces": [TextDelta("a")] * 5_000,
    "one long text": [TextDelta(LONG)],
    "one long thought": [ReasoningDelta(LONG)],
    "one long call": [ToolCallDelta(0, "c", "f", LONG, Extra("x", {"a": 1}))],
    "many long pieces of a call": [ToolCallDelta(0, "c", "f", "a" * 50_000)] * 20,
    "a text that is replaced": [TextDelta("a"), TextReplaced(LONG)],
    "members": [ExtraDelta(Extra("x", {"l": [n]})) for n in range(100)],
    "few": [TextDelta("a")],
}


@pytest.mark.parametrize("events", EVENTS.values(), ids=EVENTS)
def test_slices_say_the_same(events: list[StreamEvent]) -> None:
    """The answer is the same; no slice has many events or, unless it is one event, much text."""
    cut = list(slices([*events, Finished()]))
    whole, again = Accumulator(), Accumulator()
    for event in (*events, Finished()):
        whole.add(event)
    for event in [event for part in cut for event in part]:
        again.add(event)
    assert again.response() == whole.response()
    assert all(0 < len(part) <= MAX_EVENTS for part in cut)
    texts = [[getattr(e, "text", getattr(e, "arguments", "")) for e in part] for part in cut]
    assert all(len(part) == 1 or sum(map(len, part)) <= MAX_CHARS for part in texts)
    assert type(cut[-1][-1]) is Finished
