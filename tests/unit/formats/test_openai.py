"""The format of OpenAI's chat: what is sent, what services really answer, what clients get."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ContextLengthError,
    EmptyResponseError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    ServiceError,
    TruncatedStreamError,
)
from berlin.formats.contract import ClientCall
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.language.tables.chat import ChatMap
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
from support import formats
from support.bare import bare
from support.formats import body_of, decoded

FORMAT = OpenAIChatFormat("gpt")
HELLO = (Message.of("user", "Hello"),)
SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}
TOOL = Tool("add", "Adds.", json.dumps(SCHEMA, separators=(",", ":")))
FUNCTION = {"name": "add", "description": "Adds.", "parameters": SCHEMA}
decode = partial(decoded, FORMAT)


def sent(request: ChatRequest, chat: OpenAIChatFormat = FORMAT) -> dict[str, Any]:
    """Return the body of the request that a chat is."""
    return body_of(chat, request)


def chunk(delta: object, reason: str | None = None, **more: object) -> bytes:
    """Return a chunk with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: %b\n\n" % json.dumps({"choices": [choice], **more}).encode()


def calling(*calls: object) -> bytes:
    """Return a chunk with pieces of tool calls."""
    return chunk({"tool_calls": list(calls)})


A, STOP, DONE = chunk({"content": "a"}), chunk({}, "stop"), b"data: [DONE]\n\n"


# What is sent


def test_a_request_is_a_post_of_json() -> None:
    """A chat is one POST that streams, with the model of the request or the default one."""
    request = formats.sent(OpenAIChatFormat(chat=ChatMap(path="/x")), ChatRequest(HELLO))
    assert (request.method, request.path) == ("POST", "/x")
    assert request.headers["Accept"] == "text/event-stream"
    assert FORMAT.content_type == "text/event-stream; charset=utf-8"
    assert sent(ChatRequest(HELLO)) == {
        "model": "gpt",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }
    assert sent(ChatRequest(HELLO, "other"))["model"] == "other"


def test_messages_as_this_api_writes_them() -> None:
    """Text is text, images make parts, calls have null for no text, each answer its message.

    Most services of this dialect know only `system`; a recipe says where `developer` is known.
    """
    messages = (
        Message.of("developer", "Be kind."),
        Message("user", (TextPart("?"), ImagePart("https://x.example/a.png"))),
        Message("assistant", (ToolCallPart("a", "add", '{"x": 1}'),)),
        Message("tool", (ToolResultPart("a", "1"), ToolResultPart("b", "2"))),
    )
    call = {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
    assert sent(ChatRequest(messages))["messages"] == [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "?"},
                {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
    ]


def test_options_defaults_and_names() -> None:
    """Options go over defaults, under the service's names; the protocol's own are refused."""
    format_ = OpenAIChatFormat(
        "m", ChatMap(json={"temperature": 0, "seed": 1}, rename={"seed": "s"})
    )
    document = sent(ChatRequest(HELLO, options={"temperature": 1, "seed": 2}), format_)
    assert (document["temperature"], document["seed"], document["s"]) == (1, 1, 2)
    for name in ("messages", "stream", "tool_choice"):
        with pytest.raises(InvalidRequestError, match=f"^{name} is part of the protocol"):
            sent(ChatRequest(HELLO, options={name: None}))


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ("add", {"type": "function", "function": {"name": "add"}}),
    ],
)
def test_tools_and_their_choice(choice: str, written: object) -> None:
    """Every choice of tools has its form."""
    document = sent(ChatRequest(HELLO, tools=(TOOL,), tool_choice=choice))
    assert document["tools"] == [{"type": "function", "function": FUNCTION}]
    assert document.get("tool_choice") == written


def test_the_format_of_the_answer() -> None:
    """Any object has a form of its own; a schema needs a name."""
    any_object = sent(ChatRequest(HELLO, response_format=ResponseFormat()))
    assert any_object["response_format"] == {"type": "json_object"}
    schema = sent(ChatRequest(HELLO, response_format=ResponseFormat('{"type":"array"}')))[
        "response_format"
    ]
    assert schema["type"] == "json_schema"
    assert schema["json_schema"]["schema"] == {"type": "array"}
    assert schema["json_schema"]["name"]


# What services answer

RICH = (
    b": welcome\n\n"
    + chunk({"role": "assistant", "content": ""}, id="x", model="é")
    + b'data: {"choices":[],"prompt_filter_results":[{"a":[1,"}"]}]}\n\n'
    + chunk({"reasoning_content": "hm"})
    + chunk({"content": "data: \n\n \u2028[DONE]"}, usage=None)
    + b"event: message\r\nid: 1\r\n"
    + chunk({"content": "é😀"}).replace(b"\n", b"\r\n")
    + calling({"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}})
    + calling({"index": 0, "function": {"arguments": "1}"}})
    + chunk({}, "tool_calls")
    + b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,'
    b'"prompt_tokens_details":{"cached_tokens":1},'
    b'"completion_tokens_details":{"reasoning_tokens":2}}}\n\n' + DONE
)


def test_every_cut_of_a_rich_stream() -> None:
    """The same events come out wherever a read ends."""
    expected = [
        ReasoningDelta("hm"),
        TextDelta("data: \n\n \u2028[DONE]"),
        TextDelta("é😀"),
        ToolCallDelta(0, "c", "f", '{"a":'),
        ToolCallDelta(0, arguments="1}"),
        UsageReport(Usage(3, 4, cached_tokens=1, reasoning_tokens=2)),
        Finished("tool_calls"),
    ]
    for n in range(len(RICH) + 1):
        decoder = FORMAT.decoder()
        events = decoder.feed(RICH[:n]) + decoder.feed(RICH[n:])
        assert decoder.done
        assert (bare(events + decoder.finish()), decoder.failure) == (expected, None)


@pytest.mark.parametrize(
    "data",
    [
        A + STOP + DONE,
        chunk({"role": "assistant"}) + A + STOP + DONE,
        chunk({"role": "assistant", "content": None, "refusal": None}) + A + STOP + DONE,
        b'data: {"choices":[],"prompt_filter_results":[]}\n\n' + A + STOP + DONE,
        b": ping\n\n" + A + b": ping\n" + STOP + b"retry: 5\n" + DONE,
        b"event: chunk\nid: 7\n" + A + STOP + DONE,
        (A + STOP + DONE).replace(b"\n", b"\r\n"),
        (A + STOP + DONE).replace(b"\n", b"\r"),
        (A + STOP + DONE).replace(b"data: ", b"data:"),
        b"\xef\xbb\xbf" + A + STOP + DONE,
        b"\n\n" + A + b"\n" + STOP + DONE,
        A + STOP + DONE.rstrip(),
        A + STOP.rstrip(),
        A + STOP,
        A + DONE,
        A + DONE.rstrip(),
        A + STOP + DONE + A + b"broken",
        chunk({"content": "a"}, "stop"),
        chunk({"content": "a"}, "eos_token"),
        b'data: {"x":1e999,"choices":[{"delta":{"content":"a","y":[{"z":[]}]}}]}\n\n' + STOP,
        A + chunk({"content": ""}, "") + STOP,
        A + chunk(None) + STOP,
        A + b'data: {"choices":[{"index":1,"delta":{"content":"b"}}]}\n\n' + STOP,
        b'data: {"error":null,"choices":[{"delta":{"content":"a"}}]}\n\n' + STOP,
        b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"a"}}]}\n\n' + STOP,
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},'
        b'"finish_reason":"stop"}]}',
        b'\n{\n"choices": [{"message":\r\n{"content":"a"},"finish_reason":"stop"}]}\n',
        b'{"object":"chat.completion","choices":[{"message":{"content":"a"},'
        b'"finish_reason":null}]}',
        chunk({"content": [{"type": "text", "text": "a"}]}) + STOP,
    ],
)
def test_forms_of_a_good_answer(data: bytes) -> None:
    """Whatever a service adds or leaves out, the text and its end are read."""
    assert decode(data) == ([TextDelta("a"), Finished()], None)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
    ],
)
def test_finish_reasons_old_and_new(reason: str, expected: Any) -> None:
    """Every word for an end means one of the four."""
    assert decode(A + chunk({}, reason)) == ([TextDelta("a"), Finished(expected)], None)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm", "reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm", "content": ""}, [ReasoningDelta("hm")]),
        ({"reasoning": "hm", "content": "a"}, [ReasoningDelta("hm"), TextDelta("a")]),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "thinking", "thinking": "more"},
                    {"type": "text", "text": "a"},
                    {"type": "reference", "reference_ids": [1]},
                ]
            },
            [ReasoningDelta("hm"), ReasoningDelta("more"), TextDelta("a")],
        ),
    ],
)
def test_reasoning_under_every_name(delta: object, expected: list[StreamEvent]) -> None:
    """Services disagree where reasoning stands; it comes out once, and never as text."""
    assert decode(chunk(delta) + STOP) == ([*expected, Finished()], None)


F = {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (  # pieces without an index
            calling({"id": "x", "function": {"name": "f", "arguments": "{"}})
            + calling({"function": {"arguments": "}"}}),
            [ToolCallDelta(0, "x", "f", "{"), ToolCallDelta(0, arguments="}")],
        ),
        (  # one index for two calls
            calling({"index": 0, "id": "x", "function": F})
            + calling({"index": 0, "id": "y", "function": F}),
            [ToolCallDelta(0, "x", "f", "{}"), ToolCallDelta(1, "y", "f", "{}")],
        ),
        (  # an index that does not begin at 0, with the text counted in
            calling({"index": 3, "id": "x", "function": F})
            + calling({"index": 7, "id": "y", "function": F}),
            [ToolCallDelta(0, "x", "f", "{}"), ToolCallDelta(1, "y", "f", "{}")],
        ),
        (  # no id
            calling({"index": 0, "function": {"name": "f"}})
            + calling({"index": 0, "function": {"arguments": "{}"}})
            + calling({"index": 1, "id": "", "function": F}),
            [
                ToolCallDelta(0, "call_0", "f"),
                ToolCallDelta(0, arguments="{}"),
                ToolCallDelta(1, "call_1", "f", "{}"),
            ],
        ),
        (  # id and name in every piece
            calling({"index": 0, "id": "x", "function": {"name": "f", "arguments": "{"}})
            + calling({"index": 0, "id": "x", "function": {"name": "f", "arguments": "}"}}),
            [ToolCallDelta(0, "x", "f", "{"), ToolCallDelta(0, arguments="}")],
        ),
        (  # pieces of two calls, mixed
            calling({"index": 0, "id": "x", "function": {"name": "f", "arguments": "{"}})
            + calling({"index": 1, "id": "y", "function": {"name": "f", "arguments": ""}})
            + calling({"index": 0, "function": {"arguments": "}"}}),
            [
                ToolCallDelta(0, "x", "f", "{"),
                ToolCallDelta(0, arguments="}"),
                ToolCallDelta(1, "y", "f"),
            ],
        ),
        (  # several whole calls in one chunk, arguments as an object
            calling(
                {"function": {"name": "f", "arguments": {"a": "é"}}},
                {"function": {"name": "g", "arguments": None}},
            ),
            [ToolCallDelta(0, "call_0", "f", '{"a":"é"}'), ToolCallDelta(1, "call_1", "g")],
        ),
    ],
)
def test_tool_calls_as_services_count_them(data: bytes, expected: list[StreamEvent]) -> None:
    """Indexes and ids are repaired; `stop` after calls is `tool_calls`."""
    assert decode(data + STOP + DONE) == ([*expected, Finished("tool_calls")], None)


USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'


@pytest.mark.parametrize(
    "data",
    [
        A + STOP + USAGE + DONE,
        A + USAGE + STOP + DONE,
        A + STOP + USAGE.replace(b'"choices":[],', b'"choices":null,'),
        A + STOP + USAGE.replace(b'"choices":[],', b""),
        A + chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2}) + DONE,
        chunk({"content": "a"}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2}),
        chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 1}) + USAGE + STOP,
    ],
)
def test_usage_wherever_it_stands(data: bytes) -> None:
    """What an answer has cost is told once, the last word of the service."""
    assert decode(data) == ([TextDelta("a"), UsageReport(Usage(1, 2)), Finished()], None)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", EmptyResponseError, "empty answer"),
        (b"\n\n: ping\n\n", EmptyResponseError, "empty answer"),
        (DONE, EmptyResponseError, "empty answer"),
        (A, TruncatedStreamError, "finish reason"),
        (A + STOP + A[:30], TruncatedStreamError, "cut off"),
        (A + b'data: {"error":{"message":"boom"}}\n\n' + A + STOP + DONE, ServiceError, "boom"),
        (A + b'event: error\ndata: {"error":"boom"}\n\n', ServiceError, "boom"),
        (A + b'data: {"error":{"message":"boom","code":401}}\n\n', AuthenticationError, "boom"),
        (A + b'data: {"error":{"message":"boom","code":"429"}}\n\n', RateLimitError, "boom"),
        (A + b'data: {"object":"error","message":"boom","code":401}\n\n', AuthenticationError, ""),
        (A + b'data: {"detail":"boom"}\n\n', ServiceError, "boom"),
        (A + b'data: {"x":1}\n\n', ProtocolError, "neither choices nor an error"),
        (A + b"data: 5\n\n", ProtocolError, ""),
        (A + b"data: nonsense\n\n", ProtocolError, "nonsense"),
        (A + b'data: {"choices":[{"delta":{"content":5}}]}\n\n', ProtocolError, "content"),
        (A + b'data: {"choices":[{"delta":{"content":{"a":1}}}]}\n\n', ProtocolError, "content"),
        (A + b'data: {"choices":[{"delta":{"content":"b\0"}}]}\n\n', ProtocolError, "character"),
        (A + b"data: []\n\n", ProtocolError, "[]"),
        (b")]}'\n" + A + STOP + DONE, ProtocolError, ")]}'"),
        (b"while(1);" + A + STOP + DONE, ProtocolError, "while(1);"),
        (b"upstream error", ProtocolError, "upstream error"),
        (A + b'data: {"choices":{}}\n\n', ProtocolError, "choices"),
        (A + b'data: {"choices":' + b"[" * 50_000 + b"\n\n", ProtocolError, ""),
        (
            A + b'data: {"choices":[],"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n\n",
            ProtocolError,
            "deep",
        ),
    ],
)
def test_forms_of_a_bad_answer(data: bytes, kind: type[BerlinError], words: str) -> None:
    """What came before a fault is good, and the error says what was wrong."""
    events, failure = decode(data)
    assert events == ([TextDelta("a")] if data.startswith(A) else [])
    assert type(failure) is kind
    assert words in str(failure)


def said(piece: bytes, more: bytes = b"") -> bytes:
    """Return a chunk with a piece of text, as it is written."""
    return b'data: {"choices":[{"delta":{"content":"%b"}}]%b}\n\n' % (piece, more)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (said(b"a\\ud83d") + said(b"\\ude00b"), "a\U0001f600b"),
        (said(b"a\\ud83d!") + said(b"\\\\ud83d"), "a\ufffd!\\ud83d"),
        (said(b"a\\ud83d"), "a\ufffd"),
        (said(b"a\xff"), "a\ufffd"),
        (said(b"a\tb"), "a\tb"),
        (said(b"a", b',"usage":{"cost":NaN,"prompt_tokens":1}'), "a"),
        (b"data: null\n\n" + said(b"a"), "a"),
        (b"data: " + said(b"a"), "a"),
    ],
)
def test_documents_that_are_nearly_json(data: bytes, text: str) -> None:
    """What is not quite JSON costs no text: pairs that were cut are joined, NaN is unknown."""
    for size in (len(data), 1):
        decoder = FORMAT.decoder()
        events: list[StreamEvent] = []
        for n in range(0, len(data), size):
            events += decoder.feed(data[n : n + size])
        events += decoder.feed(STOP + b"data: [done]\n\n")
        assert decoder.failure is None
        assert decoder.done
        assert "".join(e.text for e in events if isinstance(e, TextDelta)) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"choices":[{"delta":{"content":"a"}}]}\n', "a"),
        (b'[{"choices":[{"delta":{"content":"a"}}]},{"choices":[]}]', "a"),
    ],
)
def test_chunks_that_are_no_events(data: bytes, text: str) -> None:
    """Chunks as lines of JSON, or in one list, are understood."""
    end = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'
    whole = data + end + b"\n" if data[:1] == b"{" else data[:-1] + b"," + end + b"]"
    assert decode(whole) == ([TextDelta(text), Finished()], None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":{"message":"boom","type":"x"}}', ServiceError),
        (b'{\n  "error": {\n"message":"boom", "code": 401}}\n', AuthenticationError),
        (b'{"error":{"message":"boom: maximum context length"}}', ContextLengthError),
        (b"<html>boom</html>", ProtocolError),
        (b'["boom"]', ProtocolError),
        (b'[{"error":"boom"}]', ServiceError),
        (b'{"success":false,"errors":[{"code":7003,"message":"boom"}]}', ServiceError),
    ],
)
def test_s32_a_success_whose_whole_body_is_an_error(body: bytes, kind: type[BerlinError]) -> None:
    """An error with status 200 is an error, in whatever form it comes."""
    events, failure = decode(body)
    assert events == []
    assert type(failure) is kind
    assert "boom" in str(failure)


# What clients send


asked = partial(formats.asked, FORMAT)


def refused(body: bytes) -> InvalidRequestError:
    """Return the error that a request is."""
    error = formats.refused(FORMAT, body)
    assert error.http_status == 400
    return error


def test_a_call_streams_only_if_it_says_so() -> None:
    """On this API a whole answer is the default, and usage in a stream has to be asked for."""
    assert asked() == ClientCall(ChatRequest(HELLO, "m"), stream=False)
    assert asked(stream=None).stream is False
    assert asked(stream=True) == ClientCall(ChatRequest(HELLO, "m"), stream=True)
    assert asked(stream=True, stream_options={"include_usage": True}).include_usage
    assert not asked(stream=True, stream_options={"include_usage": None}).include_usage
    assert not asked(stream=True, stream_options=None).include_usage


@pytest.mark.parametrize(
    ("members", "options"),
    [
        ({"temperature": None, "max_tokens": None}, {}),
        (
            {"temperature": 1, "top_p": 0.5, "seed": -1},
            {"temperature": 1, "top_p": 0.5, "seed": -1},
        ),
        ({"max_tokens": 3}, {"max_tokens": 3}),
        ({"max_completion_tokens": 4}, {"max_tokens": 4}),
        ({"max_tokens": 3, "max_completion_tokens": 4}, {"max_tokens": 4}),
        ({"stop": "END"}, {"stop": "END"}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        (
            {"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"], "functions": []},
            {},
        ),
        ({"user": "x", "metadata": {"a": [1]}, "nobody_knows": {}}, {"user": "x"}),
    ],
)
def test_g11_options_that_clients_send(members: dict[str, Any], options: dict[str, Any]) -> None:
    """Known options are taken, null is nothing, and unknown members are ignored."""
    assert asked(**members).request.options == options


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("any", "required"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "function", "name": "add"}, "add"),
    ],
)
def test_choices_of_tools_that_clients_send(choice: object, expected: str) -> None:
    """Every form of `tool_choice` is understood; without tools there is no choice."""
    request = asked(tools=[{"type": "function", "function": FUNCTION}], tool_choice=choice).request
    assert request.tools == (TOOL,)
    assert request.tool_choice == expected
    for without in ("auto", "none"):
        assert asked(tool_choice=without, tools=[]).request.tool_choice == "auto"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, ResponseFormat()),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "x", "strict": True, "schema": {"type": "array"}},
            },
            ResponseFormat('{"type":"array"}', "x", True),
        ),
    ],
)
def test_formats_that_clients_send(value: object, expected: ResponseFormat | None) -> None:
    """Text is the default, any object is the widest schema."""
    assert asked(response_format=value).request.response_format == expected


def test_messages_that_clients_send() -> None:
    """Every form of a message is understood: parts, calls beside null or nothing, refusals."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind.", "name": "x"},
        {"role": "user", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "assistant", "content": "Hm", "tool_calls": [call]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "1"}] * 2},
    ]
    called = ToolCallPart("a", "f", "{}")
    assert asked(messages=messages).request.messages == (
        Message.of("system", "Be brief."),
        Message.of("developer", "Be kind."),
        Message.of("user", ""),
        Message("user", (TextPart("?"), ImagePart("data:image/png;base64,AA"))),
        Message("assistant", (called,)),
        Message("assistant", (called,)),
        Message("assistant", (TextPart("Hm"), called)),
        Message.of("assistant", "No"),
        Message("tool", (ToolResultPart("a", "1"),)),
        Message("tool", (ToolResultPart("a", "11", parts=(TextPart("1"),) * 2),)),
    )


@pytest.mark.parametrize(
    ("members", "param"),
    [
        *(({"max_tokens": value}, "max_tokens") for value in (-1, 0, 1e30, "10", True, 2**31)),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"n": 2}, "n"),
        ({"temperature": "NaN"}, "temperature"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop": 5}, "stop"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"function": {"name": ""}}]}, "tools[0]"),
        (
            {"tools": [{"function": {"name": "f", "parameters": [1]}}]},
            "tools[0].function.parameters",
        ),
        *(
            ({"tools": [{"function": FUNCTION}], "tool_choice": choice}, "tool_choice")
            for choice in ("sometimes", 7, {})
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"function": {"name": "f"}}}, "tool_choice"),
        (
            {"tools": [{"function": FUNCTION}], "tool_choice": {"function": {"name": "g"}}},
            "tool_choice",
        ),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
        ),
        ({"model": None}, "model"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"model": 5}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"model": "x" * 100_000}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 5}, "stream_options"),
    ],
)
def test_g10_g48_g49_faults_name_the_member(members: dict[str, Any], param: str) -> None:
    """A member that is wrong, or cannot be honoured, is a 400 that names it."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **members}
    error = refused(json.dumps(body).encode())
    assert error.param == param
    assert len(error.message) < 300


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"nonsense",
        b"\xff",
        '{"messages":[]}'.encode("utf-16"),
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"messages":[{"role":"user","content":"x"}],"temperature":NaN}',
        b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}',
        b'{"messages":' + b"[" * 100_000,
        b'{"messages":[{"role":"user","content":' + b"[" * 200_000 + b"]" * 200_000 + b"}]}",
    ],
)
def test_g09_g14_bodies_that_are_no_request(body: bytes) -> None:
    """Whatever is no JSON in UTF-8, or is nested without end, is refused."""
    assert refused(body)


@pytest.mark.parametrize(
    "message",
    [
        b'{"role":"user","content":"x"}',
        b'{"r\\u006fle":"user","content":"x"}',
        b"{}",
        b"1",
    ],
)
def test_g17_a_million_messages_are_refused_at_once(message: bytes) -> None:
    """Nobody has to read a million messages to refuse them, however they are written."""
    body = b'{"messages":[' + b",".join([message] * 1_000_000) + b"]}"
    error = refused(body)
    assert (error.param or "").startswith("messages") or "values" in error.message


# What clients get


def frames(data: bytes) -> list[Any]:
    """Return the data of each frame; `[DONE]` is text."""
    assert data.endswith(b"\n\n")
    found = []
    for frame in data.removesuffix(b"\n\n").split(b"\n\n"):
        assert frame.startswith(b"data: ")
        assert b"\n" not in frame
        text = frame.removeprefix(b"data: ")
        found.append("[DONE]" if text == b"[DONE]" else json.loads(text))
    return found


def answer(*events: StreamEvent, include_usage: bool = False) -> list[Any]:
    """Return the frames of an answer."""
    encoder = FORMAT.encoder(ClientCall(ChatRequest(HELLO, "m"), include_usage=include_usage))
    return frames(b"".join(map(encoder.encode_event, events)))


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_the_reason_of_the_end(reason: Any) -> None:
    """Each reason is told by its name, once, and after calls `stop` gives way."""
    *_, end, _ = answer(Finished(reason))
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": reason}]
    *_, end, _ = answer(ToolCallDelta(0, "x", "f", "{}"), Finished(reason))
    expected = "tool_calls" if reason == "stop" else reason
    assert end["choices"][0]["finish_reason"] == expected
