"""The format of the Responses API read from both ends: what one writes, the other reads."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.errors import InvalidRequestError
from berlin.formats.responses.format import ResponsesFormat
from berlin.types import (
    ChatResponse,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningPart,
    StreamEvent,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageReport,
)
from support.drawn.dialect import cut, decode
from support.formats import fold
from support.responses import read_stream

BOUNDED = settings(max_examples=100)
FORMAT = ResponsesFormat("gpt")
CALL = FORMAT.decode_request(
    b'{"model":"gpt","input":"Hello","tools":[{"type":"function","name":"look","parameters":{}}]}'
)

CUTS = st.lists(st.integers(1, 120), max_size=40)
COUNTS = st.integers(1, 2**40)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
OBJECTS = st.dictionaries(TEXT, st.none() | st.integers(0, 9) | TEXT, max_size=2).map(json.dumps)


@st.composite
def answers(draw: st.DrawFn) -> list[StreamEvent]:
    """Return an answer: reasoning, text and calls in any order, each in pieces."""
    events: list[StreamEvent] = []
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["text", "reasoning", "call"]), max_size=5)):
        if kind == "call":
            events.append(ToolCallDelta(calls, f"call_{calls}", draw(st.sampled_from(["look"]))))
            whole = draw(OBJECTS)
            at = draw(st.integers(0, len(whole)))
            events += [
                ToolCallDelta(calls, arguments=piece) for piece in (whole[:at], whole[at:]) if piece
            ]
            calls += 1
        else:
            made = TextDelta if kind == "text" else ReasoningDelta
            events += [made(piece) for piece in draw(st.lists(TEXT, min_size=1, max_size=3))]
    if draw(st.booleans()):
        events.append(
            UsageReport(Usage(draw(COUNTS), draw(COUNTS), False, 1, 1, cache_write_tokens=0))
        )
    reason: FinishReason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    return [*events, Finished("tool_calls" if calls and reason == "stop" else reason)]


def encode(events: list[StreamEvent]) -> bytes:
    """Return the stream of an answer."""
    encoder = FORMAT.encoder(CALL)
    return b"".join(map(encoder.encode_event, events))


def plain(answer: ChatResponse) -> list[Any]:
    """Return the parts that hold something, without what only this dialect knows."""
    found: list[Any] = []
    for part in answer.parts:
        match part:
            case TextPart() | ReasoningPart() if part.text:
                found.append((type(part).__name__, part.text))
            case ToolCallPart():
                found.append((part.id, part.name, json.loads(part.arguments)))
    return found


@BOUNDED
@given(answers())
@example([Finished()])
def test_every_stream_is_in_order(events: list[StreamEvent]) -> None:
    """Whatever an answer is made of, the strict reader of the tests finds nothing wrong."""
    read_stream(encode(events))


@BOUNDED
@given(answers(), CUTS)
def test_what_is_written_is_read(events: list[StreamEvent], sizes: list[int]) -> None:
    """An answer that is written and read is the same, wherever the reads are cut."""
    found, failure = decode(FORMAT, cut(encode(events), sizes))
    assert failure is None
    wanted, got = fold(events), fold(found)
    assert plain(got) == plain(wanted)
    assert got.finish_reason == wanted.finish_reason
    if wanted.usage is not None:
        assert got.usage is not None
        assert msgspec.structs.replace(got.usage, extra=None) == wanted.usage


@BOUNDED
@given(answers())
def test_a_whole_answer_is_read_like_its_stream(events: list[StreamEvent]) -> None:
    """A service that answers in one piece says the same."""
    body = FORMAT.encode_response(CALL, fold(events))
    found, failure = decode(FORMAT, iter([body]))
    assert failure is None
    assert plain(fold(found)) == plain(fold(events))
    assert fold(found).finish_reason == fold(events).finish_reason


@BOUNDED
@given(answers(), st.integers(0, 2_000))
def test_a_stream_that_is_cut_off_is_never_whole(events: list[StreamEvent], at: int) -> None:
    """Without the last event there is an error, whatever came before."""
    data = encode(events)
    end = data.rindex(b"event: response.")
    found, failure = decode(FORMAT, iter([data[: min(at, end)]]))
    assert failure is not None
    assert not any(isinstance(event, Finished) for event in found)


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("input", "tools", "type", "role", "content", "text", "format", "schema"),
                    *("call_id", "name", "arguments", "output", "id", "reasoning", "effort"),
                    *("previous_response_id", "tool_choice", "max_output_tokens", "summary"),
                ]
            ),
            inner | st.sampled_from(["message", "function", "custom", "namespace", "reasoning"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=100)
@given(BODIES)
@example({"input": [{"type": "reasoning", "encrypted_content": "berlin.1.AAAA"}]})
@example({"input": [{"type": "item_reference"}]})
@example({"input": [{"type": "additional_tools", "tools": [7]}]})
@example({"input": "x", "text": {"format": {"type": "json_schema", "schema": {}}}})
@example({"input": [{"role": "user", "content": [{"type": "input_file"}]}]})
def test_no_request_breaks_the_reader(body: Any) -> None:
    """Whatever is sent is a call, or an error that says what is wrong; the call can be sent on."""
    call = None
    with contextlib.suppress(InvalidRequestError):
        call = FORMAT.decode_request(json.dumps(body).encode())
    if call is not None:
        with contextlib.suppress(InvalidRequestError, StopIteration):
            next(FORMAT.encode_request(call.request))


@settings(max_examples=100)
@given(
    st.lists(
        BODIES
        | st.dictionaries(
            st.sampled_from(
                ["type", "delta", "item", "response", "output_index", "error", "object", "output"]
            ),
            BODIES
            | st.sampled_from(
                [
                    "response.output_item.done",
                    "response.output_item.added",
                    "response.completed",
                    "response.output_text.delta",
                    "response.custom_tool_call_input.delta",
                    "response.output_text.annotation.added",
                    "error",
                    "response",
                ]
            ),
        ),
        max_size=6,
    )
)
def test_no_answer_breaks_the_decoder(documents: list[Any]) -> None:
    """Whatever a service sends is events, or an error of ours."""
    data = b"".join(b"data: %b\n\n" % json.dumps(document).encode() for document in documents)
    decode(FORMAT, iter([data]))
