"""Any described stream reads any answer, and what its encoder writes comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.formats.described.decoder import MappedDecoder
from berlin.formats.described.encoder import MappedEncoder
from berlin.language.tables.stream import CompiledStream, StreamMap
from berlin.types import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from berlin.wire.framings import FramingName

BOUNDED = settings(max_examples=100, suppress_health_check=[HealthCheck.filter_too_much])

FRAMINGS = get_args(FramingName)
SEGMENT = st.sampled_from(["t", "a", "b", "0", "1", "data", "event", "k"])
POINTER = st.lists(SEGMENT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
POINTERS = st.lists(POINTER, max_size=2)
MEANINGS = st.sampled_from(["text", "replace", "reasoning", "end", "error", "skip"])
STREAMS = st.builds(
    StreamMap,
    st.sampled_from(FRAMINGS),
    POINTERS,
    st.sampled_from(["delta", "cumulative"]),
    POINTERS,
    st.none() | POINTER,
    st.dictionaries(st.sampled_from(["a", "b", "c", "message"]), MEANINGS, max_size=3),
    st.sampled_from(["error", "skip"]),
    st.sampled_from(["", "[DONE]", "end"]),
    POINTERS,
    unfinished=st.lists(st.sampled_from(["", "a"]), max_size=1),
    input_tokens=POINTERS,
    tool_calls=POINTERS,
    conversation_id=POINTERS,
    error=POINTERS,
    error_message=POINTERS,
    error_code=POINTERS,
    error_codes=st.dictionaries(
        st.sampled_from(["1", "a"]), st.sampled_from(["rate_limit", "authentication"]), max_size=1
    ),
    ends=st.sampled_from(["body", "finish_reason"]),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 1, 401, 500, -1, 1.5, "", "a", "b", "message", "401", "stop"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(SEGMENT | st.sampled_from(["id", "index", "function"]), inner, max_size=4)
    ),
    max_leaves=8,
)
CHUNKS = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            *(b"\n", b"\n\n", b"\r\n", b"\r", b"data: ", b"data:", b"event: a\n", b"event: b\r\n"),
            *(
                b": x\n\n",
                b"[",
                b"]",
                b",",
                b"{",
                b"}",
                b'"',
                b"\\",
                b" ",
                b"\xef\xbb\xbf",
                b"\xff",
            ),
            *(b"data: [DONE]\n\n", b"data: end\n\n", b"\xd0", b"\xbf", b"null\n", b'{"t":"x"}\n'),
            *(b'data: {"t":"x"}\n\n', b'data: {"t":\ndata: "y"}\n\n'),
        ]
    ),
    st.binary(max_size=6),
)
BODIES = st.lists(CHUNKS, max_size=10).map(b"".join)


def compiled(described: StreamMap) -> CompiledStream | None:
    """Return the stream, ready for use, or `None` if the description cannot be right."""
    try:
        return CompiledStream(described)
    except ConfigurationError:
        return None


def outcome(stream: CompiledStream, reads: Iterator[bytes]) -> tuple[Any, ...]:
    """Return what reads come to, in a form in which cuts of the text make no difference."""
    decoder = MappedDecoder(stream)
    events = [event for read in reads for event in decoder.feed(read)]
    events += decoder.finish()
    # A framing without objects gives the text as the reads cut it.
    whole: list[StreamEvent] = []
    for event in events:
        if isinstance(event, TextDelta) and whole and isinstance(whole[-1], TextDelta):
            whole[-1] = TextDelta(whole[-1].text + event.text)
        else:
            whole.append(event)
    failure = decoder.failure
    assert failure is None or isinstance(failure, BerlinError)
    assert failure is not None or isinstance(events[-1], Finished)
    repr(whole).encode()
    return whole, type(failure), str(failure)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Give the data in reads of these sizes, again and again."""
    n = 0
    while data:
        size = sizes[n % len(sizes)]
        yield data[:size]
        data, n = data[size:], n + 1


@settings(BOUNDED, max_examples=150)
@given(STREAMS, BODIES, st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_any_stream_reads_any_answer(described: StreamMap, body: bytes, sizes: list[int]) -> None:
    """No answer makes a decoder raise, and what comes of it does not depend on the cuts."""
    # How plain text is cut is how it is read: there is nothing else to describe.
    if described.framing == "text":
        described = StreamMap("text", ends=described.ends)
    stream = compiled(described)
    assume(stream is not None)
    assert stream is not None
    at_once = outcome(stream, iter([body]))
    assert outcome(stream, cut(body, sizes)) == at_once
    assert outcome(stream, cut(body, [1])) == at_once


# Both ways

TEXT = st.text(min_size=1, max_size=8)
EVENTS = st.lists(
    st.one_of(
        TEXT.map(TextDelta),
        TEXT.map(ReasoningDelta),
        st.builds(UsageReport, st.builds(Usage, st.integers(0, 99), st.integers(0, 99))),
        st.builds(
            ToolCallDelta,
            st.integers(0, 2),
            st.sampled_from(["", "c1"]),
            st.sampled_from(["find"]),
            st.just("{}"),
        ),
    ),
    max_size=6,
)
ENDS = st.builds(
    Finished, st.sampled_from(["stop", "length"]), st.sampled_from(["", "c1"]), st.just("")
)
# Descriptions in which each thing has a place of its own.
ROOTS = {
    "tagged-lines": "/data",
    "sse-events": "/data",
    "aws-events": "/data",
    "sse-text": "",
    "text": "",
}


@st.composite
def sound(draw: st.DrawFn) -> StreamMap:
    """Draw a description of a service that could be one."""
    framing = draw(st.sampled_from(FRAMINGS))
    if framing in ("text", "sse-text"):
        return StreamMap(framing, done=draw(st.sampled_from(["", "[DONE]"])))
    root = ROOTS.get(framing, "")
    kinds: dict[str, Any] = {}
    if draw(st.booleans()):
        kinds = {"add": draw(st.sampled_from(["text", "replace"])), "bye": "end", "no": "error"}
        if draw(st.booleans()):
            kinds["hm"] = "reasoning"
    whole = draw(st.booleans()) or "replace" in kinds.values()
    return StreamMap(
        framing,
        draw(st.sampled_from([f"{root}/t", f"{root}/c/0/t", f"{root}/a/b/t"])),
        "cumulative" if whole else "delta",
        reasoning=draw(st.sampled_from([[], f"{root}/r"])),
        kind=("/event" if ROOTS.get(framing) else "/k") if kinds else None,
        kinds=kinds,
        done=draw(st.sampled_from(["", "[DONE]"])),
        finish_reason=draw(st.sampled_from([f"{root}/why", f"{root}/c/0/why", f"{root}/x/why"])),
        finish_reasons={"fin": "stop", "max": "length"},
        input_tokens=f"{root}/u/in",
        output_tokens=f"{root}/u/out",
        conversation_id=f"{root}/cid",
        error=f"{root}/error",
        ends="finish_reason",
    )


def text_of(events: list[StreamEvent]) -> str:
    """Return the text in events."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@settings(BOUNDED, max_examples=100)
@example(
    StreamMap("sse-text"), [TextDelta("a\r\rdata: [DONE]\r\r"), TextDelta("b")], Finished(), [9]
)
@given(sound(), EVENTS, ENDS, st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_what_is_encoded_is_decoded(
    described: StreamMap, events: list[StreamEvent], end: Finished, sizes: list[int]
) -> None:
    """decode(encode(events)) has their text, and what else the description has a place for."""
    stream = CompiledStream(described)
    encoder = MappedEncoder(stream)
    body = b"".join(encoder.encode_event(event) for event in [*events, end])
    decoder = MappedDecoder(stream)
    got = [event for read in cut(body, sizes) for event in decoder.feed(read)]
    got += decoder.finish()
    if described.framing in ("text", "sse-text") and not text_of(events):
        return  # nothing can be said on such a wire
    assert decoder.failure is None, (decoder.failure, body)
    expected = [e.text for e in events if isinstance(e, TextDelta)]
    if described.framing == "sse-text":  # a CR ends a line there, as an LF does
        expected = [re.sub("\r\n?", "\n", text) for text in expected]
    assert text_of(got) == "".join(expected)
    if described.framing in ("text", "sse-text"):
        return
    assert got[-1] == end
    usage = [event for event in events if isinstance(event, UsageReport)][-1:]
    assert [event for event in got if isinstance(event, UsageReport)] == usage
    if described.framing != "json" and (described.reasoning or "hm" in described.kinds):
        assert [e.text for e in got if isinstance(e, ReasoningDelta)] == [
            e.text for e in events if isinstance(e, ReasoningDelta)
        ]


@BOUNDED
@given(sound(), st.lists(TEXT, max_size=3), TEXT)
def test_an_encoded_error_is_decoded(described: StreamMap, texts: list[str], said: str) -> None:
    """An error after some text comes out as one, after the same text."""
    assume(described.framing not in ("text", "sse-text", "json"))
    stream = CompiledStream(described)
    encoder = MappedEncoder(stream)
    body = b"".join(encoder.encode_event(TextDelta(text)) for text in texts)
    body += encoder.encode_error(InvalidRequestError(said))
    decoder = MappedDecoder(stream)
    got = decoder.feed(body) + decoder.finish()
    assert text_of(got) == "".join(texts)
    assert decoder.failure is not None
    assert decoder.failure.message.startswith("the service reports an error"), body
