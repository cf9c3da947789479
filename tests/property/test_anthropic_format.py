"""The format of Anthropic's messages read from both ends: what one writes, the other reads."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import ClientCall
from berlin.types import (
    ChatRequest,
    Finished,
    ImagePart,
    Message,
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
from support.formats import sent

BOUNDED = settings(max_examples=150)
CHAT = AnthropicMessagesFormat("claude")
CALL = ClientCall(ChatRequest((Message.of("user", "Hello"),), "claude"))

CUTS = st.lists(st.integers(1, 60), max_size=40)
COUNTS = st.integers(0, 2**53)
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
    decoder = CHAT.decoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return bare(events + decoder.finish()), decoder.failure


def write(events: list[StreamEvent]) -> bytes:
    """Return an answer with a keep-alive behind each event but the last."""
    encoder = CHAT.encoder(CALL)
    return b"".join(
        encoder.encode_event(event) + (b"" if event is events[-1] else encoder.keep_alive())
        for event in events
    )


# Answers

SAID = st.lists(
    st.text(min_size=1).map(TextDelta) | st.text(min_size=1).map(ReasoningDelta), max_size=12
)


@st.composite
def calls(draw: st.DrawFn) -> list[StreamEvent]:
    """Draw calls one after the other, each in a head and the pieces of its arguments."""
    events: list[StreamEvent] = []
    for n, (id, name) in enumerate(draw(st.lists(st.tuples(NAMES, NAMES), max_size=3))):
        events.append(ToolCallDelta(n, f"{id}{n}", name))
        text = draw(OBJECTS)
        middle = draw(st.integers(0, len(text)))
        pieces = [text[:middle], text[middle:]]
        events += [ToolCallDelta(n, arguments=piece) for piece in pieces if piece]
    return events


USAGES = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).map(
    lambda n: Usage(n[0] + n[2], n[1], cached_tokens=n[2], reasoning_tokens=n[3])
)


@BOUNDED
@given(
    said=SAID,
    called=calls(),
    usage=USAGES,
    reason=st.sampled_from(["stop", "length", "content_filter"]),
    sizes=CUTS,
)
def test_what_is_encoded_is_decoded(
    said: list[StreamEvent],
    called: list[StreamEvent],
    usage: Usage,
    reason: Any,
    sizes: list[int],
) -> None:
    """decode(encode(events)) are the events, under every cut and with keep-alives between."""
    if called and reason == "stop":
        reason = "tool_calls"
    events = [*said, *called, UsageReport(usage), Finished(reason)]
    data = write(events)
    assert decode(iter([data])) == (events, None)
    assert decode(cut(data, sizes)) == (events, None)


RICH = [
    ReasoningDelta("Hm. ä"),
    TextDelta("Hel\n\n"),
    TextDelta('data: {"€"}'),
    ToolCallDelta(0, "a", "add"),
    ToolCallDelta(0, arguments='{"x":"'),
    ToolCallDelta(0, arguments='\\n𝄞"}'),
    ToolCallDelta(1, "b", "now"),
    UsageReport(Usage(9, 8, cached_tokens=7, reasoning_tokens=6)),
    Finished("tool_calls"),
]


def test_every_cut_of_a_rich_answer() -> None:
    """Cut in two at any byte, with either line end, a rich answer is the same."""
    plain = write(RICH)
    for data in (plain, plain.replace(b"\n", b"\r\n"), b": hi\n\n" + plain):
        for at in range(len(data) + 1):
            assert decode(iter([data[:at], data[at:]])) == (RICH, None)


def test_every_cut_off_answer_is_told() -> None:
    """The beginning of an answer gives the first events, and an error unless a reason came."""
    data = write(RICH)
    reason_at = data.index(b"event: message_delta")
    for at in range(len(data)):
        events, failure = decode(iter([data[:at]]))
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
    events, failure = decode(iter([data]))
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


@BOUNDED
@given(SAID, st.text(min_size=1), CUTS)
def test_an_encoded_error_ends_the_answer(
    said: list[StreamEvent], message: str, sizes: list[int]
) -> None:
    """An error is told after what came before it, and not as text."""
    encoder = CHAT.encoder(CALL)
    data = b"".join(encoder.encode_event(event) for event in said)
    data += encoder.encode_error(BerlinError(message))
    events, failure = decode(cut(data, sizes))
    assert events == said
    assert failure is not None
    assert failure.message.startswith("the service reports an error: ")


def frame(**members: Any) -> bytes:
    """Return an event without its name, as some services write it."""
    return f"data: {dump(members)}\n\n".encode()


TOOL_USE = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
ODD_FRAMES = (
    *(frame(type="message_start", message={"usage": {"input_tokens": 1}}), b"\n", b"\r\n"),
    *(frame(type="message_start", message=None), frame(type="ping"), frame(type="new", delta=1)),
    *(frame(type="content_block_start", index=0, content_block=TOOL_USE), b"event: x\n"),
    *(frame(type="content_block_start", index=0, content_block={"type": "text"}), b"data: {"),
    *(frame(type="content_block_start", content_block=TOOL_USE), b"data: [DONE]\n\n"),
    *(frame(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),),
    frame(
        type="content_block_delta",
        index=0,
        delta={"type": "input_json_delta", "partial_json": "{"},
    ),
    *(frame(type="content_block_delta", delta=5), frame(type="content_block_stop", index=0)),
    *(frame(type="message_delta", delta={"stop_reason": "end_turn"}, usage=None), b"{"),
    *(frame(type="message_delta", usage={"output_tokens": 2}), frame(type="message_stop")),
    *(frame(type="error", error={"type": "overloaded_error"}), frame(error="no"), frame(x=1)),
    *(frame(type="message", content=[TOOL_USE]), b"data: \xff\n\n", b"data: 5\n\n", b"\xef\xbb"),
)


@settings(max_examples=250)
@given(st.lists(st.sampled_from(ODD_FRAMES), max_size=8).map(b"".join), CUTS)
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
            *("type", "index", "delta", "content_block", "content", "usage", "message", "error"),
            *("text", "thinking", "id", "name", "input", "partial_json", "stop_reason", "code"),
            *("messages", "role", "system", "tools", "tool_choice", "source", "output_config"),
        ]
    ),
    st.deferred(
        lambda: (
            JSON
            | MEMBERS
            | st.lists(MEMBERS, max_size=2)
            | st.sampled_from(
                [
                    *("message", "message_start", "message_delta", "content_block_start"),
                    *("content_block_delta", "text", "tool_use", "tool_result", "image", "user"),
                ]
            )
        )
    ),
    max_size=6,
)


@settings(max_examples=250)
@given(
    st.binary(max_size=80)
    | st.lists(MEMBERS.map(lambda m: frame(**m)), max_size=4).map(b"".join)
    | MEMBERS.map(dump).map(str.encode)
)
@example(b'data: {"error":' + b"[" * 200_000)
@example(b'data: {"type":"error","error":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n")
@example(b'data: {"type":"message_start","message":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n")
@example(b'data: {"type":"message_delta","usage":{"input_tokens":' + b"9" * 9000 + b"}}\n\n")
@example(b'data: {"type":"message_delta","usage":{"input_tokens":1e999}}\n\n')
@example(b'{"type":"message","content":[{"type":"tool_use","input":{"a":"\xff"}}]}')
@example(b'{"type":"message","content":[{"type":"tool_use","input":{"a":"\\ud800"}}]}')
@example(b'{"type":"message","content":[{"type":"text","text":"\\ud800"}]}')
@example(b'{"error":{"code":NaN}}')
@example(b'{"messages":[{"role":"user","content":' + b"[" * 9000 + b"]" * 9000 + b"}]}")
@example(b'{"messages":[{"role":"user","content":"\\ud800"}]}')
@example(b'{"messages":[{"role":"user","content":"a"}],"temperature":1e999}')
def test_any_bytes_give_values_or_a_berlin_error(data: bytes) -> None:
    """No answer and no request makes the format raise anything but a BerlinError."""
    for reads in (iter([data]), cut(data, [1] * 50)):
        events, failure = decode(reads)
        assert failure is None or isinstance(failure, BerlinError)
        repr(events).encode()
    assert len(CHAT.describe_error(data)) <= 300
    with contextlib.suppress(InvalidRequestError):
        sent(CHAT, CHAT.decode_request(data).request)


# Requests

IMAGES = st.sampled_from(["data:image/png;base64,AAAA", "https://x.example/a.png"]).map(ImagePart)
TEXTS = st.text(min_size=1, max_size=20).map(TextPart)
SEEN = st.lists(TEXTS | IMAGES, min_size=1, max_size=3).map(
    lambda parts: Message("user", tuple(parts))
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Draw messages in the order of this wire: the system, then the speakers in turn."""
    messages = [Message.of("system", text) for text in draw(st.lists(TEXT, max_size=1))]
    messages.append(draw(SEEN))
    ids = (f"id_{n}-x" for n in range(100))
    for _ in range(draw(st.integers(0, 3))):
        asked = [
            ToolCallPart(next(ids), name, arguments)
            for name, arguments in draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=3))
        ]
        said = draw(st.lists(TEXTS, min_size=0 if asked else 1, max_size=2))
        messages.append(Message("assistant", (*said, *asked)))
        for call in draw(st.permutations(asked)):
            messages.append(Message("tool", (ToolResultPart(call.id, draw(st.text())),)))
        if not asked or draw(st.booleans()):
            messages.append(draw(SEEN))
    return tuple(messages)


TEXT = st.text(min_size=1, max_size=20)
FLOATS = st.floats(0, 2, allow_nan=False)
OPTIONS = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 2**31 - 1)},
    optional={
        "temperature": FLOATS,
        "top_p": FLOATS,
        "top_k": st.integers(1, 100),
        "stop": st.lists(st.text(max_size=4), min_size=1, max_size=2),
    },
)
SCHEMAS = OBJECTS.map(lambda text: dump({"type": "object", "properties": {}, **json.loads(text)}))


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """Draw requests of which every member has its place on this wire."""
    tools = tuple(draw(st.lists(st.builds(Tool, NAMES, st.text(max_size=9), SCHEMAS), max_size=2)))
    options = draw(OPTIONS)
    choice, parallel = "auto", None
    if tools:
        choice = draw(st.sampled_from(["auto", "none", "required", *(t.name for t in tools)]))
        if choice != "none" and draw(st.booleans()):
            parallel = False
    return ChatRequest(
        draw(conversations()),
        draw(st.text("abc:/-.", min_size=1, max_size=12)),
        options,
        tools,
        choice,
        parallel,
        response_format=draw(st.none() | SCHEMAS.map(ResponseFormat)),
    )


@BOUNDED
@given(requests())
def test_a_request_survives_the_wire(request: ChatRequest) -> None:
    """decode_request(encode_request(x)) is x."""
    call = CHAT.decode_request(sent(CHAT, request).body)
    assert bare_request(call.request) == request
    assert (call.stream, call.include_usage) == (True, True)


@BOUNDED
@given(requests())
def test_wire_to_types_to_wire_is_stable(request: ChatRequest) -> None:
    """A body that is read and written again says the same."""
    body = sent(CHAT, request).body
    again = sent(CHAT, CHAT.decode_request(body).request).body
    assert json.loads(again) == json.loads(body)
