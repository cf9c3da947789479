"""The format of OpenAI's chat read from both ends: what one writes, the other reads."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.contract import ClientCall
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.types import (
    ChatRequest,
    ChatResponse,
    Finished,
    HttpRequest,
    ImagePart,
    Message,
    Reasoning,
    ReasoningDelta,
    ResponseFormat,
    StreamEvent,
    TextDelta,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageReport,
)
from support.bare import bare, bare_request

BOUNDED = settings(max_examples=150)
FORMAT = OpenAIChatFormat("gpt")
CALL = ClientCall(ChatRequest((Message.of("user", "Hello"),), "gpt"), include_usage=True)

CUTS = st.lists(st.integers(1, 90), max_size=40)
COUNTS = st.integers(0, 2**53)
USAGES = st.builds(
    Usage, COUNTS, COUNTS, cached_tokens=st.integers(0, 9), reasoning_tokens=st.integers(0, 9)
)
NAMES = st.text("abcdefg_", min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def dump(value: Any) -> str:
    """Return JSON text as the formats write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=3).map(dump)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Give the data in reads of these sizes, and the rest in one."""
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def decode(reads: Iterator[bytes]) -> tuple[list[StreamEvent], BerlinError | None]:
    """Return the events of an answer, and why it is bad."""
    decoder = FORMAT.decoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return bare(events + decoder.finish()), decoder.failure


def sent(request: ChatRequest) -> HttpRequest:
    """Return the request that a chat is."""
    with pytest.raises(StopIteration) as stopped:
        next(FORMAT.encode_request(request))
    found = stopped.value.value
    assert isinstance(found, HttpRequest)
    return found


# Answers

TEXTS = st.text(min_size=1)
SAID = st.lists(TEXTS.map(TextDelta) | TEXTS.map(ReasoningDelta), max_size=12)
REASONS = st.sampled_from(["stop", "length", "content_filter"])


@st.composite
def tool_calls(draw: st.DrawFn) -> list[StreamEvent]:
    """Draw the pieces of calls: each begins with its name, and has some arguments."""
    events: list[StreamEvent] = []
    for n in range(draw(st.integers(0, 3))):
        events.append(ToolCallDelta(n, f"{draw(TEXTS)}{n}", draw(NAMES)))
        pieces = draw(st.lists(TEXTS, min_size=1, max_size=3))
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
    assert decode(iter([data])) == (events, None)
    assert decode(cut(data, sizes)) == (events, None)
    with_crlf = data.replace(b"\n", b"\r\n")
    assert decode(cut(with_crlf, sizes)) == (events, None)


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
    assert decode(iter([data])) == (expected, None)
    assert decode(cut(data, sizes)) == (expected, None)


@BOUNDED
@given(SAID, TEXTS, CUTS)
def test_an_encoded_error_ends_the_answer(
    said: list[StreamEvent], message: str, sizes: list[int]
) -> None:
    """An error is told after what came before it, and not as text."""
    encoder = FORMAT.encoder(CALL)
    data = b"".join(encoder.encode_event(event) for event in said)
    data += encoder.encode_error(BerlinError(message))
    events, failure = decode(cut(data, sizes))
    assert events == said
    assert failure is not None
    assert failure.message.startswith("the service reports an error: ")


ODD = (
    *(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', b"data: [DONE]\n\n", b"\n"),
    *(b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\r\n\r\n', b": ping\n\n", b"\r"),
    *(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', b"event: x\n", b"data: "),
    *(b'data: {"choices":[]}\n\n', b'data: {"choices":null,"usage":{"prompt_tokens":1}}\n\n', b"{"),
    *(b'data: {"error":{"message":"no","code":401}}\n\n', b'data: {"error":null}\n\n', b"<html>"),
    *(b'data: {"choices":[{"delta":{"content":1}}]}\n\n', b"data: {}\n\n", b"data: nonsense\n\n"),
    *(b'data: {"choices":\ndata: []}\n\n', b"data: \xff\n\n", b"\0", b"data: [1]\n\n", b"}"),
    *(b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}\n\n', b"data"),
    *(b'data: {"choices":[{"delta":{"tool_calls":[{"index":5,"id":"x"}]}}]}\n\n', b"\n\n"),
)


@settings(max_examples=250)
@given(st.lists(st.sampled_from(ODD), max_size=8).map(b"".join), CUTS)
def test_an_odd_answer_does_not_depend_on_the_cuts(data: bytes, sizes: list[int]) -> None:
    """The events and the failure of any answer are the same, whatever the reads look like."""
    events, failure = decode(iter([data]))
    cut_events, cut_failure = decode(cut(data, sizes))
    assert cut_events == events
    assert type(cut_failure) is type(failure)
    assert str(cut_failure) == str(failure)


MEMBERS = st.dictionaries(
    st.sampled_from(
        [
            *("choices", "delta", "message", "content", "tool_calls", "function", "arguments"),
            *("error", "code", "usage", "finish_reason", "index", "id", "name", "text", "type"),
            *("thinking", "prompt_tokens", "messages", "role", "model", "tools", "tool_choice"),
            *("response_format", "stop", "n", "stream_options", "max_tokens", "detail"),
        ]
    ),
    st.deferred(lambda: JSON | MEMBERS | st.lists(MEMBERS, max_size=2)),
    max_size=5,
)


@settings(max_examples=250)
@given(
    st.binary(max_size=80)
    | st.lists(MEMBERS.map(dump).map(str.encode), max_size=4).map(
        lambda lines: b"".join(b"data: %b\n\n" % line for line in lines)
    )
    | MEMBERS.map(dump).map(str.encode)
)
@example(b'data: {"error":' + b"[" * 200_000 + b"\n\n")
@example(b'data: {"error":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n")
@example(b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n')
@example(b'data: {"choices":[{"delta":{"refusal":"\xff"}}]}\n\n')
@example(b'data: {"choices":[],"usage":{"prompt_tokens":1e999}}\n\n')
@example(b'data: {"choices":[],"usage":{"prompt_tokens":' + b"9" * 100_000 + b"}}\n\n")
@example(b'data: {"error":{"code":NaN}}\n\n')
@example(b'data: {"error":{"code":1e999,"message":"\\ud800"}}\n\n')
@example(b'{"messages":[{"role":"user","content":"\\ud800"}],"tools":[{"function":[]}]}')
def test_any_bytes_give_values_or_a_berlin_error(data: bytes) -> None:
    """No answer and no request makes the format raise anything but a BerlinError."""
    for reads in (iter([data]), cut(data, [1] * 50)):
        events, failure = decode(reads)
        assert failure is None or isinstance(failure, BerlinError)
        repr(events).encode()
    assert len(FORMAT.describe_error(data)) <= 300
    with contextlib.suppress(InvalidRequestError):
        sent(FORMAT.decode_request(data).request)


# Requests

URLS = st.sampled_from(["https://x.example/a.png", "data:image/png;base64,AAAA"])
PLAIN = st.builds(Message.of, st.sampled_from(["system", "user"]), st.text())
SEEN = st.builds(
    lambda parts, image: Message("user", (*parts, image)),
    st.lists(st.text().map(TextPart) | URLS.map(ImagePart), max_size=3),
    URLS.map(ImagePart),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Draw messages of which every part can stand on this wire."""
    messages: list[Message] = draw(st.lists(PLAIN | SEEN, min_size=1, max_size=3))
    for n in range(draw(st.integers(0, 3))):
        said = draw(st.lists(TEXTS.map(TextPart), max_size=1))
        calls = [
            ToolCallPart(f"id_{n}_{k}", name, arguments)
            for k, (name, arguments) in enumerate(
                draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=3))
            )
        ]
        if said or calls:
            messages.append(Message("assistant", (*said, *calls)))
        for call in draw(st.permutations(calls)):
            messages.append(Message("tool", (ToolResultPart(call.id, draw(st.text())),)))
        messages.append(draw(PLAIN | SEEN))
    return tuple(messages)


FLOATS = st.floats(0, 2, allow_nan=False)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": FLOATS,
        "top_p": FLOATS,
        "top_k": st.integers(1, 100),
        "seed": st.integers(-(2**31), 2**31),
        "presence_penalty": FLOATS,
        "stop": st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=2),
        "logit_bias": st.dictionaries(NAMES, FLOATS, max_size=2),
        "max_tokens": st.integers(1, 2**31 - 1),
    },
)
# A schema without `type` and `properties` is completed, since services insist on them.
PARAMETERS = st.dictionaries(st.text(max_size=6), JSON, max_size=2).map(
    lambda more: dump({**more, "type": "object", "properties": {}})
)
TOOLS = st.lists(st.builds(Tool, NAMES, st.text(max_size=9), PARAMETERS), max_size=2).map(tuple)


FORMS = (
    st.none()
    | st.just(ResponseFormat())
    | OBJECTS.map(lambda schema: ResponseFormat(schema, "answer"))
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """Draw requests; only one that has tools has a choice of them."""
    tools = draw(TOOLS)
    choices = ["auto", "none", "required", *(tool.name for tool in tools)]
    return ChatRequest(
        draw(conversations()),
        draw(st.text("abc:/-.", min_size=1, max_size=12)),
        draw(OPTIONS),
        tools,
        draw(st.sampled_from(choices)) if tools else "auto",
        draw(st.none() | st.booleans()),
        reasoning=draw(st.none() | st.sampled_from(["none", "low", "high"]).map(Reasoning)),
        response_format=draw(
            st.none()
            | OBJECTS.map(lambda schema: ResponseFormat(schema, "answer"))
            | st.just(ResponseFormat())
        ),
    )


@BOUNDED
@given(requests())
def test_a_request_survives_the_wire(request: ChatRequest) -> None:
    """decode_request(encode_request(x)) is x."""
    call = FORMAT.decode_request(sent(request).body)
    assert bare_request(call.request) == request
    assert (call.stream, call.include_usage) == (True, False)


@BOUNDED
@given(requests())
def test_wire_to_types_to_wire_is_stable(request: ChatRequest) -> None:
    """A body that is read and written again says the same."""
    body = sent(request).body
    again = sent(FORMAT.decode_request(body).request).body
    assert json.loads(again) == json.loads(body)
