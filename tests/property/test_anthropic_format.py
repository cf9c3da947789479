"""The format of Anthropic's messages read from both ends: what one writes, the other reads."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.types import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from support.drawn.anthropic import CALL, CHAT
from support.drawn.dialect import (
    OBJECTS,
    decode,
)

BOUNDED = settings(max_examples=150)


def write(events: list[StreamEvent]) -> bytes:
    """Return an answer with a keep-alive behind each event but the last."""
    encoder = CHAT.encoder(CALL)
    return b"".join(
        encoder.encode_event(event) + (b"" if event is events[-1] else encoder.keep_alive())
        for event in events
    )


# Answers


RICH = [
    ReasoningDelta("Hm. ä"),
    TextDelta("Hel\n\n"),
    TextDelta('data: {"€"}'),
    ToolCallDelta(0, "a", "add"),
    ToolCallDelta(0, arguments='{"x":"'),
    ToolCallDelta(0, arguments='\\n𝄞"}'),
    ToolCallDelta(1, "b", "now"),
    UsageReport(Usage(9, 8, False, 7, 6, cache_write_tokens=0)),
    Finished("tool_calls"),
]


def test_every_cut_of_a_rich_answer() -> None:
    """Cut in two at any byte, with either line end, a rich answer is the same."""
    plain = write(RICH)
    for data in (plain, plain.replace(b"\n", b"\r\n"), b": hi\n\n" + plain):
        for at in range(len(data) + 1):
            assert decode(CHAT, iter([data[:at], data[at:]])) == (RICH, None)


def test_every_cut_off_answer_is_told() -> None:
    """The beginning of an answer gives the first events, and an error unless a reason came."""
    data = write(RICH)
    reason_at = data.index(b"event: message_delta")
    for at in range(len(data)):
        events, failure = decode(CHAT, iter([data[:at]]))
        if failure is not None:
            assert events == RICH[: len(events)]
        else:
            assert at > reason_at
            assert events == RICH


@st.composite
def mixed_calls(draw: st.DrawFn) -> tuple[list[StreamEvent], dict[int, str]]:
    """Draw the pieces of calls mixed with each other and with text, and the calls."""
    whole = dict(enumerate(draw(st.lists(OBJECTS, min_size=1, max_size=3))))
    rest = dict(whole)
    events: list[StreamEvent] = [ToolCallDelta(n, f"id{n}", f"tool{n}") for n in whole]
    while any(rest.values()):
        n = draw(st.sampled_from([n for n, text in rest.items() if text]))
        size = draw(st.integers(1, len(rest[n])))
        events.append(ToolCallDelta(n, arguments=rest[n][:size]))
        rest[n] = rest[n][size:]
        if draw(st.booleans()):
            events.append(TextDelta(draw(st.text(min_size=1, max_size=5))))
    return events, whole


@BOUNDED
@given(mixed_calls())
def test_mixed_pieces_lose_nothing(drawn: tuple[list[StreamEvent], dict[int, str]]) -> None:
    """However the pieces of calls are mixed, blocks are whole and everything is in them."""
    given_, whole = drawn
    data = write([*given_, Finished("tool_calls")])
    opened: list[int] = []
    for line in data.decode().split("\n"):
        document = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
        match document:
            case {"type": "content_block_start", "index": index}:
                assert opened == []
                opened.append(index)
            case {"type": "content_block_delta", "index": index}:
                assert opened == [index]
            case {"type": "content_block_stop", "index": index}:
                assert opened.pop() == index
    events, failure = decode(CHAT, iter([data]))
    assert failure is None
    texts = [e for e in given_ if isinstance(e, TextDelta)]
    assert [e for e in events if isinstance(e, TextDelta)] == texts
    found: dict[str, str] = {}
    by_index: dict[int, str] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            id = by_index.setdefault(event.index, event.id)
            found[id] = found.get(id, "") + event.arguments
    assert found == {f"id{n}": text for n, text in whole.items()}
