"""The format of OpenAI's chat read from both ends: what one writes, the other reads."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.types import (
    ChatResponse,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageReport,
)
from support.drawn.dialect import COUNTS, CUTS, NAMES, REASONS, SAID, TEXTS, cut, decode
from support.drawn.openai import CALL, FORMAT, OBJECTS

BOUNDED = settings(max_examples=150)

USAGES = st.builds(
    Usage, COUNTS, COUNTS, cached_tokens=st.integers(0, 9), reasoning_tokens=st.integers(0, 9)
)


@st.composite
def tool_calls(draw: st.DrawFn) -> list[StreamEvent]:
    """Draw the pieces of calls: each begins with its name, and has some arguments."""
    events: list[StreamEvent] = []
    for n in range(draw(st.integers(0, 3))):
        events.append(ToolCallDelta(n, f"{draw(TEXTS)}{n}", draw(NAMES)))
        # What says nothing before the arguments begin is not passed on.
        pieces = draw(st.lists(TEXTS, max_size=2))
        pieces.insert(0, draw(TEXTS.filter(lambda p: p.strip() not in ("", "{}", "null"))))
        events += [ToolCallDelta(n, arguments=piece) for piece in pieces]
    return events


@BOUNDED
@given(SAID, tool_calls(), USAGES, REASONS, CUTS, st.booleans())
def test_what_is_encoded_is_decoded(
    said: list[StreamEvent],
    calls: list[StreamEvent],
    usage: Usage,
    reason: Any,
    sizes: list[int],
    with_keep_alive: bool,
) -> None:
    """decode(encode(events)) are the events, under every cut and with keep-alives between."""
    if calls and reason == "stop":
        reason = "tool_calls"
    events = [*said, *calls, UsageReport(usage), Finished(reason)]
    encoder = FORMAT.encoder(CALL)
    data = b""
    for event in events:
        data += encoder.keep_alive() if with_keep_alive else b""
        data += encoder.encode_event(event)
    assert decode(FORMAT, iter([data])) == (events, None)
    assert decode(FORMAT, cut(data, sizes)) == (events, None)
    with_crlf = data.replace(b"\n", b"\r\n")
    assert decode(FORMAT, cut(with_crlf, sizes)) == (events, None)


@BOUNDED
@given(st.text(), st.text(), st.lists(st.tuples(TEXTS, NAMES, OBJECTS), max_size=3), USAGES, CUTS)
def test_a_whole_answer_is_decoded_too(
    text: str, reasoning: str, calls: list[tuple[str, str, str]], usage: Usage, sizes: list[int]
) -> None:
    """An answer that did not stream gives the same events as one that did."""
    parts = tuple(
        ToolCallPart(f"{id}{n}", name, text_) for n, (id, name, text_) in enumerate(calls)
    )
    reason: Any = "tool_calls" if parts else "stop"
    response = ChatResponse.of(text, reason, usage, reasoning, parts)
    expected: list[StreamEvent] = [ReasoningDelta(reasoning)] if reasoning else []
    expected += [TextDelta(text)] if text else []
    expected += [ToolCallDelta(n, c.id, c.name, c.arguments) for n, c in enumerate(parts)]
    expected += [UsageReport(usage), Finished(reason)]
    data = FORMAT.encode_response(CALL, response)
    assert decode(FORMAT, iter([data])) == (expected, None)
    assert decode(FORMAT, cut(data, sizes)) == (expected, None)
