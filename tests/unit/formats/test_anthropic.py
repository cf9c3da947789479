"""The format of Anthropic's messages: what is sent, what is read, what clients are told."""

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
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    RequestRejectedError,
    ServiceError,
    ServiceUnavailableError,
    TruncatedStreamError,
    UpstreamTimeoutError,
)
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import ClientCall
from berlin.language.tables.chat import ChatMap
from berlin.types import (
    ChatRequest,
    Finished,
    ImagePart,
    Message,
    OpaquePart,
    Reasoning,
    ReasoningDelta,
    ReasoningPart,
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
from support.formats import decoded, sent

CHAT = AnthropicMessagesFormat("claude")
HELLO = (Message.of("user", "Hello"),)
TOOL = Tool("add", "Adds.", '{"type":"object"}')
CALL = ClientCall(ChatRequest(HELLO, "claude"))
decode = partial(decoded, CHAT)


def body_of(request: ChatRequest, chat: AnthropicMessagesFormat = CHAT) -> dict[str, Any]:
    """Return the body of the request that a chat is."""
    return formats.body_of(chat, request)


def frame(kind: str, **members: Any) -> bytes:
    """Return an event as the service writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """Return the events of a block of an answer."""
    return (
        frame("content_block_start", index=index, content_block=start)
        + b"".join(frame("content_block_delta", index=index, delta=delta) for delta in deltas)
        + frame("content_block_stop", index=index)
    )


def text(index: int, *pieces: str) -> bytes:
    """Return the events of a block of text."""
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def start(**usage: Any) -> bytes:
    """Return the event that starts an answer."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "usage": usage}
    return frame("message_start", message=message)


def end(reason: str | None = "end_turn", **usage: Any) -> bytes:
    """Return the events that end an answer."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return frame("message_delta", delta=delta, usage=usage) + frame("message_stop")


def refused(**members: Any) -> InvalidRequestError:
    """Return the error that a request with these members is."""
    with pytest.raises(InvalidRequestError) as raised:
        asked(**members)
    return raised.value


asked = partial(formats.asked, CHAT)


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the objects of written events, whose names are their types."""
    found = []
    for one in data.decode().removesuffix("\n\n").split("\n\n"):
        name, line = one.split("\n")
        document = json.loads(line.removeprefix("data: "))
        assert name == f"event: {document['type']}"
        found.append(document)
    return found


def written(*events: StreamEvent) -> list[dict[str, Any]]:
    """Return the objects of the written events of an answer."""
    encoder = CHAT.encoder(CALL)
    return frames(b"".join(encoder.encode_event(event) for event in events))


# What is sent


def test_a_request_is_a_post_of_json() -> None:
    """A chat is one POST that streams, names the version, and always has a limit."""
    for format_, path in (
        (CHAT, "/v1/messages"),
        (AnthropicMessagesFormat(chat=ChatMap(path="/x")), "/x"),
    ):
        request = sent(format_, ChatRequest(HELLO))
        assert (request.method, request.path) == ("POST", path)
        assert request.headers == {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "anthropic-version": "2023-06-01",
        }
    assert body_of(ChatRequest(HELLO)) == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }


def test_messages_as_this_api_writes_them() -> None:
    """The system stands apart, speakers alternate, and results of tools come first."""
    messages = (
        Message.of("system", "Be kind."),
        Message.of("user", "One"),
        Message("user", (TextPart("Two"), ImagePart("data:image/png;base64,AAAA"))),
        Message("assistant", (TextPart(""), ToolCallPart("f.x:0", "add", '{"x": 1}'))),
        Message("assistant", (ToolCallPart("b", "now", ""),)),
        Message.of("user", "So?"),
        Message("tool", (ToolResultPart("f.x:0", "2"),)),
        Message("tool", (ToolResultPart("b", ""),)),
        Message.of("developer", "Be brief."),
        Message("assistant", (TextPart(""),)),
        Message("user", (ImagePart("https://x.example/a.png"),)),
    )
    document = body_of(ChatRequest(messages))
    assert document["system"] == "Be kind.\n\nBe brief."
    png = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    url = {"type": "url", "url": "https://x.example/a.png"}
    assert document["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "One"},
                {"type": "text", "text": "Two"},
                {"type": "image", "source": png},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "f_x_0", "name": "add", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "f_x_0", "content": "2"},
                {"type": "tool_result", "tool_use_id": "b", "content": ""},
                {"type": "text", "text": "So?"},
                {"type": "image", "source": url},
            ],
        },
    ]


@pytest.mark.parametrize(
    "message",
    [
        Message("user", (ImagePart("http://x.example/a.png"),)),
        Message("user", (ImagePart("data:image/png,abc"),)),
        Message("user", (ImagePart("data:image/png;base64,a!b"),)),
        Message("user", (ImagePart("file:///etc/passwd"),)),
        Message("system", (ImagePart("https://x.example/a.png"),)),
    ],
)
def test_what_cannot_be_sent_names_the_message(message: Message) -> None:
    """What this API does not take is refused before it is sent."""
    with pytest.raises(InvalidRequestError) as raised:
        body_of(ChatRequest((*HELLO, message)))
    assert raised.value.param == "messages[1]"


def test_only_the_system() -> None:
    """Where only the system speaks, its last message asks; where nobody does, that is refused."""
    body = body_of(ChatRequest((Message.of("system", "Be kind."), Message.of("system", "Go"))))
    assert (body["system"], body["messages"]) == ("Be kind.", [{"role": "user", "content": "Go"}])
    with pytest.raises(InvalidRequestError, match=r"^messages: "):
        body_of(ChatRequest((Message.of("user", ""),)))


def test_history_that_this_api_would_refuse() -> None:
    """White space is left out where it would be a 400, and a call that was cut off is wrapped."""
    messages = (
        Message.of("user", "Hi"),
        Message.of("assistant", " \n"),
        Message("assistant", (ToolCallPart("a", "f", '{"x":'),)),
        Message("tool", (ToolResultPart("a", "no"),)),
        Message.of("assistant", "So: \n"),
    )
    [_, turn, _, last] = body_of(ChatRequest(messages, options={"stop": ["", "END"]}))["messages"]
    assert [block["type"] for block in turn["content"]] == ["tool_use"]
    assert turn["content"][0]["input"] == {"arguments": '{"x":'}
    assert last["content"] == "So:"


def test_options_by_their_names_here() -> None:
    """`stop` has another name here, defaults give way, and what nobody knows passes."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    options = {"stop": "END", "top_k": 3, "max_completion_tokens": 7, "thinking": thinking}
    defaults = {"max_tokens": 10, "top_k": 1, "temperature": 0}
    format_ = AnthropicMessagesFormat(chat=ChatMap(json=defaults, rename={"seed": "x-seed"}))
    document = body_of(ChatRequest(HELLO, options={**options, "seed": 5}), format_)
    expected = {
        "max_tokens": 7,
        "top_k": 3,
        "temperature": 0,
        "stop_sequences": ["END"],
        "thinking": thinking,
        "x-seed": 5,
    }
    assert {name: document[name] for name in expected} == expected
    assert document.keys() == expected.keys() | {"model", "messages", "stream"}
    assert body_of(ChatRequest(HELLO), format_)["max_tokens"] == 10
    assert body_of(ChatRequest(HELLO, options={"stop": ["a"]}))["stop_sequences"] == ["a"]


@pytest.mark.parametrize(
    ("name", "param"),
    [
        *((name, name) for name in ("presence_penalty", "frequency_penalty", "logit_bias")),
        *((name, None) for name in ("messages", "system", "stream", "tools", "response_format")),
    ],
)
def test_what_this_api_does_not_know_is_refused(name: str, param: str | None) -> None:
    """An option without a word here is an error that names it, not one that is dropped."""
    with pytest.raises(InvalidRequestError, match=name) as raised:
        body_of(ChatRequest(HELLO, options={name: 1}))
    assert raised.value.param == param


def test_tools_and_their_choice() -> None:
    """Tools have a schema of an object; the choice and one call at a time are one member."""
    tools = (TOOL, Tool("now"))
    assert body_of(ChatRequest(HELLO, tools=tools))["tools"] == [
        {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}},
        {"name": "now", "input_schema": {"type": "object"}},
    ]
    one = {"disable_parallel_tool_use": True}
    for choice, parallel, expected in (
        ("auto", True, None),
        ("auto", False, {"type": "auto", **one}),
        ("none", False, {"type": "none"}),
        ("required", True, {"type": "any"}),
        ("required", False, {"type": "any", **one}),
        ("add", True, {"type": "tool", "name": "add"}),
        ("add", False, {"type": "tool", "name": "add", **one}),
    ):
        options = {"parallel_tool_calls": parallel}
        request = ChatRequest(HELLO, options=options, tools=tools, tool_choice=choice)
        assert body_of(request).get("tool_choice") == expected
    document = body_of(ChatRequest(HELLO, options={"parallel_tool_calls": False}))
    assert not {"tool_choice", "parallel_tool_calls"} & document.keys()
    with pytest.raises(InvalidRequestError, match="'f'"):
        body_of(ChatRequest(HELLO, tools=(Tool("f", "", "[]"),)))


def test_the_format_of_the_answer() -> None:
    """A schema stands in `output_config`, beside what is there; any object is not enough."""
    schema = '{"type":"object","properties":{}}'
    options = {"output_config": {"effort": "low"}}
    document = body_of(ChatRequest(HELLO, options=options, response_format=ResponseFormat(schema)))
    chosen = {"type": "json_schema", "schema": json.loads(schema)}
    assert document["output_config"] == {"effort": "low", "format": chosen}
    with pytest.raises(InvalidRequestError) as raised:
        body_of(ChatRequest(HELLO, response_format=ResponseFormat()))
    assert raised.value.param == "response_format"


# What is read


def test_a_stream_as_the_service_sends_it() -> None:
    """Reasoning, text, a call in pieces and the counts come out as events; the rest is skipped."""
    data = (
        start(input_tokens=3, cache_read_input_tokens=10, cache_creation_input_tokens=5)
        + frame("ping")
        + block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "abc"},
        )
        + block(1, {"type": "redacted_thinking", "data": "x"})
        + text(2, "Hel", "lo")
        + block(
            3,
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"query":"x"}'},
        )
        + block(4, {"type": "web_search_tool_result", "tool_use_id": "s", "content": [1]})
        + block(
            5,
            {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"x":'},
            {"type": "input_json_delta", "partial_json": "1}"},
        )
        + block(6, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}})
        + block(
            7,
            {"type": "text", "text": ""},
            {"type": "citations_delta", "citation": {"type": "page_location"}},
        )
        + frame("new_kind", delta="odd", index="odd", usage=[])
        + end("tool_use", output_tokens=9, output_tokens_details={"thinking_tokens": 4})
    )
    assert decode(data) == (
        [
            ReasoningDelta("Hm."),
            TextDelta("Hel"),
            TextDelta("lo"),
            ToolCallDelta(0, "toolu_1", "add"),
            ToolCallDelta(0, arguments='{"x":'),
            ToolCallDelta(0, arguments="1}"),
            ToolCallDelta(1, "toolu_2", "now"),
            UsageReport(Usage(18, 9, cached_tokens=10, reasoning_tokens=4, cache_write_tokens=5)),
            Finished("tool_calls"),
        ],
        None,
    )


def test_a_whole_message_is_an_answer() -> None:
    """Also a service that does not stream is understood."""
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "a", "name": "add", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "now", "input": {}},
    ]
    message = {"type": "message", "content": content, "stop_reason": "tool_use"}
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None}
    assert decode(json.dumps({**message, "usage": usage}).encode()) == (
        [
            ReasoningDelta("Hm."),
            TextDelta("Hello"),
            ToolCallDelta(0, "a", "add", '{"x":1}'),
            ToolCallDelta(1, "b", "now", "{}"),
            UsageReport(Usage(1, 2)),
            Finished("tool_calls"),
        ],
        None,
    )


def test_an_input_that_comes_at_once_is_not_lost() -> None:
    """Some services give the whole input where a call starts; pieces go before it."""
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}
    piece = {"type": "input_json_delta", "partial_json": '{"x":2}'}
    for deltas, arguments in (((), '{"x":1}'), ((piece,), '{"x":2}')):
        events, failure = decode(start() + block(0, call, *deltas) + end("tool_use"))
        assert failure is None
        head = ToolCallDelta(0, "a", "f")
        assert events == [head, ToolCallDelta(0, arguments=arguments), Finished("tool_calls")]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("new_reason", "stop"),
        (None, "stop"),
    ],
)
def test_reasons(reason: str | None, expected: Any) -> None:
    """Each reason to stop has its word; a new one, or none before the end, is a plain stop."""
    events, failure = decode(start() + text(0, "x") + end(reason))
    assert failure is None
    assert events[-1] == Finished(expected)


def test_an_answer_that_is_cut() -> None:
    """Without an end an answer is cut; with a reason it is whole, with nothing it is empty."""
    events, failure = decode(start() + text(0, "x"))
    assert events == [TextDelta("x")]
    assert type(failure) is TruncatedStreamError
    stopped = start() + text(0, "x") + end().split(b"event: message_stop")[0]
    assert decode(stopped)[1] is None
    assert type(decode(b"")[1]) is EmptyResponseError
    assert type(decode(start())[1]) is EmptyResponseError


def test_nothing_is_read_behind_the_end() -> None:
    """The answer is done with its last event, though the connection stays open."""
    decoder = CHAT.decoder()
    events = decoder.feed(start() + text(0, "x") + end() + text(1, "y") + b"garbage\n\n")
    assert bare(events) == [TextDelta("x"), Finished()]
    assert decoder.done
    assert decoder.feed(text(0, "z")) == decoder.finish() == []


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("overloaded_error", "Overloaded", ServiceUnavailableError),
        ("api_error", "Internal", ServiceUnavailableError),
        ("rate_limit_error", "Slow down", RateLimitError),
        ("authentication_error", "Bad key", AuthenticationError),
        ("permission_error", "No", PermissionDeniedError),
        ("billing_error", "Pay", QuotaError),
        ("invalid_request_error", "Bad", RequestRejectedError),
        ("invalid_request_error", "prompt is too long: 9 > 8", ContextLengthError),
        ("request_too_large", "Big", RequestRejectedError),
        ("timeout_error", "Late", UpstreamTimeoutError),
        ("new_error", "Odd", ServiceError),
    ],
)
def test_errors_in_a_stream(kind: str, message: str, expected: type[BerlinError]) -> None:
    """An error ends the answer behind what came before it, and its type is its class."""
    error = {"type": kind, "message": message}
    data = start() + text(0, "x") + frame("error", error=error, request_id="r") + end()
    events, failure = decode(data)
    assert events == [TextDelta("x")]
    assert type(failure) is expected
    assert message in str(failure)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"type":"error","error":"no"}', ServiceError),
        (b'{"error":{"message":"no","code":429}}', RateLimitError),
        (b'{"message":"no","code":401}', AuthenticationError),
        (b'{"error":{"type":["odd"]}}', ServiceError),
        (b'{"type":"error"}', ProtocolError),
        (b'{"x":1}', ProtocolError),
        (b"<html>", ProtocolError),
        (b'data: {"type":"message_start","message":5}\n\n', EmptyResponseError),
        (b"data: [1]\n\n", ProtocolError),
    ],
)
def test_other_bad_answers(data: bytes, expected: type[BerlinError]) -> None:
    """What is no answer of this API is an error that says so."""
    events, failure = decode(data)
    assert events == []
    assert type(failure) is expected


def test_what_an_error_answer_says() -> None:
    """The message of an error answer is what is shown."""
    body = b'{"type":"error","error":{"type":"not_found_error","message":"model: x"}}'
    assert CHAT.describe_error(body) == "model: x"


# What clients are told


def test_pieces_of_two_calls_do_not_mix() -> None:
    """While a call is not whole, what belongs elsewhere waits; nothing is lost."""
    data = written(
        ToolCallDelta(0, "a", "f", '{"x":'),
        ToolCallDelta(1, "b", "g", '{"y":'),
        TextDelta("Hello"),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(2, "c", "h", "{}"),
        ToolCallDelta(1, arguments="2}"),
        Finished("tool_calls"),
    )
    open_: list[int] = []
    said: dict[int, str] = {}
    for one in data:
        match one:
            case {"type": "content_block_start", "index": int(index)}:
                assert open_ == []
                open_.append(index)
                said[index] = ""
            case {"type": "content_block_delta", "index": int(index), "delta": delta}:
                assert open_ == [index]
                said[index] += delta.get("partial_json") or delta.get("text")
            case {"type": "content_block_stop", "index": int(index)}:
                assert open_.pop() == index
    assert said == {0: '{"x":1}', 1: "Hello", 2: '{"y":2}', 3: "{}"}


def test_a_whole_call_makes_way_at_once() -> None:
    """The next call streams as soon as the one before is whole, not only at the end."""
    encoder = CHAT.encoder(CALL)
    encoder.encode_event(ToolCallDelta(0, "a", "f", '{"x":1}'))
    kinds = [one["type"] for one in frames(encoder.encode_event(ToolCallDelta(1, "b", "g", "{")))]
    assert kinds == ["content_block_stop", "content_block_start", "content_block_delta"]
    assert encoder.encode_event(ToolCallDelta(0, arguments="\n")) == b""
    assert encoder.encode_event(TextDelta("late")) == b""


def test_a_conversation_that_is_too_long_is_told_in_the_words_of_this_api() -> None:
    """Clients cut their conversation when they read these words."""
    for said in ("maximum context length is 8", "prompt is too long: 9 > 8"):
        message = json.loads(CHAT.encode_error(ContextLengthError(said)))["error"]["message"]
        assert message.startswith("prompt is too long: ")
        assert message.count("too long") == 1
        assert message.endswith(said[-5:])


# What clients send


def test_a_request_of_claude_code() -> None:
    """What its main client sends is understood: blocks, hints of a cache, a system in between."""
    cached = {"cache_control": {"type": "ephemeral"}}
    call = asked(
        system=[
            {"type": "text", "text": "You are Claude Code."},
            {"type": "text", "text": "Be brief.", **cached},
        ],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Look.", **cached}]},
            {"role": "system", "content": "There are files."},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"p": "a"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "one"},
                            {
                                "type": "image",
                                "source": {
                                    "type": "base64",
                                    "media_type": "image/png",
                                    "data": "AA",
                                },
                            },
                            {"type": "text", "text": "two"},
                        ],
                    },
                    {"type": "tool_result", "tool_use_id": "toolu_2", **cached},
                    {"type": "text", "text": "Go on."},
                ],
            },
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "cut"}]},
        ],
        tools=[
            {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}, **cached},
            {"type": "custom", "name": "Now", "input_schema": {}},
        ],
        max_tokens=32000,
        stream=True,
        temperature=1,
        thinking={"type": "adaptive"},
        metadata={"user_id": "u"},
        context_management={"edits": []},
        output_config={"effort": "high"},
        service_tier="auto",
    )
    assert call.stream
    assert call.include_usage
    shown = (TextPart("one"), ImagePart("data:image/png;base64,AA"), TextPart("two"))
    assert call.request == ChatRequest(
        (
            Message("system", (TextPart("You are Claude Code."), TextPart("Be brief."))),
            Message.of("user", "Look."),
            Message.of("system", "There are files."),
            Message(
                "assistant",
                (
                    ReasoningPart("Hm."),
                    OpaquePart(None),  # compared without what it is
                    TextPart("I look."),
                    ToolCallPart("toolu_1", "Read", '{"p":"a"}'),
                    ToolCallPart("toolu_2", "Read", "{}"),
                ),
            ),
            Message("tool", (ToolResultPart("toolu_1", "one\ntwo", True, shown),)),
            Message("tool", (ToolResultPart("toolu_2", ""),)),
            Message.of("user", "Go on."),
            Message("assistant", (ReasoningPart("cut"),)),
        ),
        "m",
        {"max_tokens": 32000, "temperature": 1.0, "user": "u"},
        (Tool("Read", "Reads.", '{"type":"object"}'), Tool("Now", "", "{}")),
        reasoning=Reasoning("high"),
    )


def test_a_short_request() -> None:
    """What is not given is not made up: not even a limit, which who counts tokens leaves out."""
    call = asked(system="Be kind.", stop_sequences=["a"], top_k=3, unknown={"x": 1})
    messages = (Message.of("system", "Be kind."), *HELLO)
    request = ChatRequest(messages, "m", {"stop": ["a"], "top_k": 3})
    assert call == ClientCall(request, stream=False, include_usage=True)
    assert asked(system=None, stop_sequences=[], max_tokens=None).request.options == {}


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, "auto", None),
        ({"type": "auto"}, "auto", None),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
        ({"type": "none"}, "none", None),
        ({"type": "any", "disable_parallel_tool_use": False}, "required", None),
        ({"type": "tool", "name": "f"}, "f", None),
    ],
)
def test_choices(choice: Any, expected: str, parallel: bool | None) -> None:
    """Each choice of tools has its word; without tools there is nothing to choose."""
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    request = asked(tools=tools, tool_choice=choice).request
    assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)
    assert asked(tool_choice=choice).request.tool_choice == "auto"


def test_the_format_that_a_client_wants() -> None:
    """A schema for the answer is taken over."""
    schema = {"type": "object", "properties": {}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    wanted = asked(output_config=config).request.response_format
    assert wanted == ResponseFormat('{"type":"object","properties":{}}')


def user(*blocks: Any) -> list[dict[str, Any]]:
    """Return a conversation of these blocks."""
    return [{"role": "user", "content": list(blocks)}]


SCHEMA = {"input_schema": {"type": "object"}}
HI = {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": []}]}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": user(HI, {"type": "document"})}, "messages[0].content[1]"),
        ({"messages": user({"type": "text"})}, "messages[0].content[0]"),
        ({"messages": user({"text": "x"})}, "messages[0].content[0]"),
        ({"messages": user("x")}, "messages[0].content[0]"),
        (
            {"messages": user({"type": "image", "source": {"type": "file"}})},
            "messages[0].content[0].source",
        ),
        (
            {"messages": user({"type": "tool_use", "id": "a", "name": "f", "input": []})},
            "messages[0].content[0]",
        ),
        (
            {
                "messages": user(
                    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "document"}]}
                )
            },
            "messages[0].content[0].content[0]",
        ),
        (
            {
                "messages": user(
                    {
                        "type": "tool_result",
                        "tool_use_id": "a",
                        "content": [{"type": "tool_result", "tool_use_id": "b"}],
                    }
                )
            },
            "messages[0].content[0].content",
        ),
        ({"system": 5}, "system"),
        ({"system": [{"type": "document"}]}, "system[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"tools": [{"name": "f", **SCHEMA}, {"name": "g"}]}, "tools[1]"),
        ({"tools": [{"name": "f", **SCHEMA}], "tool_choice": "auto"}, "tool_choice"),
        (
            {
                "tools": [{"name": "f", **SCHEMA}],
                "tool_choice": {"type": "tool", "name": "g"},
            },
            "tool_choice",
        ),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"model": "a\nb"}, "model"),
    ],
)
def test_what_is_wrong_in_a_request_is_named(members: dict[str, Any], param: str) -> None:
    """An error names the member that is wrong."""
    error = refused(**members)
    assert error.param == param
    assert error.message.startswith(f"{param}: ")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"model":"m"}', b"[" * 9000])
def test_what_is_no_request(body: bytes) -> None:
    """A body that is none is an error of the client."""
    with pytest.raises(InvalidRequestError):
        CHAT.decode_request(body)
