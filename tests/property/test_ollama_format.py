"""The format of Ollama's API read from both ends: what one writes, the other reads."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.contract import ClientCall
from berlin.formats.ollama.format import OllamaChatFormat, OllamaGenerateFormat
from berlin.types import (
    ChatRequest,
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
CHAT, GENERATE = OllamaChatFormat("llama"), OllamaGenerateFormat("llama")
CALL = ClientCall(ChatRequest((Message.of("user", "Hello"),), "llama"))

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
# Written as escapes, so that a line stays one line to every reader: the same JSON, other text.
OBJECTS = OBJECTS.filter(lambda text: not {*text} & {"\x85", "\u2028", "\u2029"})


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


def sent(request: ChatRequest) -> HttpRequest:
    """Return the request that a chat is."""
    exchange = CHAT.encode_request(request)
    with pytest.raises(StopIteration) as stopped:
        next(exchange)
    found = stopped.value.value
    assert isinstance(found, HttpRequest)
    return found


# Answers

SAID = st.lists(
    st.text(min_size=1).map(TextDelta) | st.text(min_size=1).map(ReasoningDelta), max_size=12
)
CALLS = st.lists(st.tuples(st.text(min_size=1, max_size=8), NAMES, OBJECTS), max_size=3).map(
    lambda calls: [
        ToolCallDelta(n, f"{id}{n}", name, arguments)
        for n, (id, name, arguments) in enumerate(calls)
    ]
)
REASONS = st.sampled_from(["stop", "length", "content_filter"])


@pytest.mark.parametrize("format_", [CHAT, GENERATE])
@BOUNDED
@given(
    said=SAID,
    calls=CALLS,
    usage=st.builds(Usage, COUNTS, COUNTS),
    reason=REASONS,
    sizes=CUTS,
    blank=st.sampled_from([b"", b"\n", b" \r\n"]),
)
def test_what_is_encoded_is_decoded(
    format_: OllamaChatFormat,
    said: list[StreamEvent],
    calls: list[StreamEvent],
    usage: Usage,
    reason: Any,
    sizes: list[int],
    blank: bytes,
) -> None:
    """decode(encode(events)) are the events, under every cut and with keep-alives between."""
    if calls and reason == "stop":
        reason = "tool_calls"
    events = [*said, *calls, UsageReport(usage), Finished(reason)]
    encoder = format_.encoder(CALL)
    data = b"".join(
        encoder.encode_event(event) + blank + (b"" if event is events[-1] else encoder.keep_alive())
        for event in events
    )
    assert decode(iter([data])) == (events, None)
    assert decode(cut(data, sizes)) == (events, None)


@BOUNDED
@given(OBJECTS, CUTS, st.integers(0, 5))
def test_pieces_of_a_call_are_one_call(arguments: str, sizes: list[int], others: int) -> None:
    """However a call was cut into pieces, and whatever stands between, it is written whole."""
    encoder = CHAT.encoder(CALL)
    pieces = [
        piece.decode("latin-1") for piece in cut(arguments.encode("latin-1", "ignore"), sizes)
    ]
    whole = "".join(pieces)
    data = encoder.encode_event(ToolCallDelta(0, "a", "first"))
    data += encoder.encode_event(ToolCallDelta(1, "b", "second"))
    for piece in pieces:
        data += encoder.encode_event(ToolCallDelta(0, arguments=piece))
        data += encoder.encode_event(ToolCallDelta(1))
    assert data == b""
    events, failure = decode(iter([encoder.encode_event(Finished("tool_calls"))]))
    assert failure is None
    first, second = events[:2]
    assert isinstance(first, ToolCallDelta)
    assert (first.id, first.name) == ("a", "first")
    assert json.loads(first.arguments) == json.loads(whole)
    assert second == ToolCallDelta(1, "b", "second", "{}")


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


ODD_LINES = (
    *(b'{"message":{"content":"a"}}\n', b'{"message":{"content":""}}\n', b'{"message":{}}\n'),
    *(b'{"message":{"content":null,"thinking":"t"}}\n', b'{"message":{"content":1}}\n'),
    *(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}}\n', b"\n"),
    *(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":[1]}}]}}\n', b" \r\n", b"{"),
    *(b'{"response":"b"}\n', b'{"done":true}\n', b'{"done":true,"done_reason":"length"}', b"[]\n"),
    *(b'{"message":{"content":"c"},"done":true,"eval_count":1}\n', b'{"error":"no"}\n', b"\xff\n"),
    *(b'{"error":""}\n', b'{"message":"no","code":401}\n', b'{"error":{"message":"x"}}\n', b"}"),
    *(b'{"message":{"content":"d"}}{"message":{"content":"e"}}\n', b"[DONE]\n", b'{"x":1}\n'),
    *(b'{"message":\n', b'{"content":"f"}}\n', b"\0", b"null\n"),
)


@settings(max_examples=250)
@given(st.lists(st.sampled_from(ODD_LINES), max_size=8).map(b"".join), CUTS)
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
            *("message", "response", "thinking", "tool_calls", "done", "done_reason", "error"),
            *("code", "eval_count", "prompt_eval_count", "model", "content", "function", "name"),
            *("arguments", "role", "messages", "options", "format", "think", "images", "prompt"),
        ]
    ),
    st.deferred(lambda: JSON | MEMBERS | st.lists(MEMBERS, max_size=2)),
    max_size=5,
)


@settings(max_examples=250)
@given(
    st.binary(max_size=80) | st.lists(MEMBERS.map(dump).map(str.encode), max_size=4).map(b"\n".join)
)
@example(b'{"error":' + b"[" * 200_000)
@example(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + b"[" * 9000)
@example(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":1e999}}}]}}\n')
@example(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\\ud800"}}}]}}\n')
@example(b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]}}\n')
@example(b'{"message":{"content":"\\ud800"}}\n')
@example(b'{"eval_count":' + b"9" * 100_000 + b"}\n")
@example(b'{"done":true,"eval_count":1e999}\n')
@example(b'{"error":{"code":NaN}}\n')
def test_any_bytes_give_values_or_a_berlin_error(data: bytes) -> None:
    """No answer and no request makes the format raise anything but a BerlinError."""
    for reads in (iter([data]), cut(data, [1] * 50)):
        events, failure = decode(reads)
        assert failure is None or isinstance(failure, BerlinError)
        repr(events).encode()
    assert len(CHAT.describe_error(data)) <= 300
    for format_ in (CHAT, GENERATE):
        with contextlib.suppress(InvalidRequestError):
            sent(format_.decode_request(data).request)


# Requests

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(9)).decode()
JPEG = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(9)).decode()
TEXTS = st.text(min_size=1, max_size=20).map(TextPart)
IMAGES = st.lists(st.sampled_from([PNG, JPEG]).map(ImagePart), max_size=2)
PLAIN = st.builds(
    lambda role, text: Message(role, (text,)), st.sampled_from(["system", "user"]), TEXTS
)
SEEN = st.builds(lambda text, images: Message("user", (text, *images)), TEXTS, IMAGES)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Draw messages of which every part can stand on this wire."""
    messages: list[Message] = draw(st.lists(PLAIN | SEEN, min_size=1, max_size=3))
    ids = (f"id_{n}" for n in range(100))
    for _ in range(draw(st.integers(0, 3))):
        said = draw(st.lists(TEXTS, max_size=1))
        calls = [
            ToolCallPart(next(ids), name, arguments)
            for name, arguments in draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=3))
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
        "min_p": FLOATS,
        "seed": st.integers(-(2**31), 2**31),
        "presence_penalty": FLOATS,
        "frequency_penalty": FLOATS,
        "stop": st.lists(st.text(max_size=4), max_size=2),
        "max_tokens": st.integers(1, 2**31 - 1),
    },
)
# A schema without `type` and `properties` is completed, since services insist on them.
PARAMETERS = st.dictionaries(st.text(max_size=6), JSON, max_size=2).map(
    lambda more: dump({**more, "type": "object", "properties": {}})
)
TOOLS = st.lists(st.builds(Tool, NAMES, st.text(max_size=9), PARAMETERS), max_size=2).map(tuple)
REQUESTS = st.builds(
    ChatRequest,
    conversations(),
    st.text("abc:/-.", min_size=1, max_size=12),
    OPTIONS,
    TOOLS,
    response_format=st.none() | OBJECTS.map(ResponseFormat) | st.just(ResponseFormat()),
    reasoning=st.none() | st.sampled_from(["none", "low", "medium", "high"]).map(Reasoning),
)


@BOUNDED
@given(REQUESTS)
def test_a_request_survives_the_wire(request: ChatRequest) -> None:
    """decode_request(encode_request(x)) is x."""
    call = CHAT.decode_request(sent(request).body)
    assert bare_request(call.request) == request
    assert (call.stream, call.include_usage) == (True, True)


@BOUNDED
@given(REQUESTS)
def test_wire_to_types_to_wire_is_stable(request: ChatRequest) -> None:
    """A body that is read and written again says the same."""
    body = sent(request).body
    again = sent(CHAT.decode_request(body).request).body
    assert json.loads(again) == json.loads(body)


@BOUNDED
@given(st.lists(st.tuples(NAMES, OBJECTS), min_size=1, max_size=5), st.randoms())
def test_tools_answer_by_name_and_order_where_there_are_no_ids(
    asked: list[tuple[str, str]], random: Any
) -> None:
    """Without ids each answer belongs to the next call of its name."""
    calls = [
        {"function": {"name": name, "arguments": json.loads(arguments)}}
        for name, arguments in asked
    ]
    order = list(range(len(asked)))
    random.shuffle(order)
    # Calls of one name are answered in their order; only the names are mixed.
    results = [{"role": "tool", "tool_name": asked[n][0], "content": "x"} for n in order]
    messages = [{"role": "assistant", "content": "", "tool_calls": calls}, *results]
    body = dump({"model": "m", "messages": messages}).encode()
    first, *answers = CHAT.decode_request(body).request.messages
    made = [part for part in first.parts if isinstance(part, ToolCallPart)]
    assert [part.id for part in made] == [f"call_{n}" for n in range(len(asked))]
    left = list(made)
    for n, answer in zip(order, answers, strict=True):
        expected = next(part for part in left if part.name == asked[n][0])
        left.remove(expected)
        [part] = answer.parts
        assert isinstance(part, ToolResultPart)
        assert (part.id, part.content) == (expected.id, "x")
