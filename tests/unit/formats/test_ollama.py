"""The format of Ollama's API: what is sent, what is read, what clients are told."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import pytest

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    EmptyResponseError,
    InvalidRequestError,
    ProtocolError,
    ServiceError,
    TruncatedStreamError,
)
from berlin.formats.contract import ClientCall
from berlin.formats.ollama.format import OllamaChatFormat, OllamaGenerateFormat
from berlin.language.tables.chat import ChatMap
from berlin.types import (
    ChatRequest,
    ChatResponse,
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
from support.bare import bare_request
from support.formats import body_of, decoded, refused

CHAT, GENERATE = OllamaChatFormat("llama"), OllamaGenerateFormat("llama")
HELLO = (Message.of("user", "Hello"),)
SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}}
TOOL = Tool("add", "Adds.", json.dumps(SCHEMA, separators=(",", ":")))
decode = partial(decoded, CHAT)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(9)).decode()


def sent(request: ChatRequest, chat: OllamaChatFormat = CHAT) -> dict[str, Any]:
    """Return the body of the request that a chat is."""
    return body_of(chat, request)


def asked(format_: OllamaChatFormat = CHAT, **members: Any) -> ClientCall:
    """Return what a request with these members asks for."""
    return formats.asked(format_, **members)


# What is sent


def test_a_request_is_a_post_of_json() -> None:
    """A chat is one POST that streams, to the path of the format."""
    for format_, path in ((CHAT, "/api/chat"), (OllamaChatFormat(chat=ChatMap(path="/x")), "/x")):
        with pytest.raises(StopIteration) as stopped:
            next(format_.encode_request(ChatRequest(HELLO)))
        request = stopped.value.value
        assert (request.method, request.path) == ("POST", path)
        assert request.headers["Accept"] == format_.content_type == "application/x-ndjson"
    assert sent(ChatRequest(HELLO)) == {
        "model": "llama",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }


def test_messages_as_this_api_writes_them() -> None:
    """Developers are the system, images are base64, arguments are objects, answers have names."""
    messages = (
        Message.of("developer", "Be kind."),
        Message("user", (TextPart("What is "), ImagePart(f"data:image/png;base64,{PNG}"))),
        Message("assistant", (ToolCallPart("a", "add", '{"x": 1}'), ToolCallPart("b", "f", "no"))),
        Message("tool", (ToolResultPart("b", "2"), ToolResultPart("zz", "3"))),
    )
    assert sent(ChatRequest(messages))["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is ", "images": [PNG]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "a", "function": {"name": "add", "arguments": {"x": 1}}},
                {"id": "b", "function": {"name": "f", "arguments": {"arguments": "no"}}},
            ],
        },
        {"role": "tool", "content": "2", "tool_call_id": "b", "tool_name": "f"},
        {"role": "tool", "content": "3", "tool_call_id": "zz"},
    ]


@pytest.mark.parametrize(
    "url", ["https://x.example/a.png", "data:image/png,abc", "data:image/png;base64,a!b", "x"]
)
def test_only_images_that_are_there_can_be_sent(url: str) -> None:
    """This API fetches no URLs, so a request with one is refused before it is sent."""
    message = Message("user", (ImagePart(url),))
    with pytest.raises(InvalidRequestError, match="only as data:") as raised:
        sent(ChatRequest((message,)))
    assert raised.value.param == "messages[0]"


def test_options_stand_where_this_api_wants_them() -> None:
    """Sampling stands below `options` under its name here, `think` and `keep_alive` above."""
    options = {
        "max_tokens": 5,
        "stop": "END",
        "temperature": 0.5,
        "num_ctx": 4096,
        "keep_alive": "5m",
        "reasoning_effort": "none",
    }
    document = sent(ChatRequest(HELLO, options=options))
    assert document["options"] == {
        "num_predict": 5,
        "stop": ["END"],
        "temperature": 0.5,
        "num_ctx": 4096,
    }
    assert document["keep_alive"] == "5m"
    assert document["think"] is False
    assert sent(ChatRequest(HELLO, options={"reasoning_effort": "high"}))["think"] == "high"
    assert sent(ChatRequest(HELLO, options={"think": True}))["think"] is True


def test_defaults_may_be_overridden_one_by_one() -> None:
    """A request overrides the default that it names, and no other."""
    defaults = {"keep_alive": "1h", "options": {"num_ctx": 8192, "temperature": 0}}
    format_ = OllamaChatFormat(chat=ChatMap(json=defaults, rename={"top_k": "k"}))
    document = sent(ChatRequest(HELLO, options={"temperature": 1, "top_k": 3}), format_)
    assert document["options"] == {"num_ctx": 8192, "temperature": 1, "k": 3}
    assert document["keep_alive"] == "1h"
    assert defaults["options"] == {"num_ctx": 8192, "temperature": 0}
    with pytest.raises(ConfigurationError, match=r"^json\.options "):
        OllamaChatFormat(chat=ChatMap(json={"options": 5}))


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"messages": []}, None),
        ({"options": {}}, None),
    ],
)
def test_what_this_api_does_not_know_is_refused(options: dict[str, Any], param: str | None) -> None:
    """An option without a word here is an error that names it, not one that is dropped."""
    with pytest.raises(InvalidRequestError, match=next(iter(options))) as raised:
        sent(ChatRequest(HELLO, options=options))
    assert raised.value.param == param


def test_tools_and_their_choice() -> None:
    """Tools are sent unless none is wanted; to force one is beyond this API."""
    function = {"name": "add", "description": "Adds.", "parameters": SCHEMA}
    tools = [{"type": "function", "function": function}]
    assert sent(ChatRequest(HELLO, tools=(TOOL,)))["tools"] == tools
    assert "tools" not in sent(ChatRequest(HELLO, tools=(TOOL,), tool_choice="none"))
    for choice in ("required", "add"):
        with pytest.raises(InvalidRequestError) as raised:
            sent(ChatRequest(HELLO, tools=(TOOL,), tool_choice=choice))
        assert raised.value.param == "tool_choice"


def test_the_format_of_the_answer() -> None:
    """Any object is `json` here; a schema is sent as it is."""
    assert sent(ChatRequest(HELLO, response_format=ResponseFormat()))["format"] == "json"
    schema = '{"type":"array"}'
    assert sent(ChatRequest(HELLO, response_format=ResponseFormat(schema)))["format"] == {
        "type": "array"
    }


# What is read

END = b'{"model":"m","message":{"role":"assistant","content":""},"done":true}\n'


def said(text: str) -> bytes:
    """Return a line with text."""
    return b'{"model":"m","message":{"role":"assistant","content":"%b"}}\n' % text.encode()


def test_a_stream_as_the_server_sends_it() -> None:
    """Thinking, text, a whole call and the counts come out as events."""
    data = (
        b'{"model":"m","created_at":"2026-01-01T00:00:00.1Z",'
        b'"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}\n'
        + said("Hel")
        + said("lo")
        + b'{"message":{"role":"assistant","content":"","tool_calls":[{"id":"call_x","function":'
        b'{"index":0,"name":"add","arguments":{"x":1, "y":"\xc3\xa9"}}},'
        b'{"function":{"name":"add","arguments":{}}}]},"done":false}\n'
        b'{"message":{"role":"assistant","content":""},"done_reason":"stop","done":true,'
        b'"total_duration":5,"prompt_eval_count":26,"eval_count":3}\n'
    )
    assert decode(data) == (
        [
            ReasoningDelta("hm"),
            TextDelta("Hel"),
            TextDelta("lo"),
            ToolCallDelta(0, "call_x", "add", '{"x":1,"y":"é"}'),
            ToolCallDelta(1, "call_1", "add", "{}"),
            UsageReport(Usage(26, 3)),
            Finished("tool_calls"),
        ],
        None,
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"response":"a"}\n{"response":"","done":true}\n', [TextDelta("a"), Finished()]),
        (b'{"message":{"content":"a"},"done":true}', [TextDelta("a"), Finished()]),
        (b"\n \r\n" + said("a") + b"\n" + END, [TextDelta("a"), Finished()]),
        (END + said("never read"), [Finished()]),
        (END + b"{broken", [Finished()]),
        (b'{"done":true,"done_reason":"load"}\n', [Finished()]),
        (b'{"done":true,"done_reason":"unload"}\n', [Finished()]),
        (b'{"done":true,"done_reason":"length"}\n', [Finished("length")]),
        (
            b'{"done":true,"eval_count":7}\n',
            [UsageReport(Usage(0, 7, lacks="input_tokens")), Finished()],
        ),
        (b'{"error":"","done":true}\n', [Finished()]),
        (b'{"message":{"content":null,"tool_calls":[]},"done":true}\n', [Finished()]),
        (
            b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{\\"a\\":1}"}}]}}\n'
            + END,
            [ToolCallDelta(0, "call_0", "f", '{"a":1}'), Finished("tool_calls")],
        ),
    ],
)
def test_forms_of_a_good_answer(data: bytes, expected: list[StreamEvent]) -> None:
    """Generate, whole answers, blank lines, old servers: all end with `done`."""
    assert decode(data) == (expected, None)


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", EmptyResponseError, "empty answer"),
        (said("a"), TruncatedStreamError, "finish reason"),
        (said("a") + END[:30], TruncatedStreamError, "cut off"),
        (said("a") + b'{"error":"out of memory"}\n', ServiceError, "out of memory"),
        (said("a") + b'{"error":{"message":"busy"}}\n' + END, ServiceError, "busy"),
        (said("a") + b'{"error":{"code":401}}\n', AuthenticationError, "401"),
        (said("a") + b'{"message":"no","code":401}\n', AuthenticationError, "no"),
        (said("a") + b'{"x":1}\n', ProtocolError, "neither a message nor an error"),
        (said("a") + b'{"message":{"content":5}}\n', ProtocolError, "content"),
        (said("a") + b"nonsense\n" + END, ProtocolError, "nonsense"),
        (
            said("a") + b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":[1]}}]}}\n',
            ProtocolError,
            "not an object",
        ),
    ],
)
def test_forms_of_a_bad_answer(data: bytes, kind: type[BerlinError], words: str) -> None:
    """What came before a fault is good, and the error says what was wrong."""
    events, failure = decode(data)
    assert events == ([TextDelta("a")] if data else [])
    assert type(failure) is kind
    assert words in str(failure)


def test_what_an_error_answer_says() -> None:
    """The text of an error is shown without its JSON."""
    assert CHAT.describe_error(b'{"error":"model not found"}') == "model not found"


# What clients send


def test_a_call_streams_unless_it_says_no() -> None:
    """On this API, streaming is the default."""
    assert asked().stream
    assert asked(stream=None).stream
    assert asked(stream=True).stream
    assert not asked(stream=False).stream
    assert asked().request == ChatRequest(HELLO, "m")


def test_options_that_clients_send() -> None:
    """Sampling options get their usual names; those of loading a model are left out."""
    options = {
        "num_predict": 7,
        "temperature": None,
        "top_p": 0.5,
        "stop": ["a"],
        "num_ctx": 4096,
        "num_gpu": 1,
        "nobody_knows": [],
    }
    request = asked(options=options, keep_alive="5m", unknown=1).request
    assert request.options == {"max_tokens": 7, "top_p": 0.5, "stop": ["a"]}
    for unlimited in (-1, -2):
        assert asked(options={"num_predict": unlimited}).request.options == {}
    assert asked(options=None).request.options == {}


@pytest.mark.parametrize(
    ("think", "expected"),
    [(None, None), (True, "medium"), (False, "none"), ("low", "low"), ("high", "high")],
)
def test_thinking(think: object, expected: str | None) -> None:
    """A level is a reasoning effort, and to think at all is a medium one."""
    reasoning = asked(think=think).request.reasoning
    assert (reasoning and reasoning.effort) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("json", ResponseFormat()),
        ({"type": "array"}, ResponseFormat('{"type":"array"}')),
    ],
)
def test_formats_that_clients_send(value: object, expected: ResponseFormat | None) -> None:
    """`json` is any object, and a schema is a schema."""
    assert asked(format=value).request.response_format == expected


def test_a_conversation_with_tools_and_images() -> None:
    """Ids are made up in order, answers find their calls, images say what they are."""
    call = {"function": {"name": "add", "arguments": {"x": 1}}}
    messages = [
        {"role": "User", "content": "?", "images": [PNG]},
        {"role": "assistant", "tool_calls": [call, {"function": {"name": "f"}}]},
        {"role": "tool", "content": "f!", "tool_name": "f"},
        {"role": "tool", "content": "3"},
        {"role": "user", "content": "again"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "x", **call}]},
        {"role": "tool", "content": "4", "tool_call_id": "x"},
        {"role": "tool", "content": "nobody asked"},
    ]
    assert asked(messages=messages).request.messages == (
        Message("user", (TextPart("?"), ImagePart(f"data:image/png;base64,{PNG}"))),
        Message(
            "assistant",
            (ToolCallPart("call_0", "add", '{"x":1}'), ToolCallPart("call_1", "f", "{}")),
        ),
        Message("tool", (ToolResultPart("call_1", "f!"),)),
        Message("tool", (ToolResultPart("call_0", "3"),)),
        Message.of("user", "again"),
        Message("assistant", (ToolCallPart("x", "add", '{"x":1}'),)),
        Message("tool", (ToolResultPart("x", "4"),)),
        Message.of("tool", "nobody asked"),
    )


def test_a_call_that_was_never_answered_takes_no_later_answer() -> None:
    """An answer belongs to the calls before it in the same turn."""
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    messages = [call, {"role": "user", "content": "?"}, call, {"role": "tool", "content": "1"}]
    assert asked(messages=messages).request.messages[-1].parts == (ToolResultPart("call_1", "1"),)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "king", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"content": ""}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0]"),
        ({"messages": [{"role": "user", "images": ["AAAA"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": [PNG + "!"]}]}, "messages[0].images[0]"),
        ({"model": None}, "model"),
        ({"model": " "}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"options": {"num_predict": 0}}, "options.num_predict"),
        ({"options": {"num_predict": -3}}, "options.num_predict"),
        ({"options": {"num_predict": "10"}}, "options.num_predict"),
        ({"options": {"num_predict": True}}, "options.num_predict"),
        ({"options": {"num_predict": 1e30}}, "options.num_predict"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": []}, "options"),
        ({"stream": "yes"}, "stream"),
        ({"think": "maximal"}, "think"),
        ({"think": 5}, "think"),
        ({"format": "xml"}, "format"),
        ({"format": []}, "format"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"function": {"name": "f", "parameters": 5}}]}, "tools[0].function.parameters"),
    ],
)
def test_g10_faults_name_the_member(members: dict[str, Any], param: str) -> None:
    """A wrong member is a 400 that names it."""
    error = refused(CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], **members})
    assert (error.param, error.http_status) == (param, 400)


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"\xff", b'{"a":' + b"[" * 100_000, b'{"messages":[]}']
)
def test_g10_bodies_that_are_no_request(body: bytes) -> None:
    """Whatever is no JSON object with a model is refused."""
    assert refused(CHAT, body).http_status == 400
    assert refused(GENERATE, body).http_status == 400


def test_generate_is_a_chat_of_one_message() -> None:
    """A prompt with its system text and images is a conversation."""
    body = {"model": "m", "prompt": "?", "system": "Be kind.", "images": [PNG], "stream": False}
    call = GENERATE.decode_request(json.dumps({**body, "options": {"seed": 1}}).encode())
    image = ImagePart(f"data:image/png;base64,{PNG}")
    messages = (Message.of("system", "Be kind."), Message("user", (TextPart("?"), image)))
    assert bare_request(call.request) == ChatRequest(messages, "m", {"seed": 1})
    assert not call.stream


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"raw": True}, "raw"),
        ({"template": "x"}, "template"),
        ({"context": [1]}, "context"),
        ({"images": ["x"]}, "images[0]"),
    ],
)
def test_generate_refuses_what_no_chat_can_do(members: dict[str, Any], param: str) -> None:
    """Templates and tokens of a model cannot be honoured, so they are refused by name."""
    assert refused(GENERATE, {"model": "m", "prompt": "?", **members}).param == param


# What clients are told


def lines_of(data: bytes) -> list[dict[str, Any]]:
    """Return the objects of a stream, each on its line."""
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (["{", '"x":', "1}"], {"x": 1}),
        ([""], {}),
        (["  "], {}),
        (['{\n "x": 1\r\n}'], {"x": 1}),
        (["[1]"], {"arguments": "[1]"}),
        (['{"x":'], {"arguments": '{"x":'}),
        (["[" * 9000], {"arguments": "[" * 9000}),
    ],
)
def test_calls_are_whole_objects(pieces: list[str], arguments: dict[str, Any]) -> None:
    """Arguments are an object on one line; what is none is handed on as text in one."""
    call = ClientCall(ChatRequest(HELLO, "m"))
    encoder = CHAT.encoder(call)
    for n, piece in enumerate(pieces):
        event = ToolCallDelta(0, *(("c", "f") if n == 0 else ("", "")), piece)
        assert encoder.encode_event(event) == b""
    line, end = lines_of(encoder.encode_event(Finished("tool_calls")))
    expected = [{"id": "c", "function": {"name": "f", "arguments": arguments}}]
    assert line["message"]["tool_calls"] == expected
    assert (line["done"], end["done_reason"]) == (False, "stop")
    response = ChatResponse.of(
        "", "tool_calls", tool_calls=(ToolCallPart("c", "f", "".join(pieces)),)
    )
    whole = json.loads(CHAT.encode_response(call, response))
    assert whole["message"]["tool_calls"] == expected
