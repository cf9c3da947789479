"""Dialects as the property tests draw them: values, reads, and what one dialect can say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall, Format
from berlin.types import (
    ChatRequest,
    Message,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from support.bare import bare

CUTS = st.lists(st.integers(1, 60), max_size=40)
COUNTS = st.integers(0, 2**53)
NAMES = st.text("abcdefg_", min_size=1, max_size=8)
TEXTS = st.text(min_size=1)
SAID = st.lists(TEXTS.map(TextDelta) | TEXTS.map(ReasoningDelta), max_size=12)
REASONS = st.sampled_from(["stop", "length", "content_filter"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def dump(value: Any) -> str:
    """Return JSON text as the formats write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=3).map(dump)
FLOATS = st.floats(0, 2, allow_nan=False)
# A schema without `type` and `properties` is completed, since services insist on them.
SCHEMAS = OBJECTS.map(lambda text: dump({**json.loads(text), "type": "object", "properties": {}}))
TOOLS = st.lists(st.builds(Tool, NAMES, st.text(max_size=9), SCHEMAS), max_size=2).map(tuple)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Give the data in reads of these sizes, and the rest in one."""
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def decode(format_: Format, reads: Iterable[bytes]) -> tuple[list[StreamEvent], BerlinError | None]:
    """Return the events of an answer, and why it is bad."""
    decoder = format_.decoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return bare(events + decoder.finish()), decoder.failure


def members(names: Iterable[str], *values: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw objects of a dialect's member names, with any values and with these."""
    drawn: st.SearchStrategy[dict[str, Any]] = st.deferred(
        lambda: st.dictionaries(st.sampled_from([*names]), inner, max_size=5)
    )
    inner = JSON | drawn | st.lists(drawn, max_size=2)
    if values:
        inner |= st.sampled_from([*values])
    return drawn


@st.composite
def conversations(
    draw: st.DrawFn,
    asked: st.SearchStrategy[Message],
    texts: st.SearchStrategy[TextPart],
    objects: st.SearchStrategy[str] = OBJECTS,
) -> tuple[Message, ...]:
    """Draw questions, then turns: text and calls, the results of the calls, and a question."""
    messages: list[Message] = draw(st.lists(asked, min_size=1, max_size=3))
    ids = (f"id_{n}" for n in range(100))
    for _ in range(draw(st.integers(0, 3))):
        said = draw(st.lists(texts, max_size=1))
        calls = [
            ToolCallPart(next(ids), name, arguments)
            for name, arguments in draw(st.lists(st.tuples(NAMES, objects), max_size=3))
        ]
        if said or calls:
            messages.append(Message("assistant", (*said, *calls)))
        for call in draw(st.permutations(calls)):
            messages.append(Message("tool", (ToolResultPart(call.id, draw(st.text())),)))
        messages.append(draw(asked))
    return tuple(messages)


class Dialect(NamedTuple):
    """A format, and what may be drawn for it.

    Attributes:
        format: the format.
        call: a client's call, for its encoder.
        odd: pieces of an answer that no service should send.
        bodies: bytes that look like answers or requests.
        examples: bytes that once broke a decoder.
        requests: requests of which every member has its place in the dialect.
        calls: the events of tool calls, as one of its services sends them.
        usages: what its services count.
        reports_usage: whether its clients always get the usage.
    """

    format: Format
    call: ClientCall
    odd: tuple[bytes, ...]
    bodies: st.SearchStrategy[bytes]
    examples: tuple[bytes, ...]
    requests: st.SearchStrategy[ChatRequest]
    calls: st.SearchStrategy[list[StreamEvent]]
    usages: st.SearchStrategy[Usage]
    reports_usage: bool
