"""The format of the Responses API: what clients and services of it send, and what becomes of it.

The examples are written after OpenAI's API reference (its model of requests in openai-python 3.57)
and what Codex 0.171 sends, read on 2026-11-28.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ContextLengthError,
    InvalidRequestError,
    RateLimitError,
    ServiceError,
    TruncatedStreamError,
)
from berlin.formats.responses.format import ResponsesFormat
from berlin.formats.responses.request import ResponsesCall, build_call, read_request
from berlin.formats.responses.tools import flat_name
from berlin.types import (
    ChatRequest,
    Extra,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    StreamEvent,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from support.formats import fold, sent
from support.responses import read_stream

FORMAT = ResponsesFormat("gpt")


def call(**members: Any) -> ResponsesCall:
    """Return the call that a body is."""
    body = {"model": "gpt", "input": "Hello", **members}
    return FORMAT.decode_request(json.dumps(body).encode())


def passed_on(**members: Any) -> dict[str, Any]:
    """Return what a service of this API is sent for a client of this API."""
    body: dict[str, Any] = json.loads(sent(FORMAT, call(**members).request).body)
    return body


def decode(data: bytes) -> tuple[list[StreamEvent], BerlinError | None]:
    """Return the events of an answer, and why it is bad."""
    decoder = FORMAT.decoder()
    return decoder.feed(data) + decoder.finish(), decoder.failure


def answer(*events: dict[str, Any]) -> bytes:
    """Return the stream of a service."""
    frames = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return "".join(frames).encode()


COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}

ITEMS: list[dict[str, Any]] = [
    {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "Be brief"}],
        "id": "msg_0",
    },
    {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
            {"type": "input_image", "file_id": "file_1", "detail": "auto"},
            {
                "type": "input_file",
                "file_data": "data:application/pdf;base64,AA==",
                "filename": "a.pdf",
            },
            {"type": "input_file", "file_url": "https://example.com/b.pdf", "detail": "high"},
            {"type": "input_file", "file_id": "file_2"},
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        ],
    },
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "gAAA",
    },
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "status": "completed",
        "phase": "commentary",
        "content": [
            {
                "type": "output_text",
                "text": "I look",
                "annotations": [{"type": "url_citation", "url": "https://example.com"}],
                "logprobs": [{"token": "I", "logprob": -0.1}],
            },
            {"type": "refusal", "refusal": "no"},
        ],
    },
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city": "Köln"}',
        "status": "completed",
    },
    {
        "type": "function_call",
        "id": "fc_2",
        "call_id": "call_2",
        "name": "close",
        "namespace": "agents",
        "arguments": "{}",
    },
    {
        "type": "custom_tool_call",
        "id": "ctc_3",
        "call_id": "call_3",
        "name": "patch",
        "input": "*** Begin\n",
    },
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny", "id": "fco_1"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [
            {"type": "input_text", "text": "closed"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"},
        ],
    },
    {"type": "custom_tool_call_output", "call_id": "call_3", "output": "done"},
    {"type": "local_shell_call_output", "id": "lso_1", "output": "{}"},
    {"type": "compaction", "id": "cmp_1", "encrypted_content": "gBBB"},
]
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
        "defer_loading": True,
    },
    {"type": "function", "name": "time", "parameters": {"type": "object"}},
    {
        "type": "namespace",
        "name": "agents",
        "description": "Agents",
        "tools": [
            {"type": "function", "name": "close", "parameters": {}, "strict": False},
            {"type": "custom", "name": "note", "description": "Notes"},
        ],
    },
    {
        "type": "custom",
        "name": "patch",
        "description": "Edits",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
    },
    {"type": "web_search", "external_web_access": False},
]
MEMBERS: dict[str, Any] = {
    "include": ["reasoning.encrypted_content"],
    "instructions": "You are ours",
    "max_output_tokens": 64,
    "max_tool_calls": 3,
    "metadata": {"a": "b"},
    "parallel_tool_calls": False,
    "prompt_cache_key": "cache",
    "reasoning": {"effort": "low", "summary": "auto"},
    "safety_identifier": "user-1",
    "service_tier": "flex",
    "store": False,
    "temperature": 0.5,
    "text": {
        "format": {
            "type": "json_schema",
            "name": "a",
            "schema": {"type": "object"},
            "strict": True,
        },
        "verbosity": "low",
    },
    "top_logprobs": 2,
    "top_p": 0.5,
    "truncation": "auto",
    "something_new": {"x": [1, 2]},
}


def test_everything_passes_between_two_ends_of_this_api() -> None:
    """Items, tools and members of a request reach a service of this API as they came."""
    body = passed_on(input=ITEMS, tools=TOOLS, tool_choice="auto", **MEMBERS)
    assert body["input"] == ITEMS
    assert body["tools"] == TOOLS
    for name, value in MEMBERS.items():
        assert body[name] == value, name
    assert body["stream"] is True
    assert "previous_response_id" not in body


@pytest.mark.parametrize(
    "choice",
    [
        "none",
        "required",
        {"type": "function", "name": "weather"},
        {"type": "custom", "name": "patch"},
        {"type": "function", "name": "close", "namespace": "agents"},
        {"type": "web_search"},
    ],
    ids=str,
)
def test_every_choice_of_a_tool_passes(choice: Any) -> None:
    """A choice names a tool as the client knows it, at both ends."""
    assert passed_on(tools=TOOLS, tool_choice=choice)["tool_choice"] == choice


def test_allowed_tools_are_the_only_ones() -> None:
    """Where a client allows some of its tools, no service is offered the others."""
    allowed = [{"type": "function", "name": "time"}, {"type": "web_search"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    request = call(tools=TOOLS, tool_choice=choice).request
    assert [tool.name for tool in request.tools] == ["time", "web_search"]
    assert request.tool_choice == "required"


def test_items_become_messages() -> None:
    """What the model made in one turn is one message; each result is one of its own."""
    request = call(input=ITEMS, tools=TOOLS).request
    developer, user, turn, first, second, third, shell, compacted = request.messages
    assert developer.text == "Be brief"
    assert [type(part) for part in user.parts] == [
        *(TextPart, ImagePart, OpaquePart, FilePart, FilePart, FilePart, FilePart)
    ]
    assert [type(part) for part in turn.parts] == [
        *(ReasoningPart, OpaquePart, TextPart, TextPart),
        *(ToolCallPart, ToolCallPart, ToolCallPart),
    ]
    assert [part.name for part in turn.parts if isinstance(part, ToolCallPart)] == [
        *("weather", "agents__close", "patch")
    ]
    results = [message.parts[0] for message in (first, second, third)]
    assert [part.content for part in results if isinstance(part, ToolResultPart)] == [
        *("sunny", "closed", "done")
    ]
    assert (shell.role, compacted.role) == ("tool", "assistant")


def test_two_messages_of_the_model_stay_two() -> None:
    """Text that was said in two messages is not run together."""
    said = [{"role": "assistant", "content": text} for text in ("one", "two")]
    request = call(input=[{"role": "user", "content": "x"}, *said]).request
    assert [message.text for message in request.messages] == ["x", "one", "two"]


def test_a_request_of_codex() -> None:
    """What Codex sends with each request: its session, its tools, and no state on the server."""
    read = call(
        input=ITEMS[:1],
        tools=[*TOOLS[:1], TOOLS[2], TOOLS[4]],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"summary": "auto"},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="thread",
        client_metadata={"session_id": "session", "x-codex-window-id": "w"},
        stream=True,
    )
    assert read.request.session_id == "session"
    assert not read.store
    assert read.request.reasoning == Reasoning("", extra=Extra("responses", {"summary": "auto"}))
    assert [tool.hosted for tool in read.request.tools] == [False, False, False, True]


def test_the_session_is_the_key_of_the_cache_where_nothing_else_says_it() -> None:
    """`prompt_cache_key` groups the requests of one conversation."""
    assert call(prompt_cache_key="thread").request.session_id == "thread"


def test_what_the_hub_reads() -> None:
    """The members that every service understands."""
    request = call(tools=TOOLS, **MEMBERS).request
    assert request.options == {
        "temperature": 0.5,
        "top_p": 0.5,
        "max_tokens": 64,
        "verbosity": "low",
    }
    assert request.parallel_tool_calls is False
    assert request.response_format == ResponseFormat('{"type":"object"}', "a", True)
    assert request.messages[0].text == "You are ours"
    assert request.messages[0].role == "system"


REFUSED = [
    ({"background": True}, "background"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"model": None}, "model"),
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 7}, "input"),
    ({"input": [7]}, "input[0]"),
    ({"input": [{}]}, "input[0]"),
    ({"input": [{"type": "item_reference", "id": "msg_x"}]}, "input"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
    ({"input": [{"type": "function_call", "name": "x"}]}, "input[0]"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0]"),
    ({"tools": [{"type": "function"}]}, "tools[0]"),
    ({"tools": [{"type": "function", "name": "a", "parameters": 7}]}, "tools[0].parameters"),
    ({"tools": [{"type": "namespace", "name": "a"}]}, "tools[0]"),
    ({"tools": [{"type": "namespace", "name": "a", "tools": [7]}]}, "tools[0].tools[0]"),
    ({"tools": [TOOLS[0], TOOLS[0]]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "no"}}, "tool_choice"),
    ({"text": {"format": {"type": "xml"}}}, "text.format"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": -1}, "max_output_tokens"),
    ({"max_output_tokens": "10"}, "max_output_tokens"),
    ({"max_output_tokens": True}, "max_output_tokens"),
    ({"reasoning": {"effort": 7}}, "reasoning.effort"),
]


@pytest.mark.parametrize(("members", "param"), REFUSED, ids=str)
def test_what_cannot_be_asked_is_told_by_its_member(members: dict[str, Any], param: str) -> None:
    """An error names the member that is wrong."""
    with pytest.raises(InvalidRequestError) as refused:
        call(**members)
    assert refused.value.param == param


def test_a_request_goes_on_from_stored_items() -> None:
    """The history comes first, and a reference is the item that it names."""
    history = [{"type": "message", "role": "user", "content": "before", "id": "msg_0"}]
    said = {"type": "message", "role": "assistant", "content": "there", "id": "msg_1"}
    body = {
        "model": "gpt",
        "previous_response_id": "resp_1",
        "input": [{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "now"}],
    }
    read = read_request(json.dumps(body).encode())
    assert (read.previous, read.references) == ("resp_1", ("msg_1",))
    built = build_call(read, history, {"msg_1": said})
    assert [message.text for message in built.request.messages] == ["before", "there", "now"]
    assert [item["id"][:4] for item in built.items] == ["msg_", "msg_"]


def test_a_name_that_is_too_long_stays_one_of_its_own() -> None:
    """Names of tools have 64 characters at most, and stay different."""
    names = [flat_name("n" * 60, f"{name}-tool") for name in "ab"]
    assert [len(name) for name in names] == [64, 64]
    assert len(set(names)) == 2


def test_clients_of_other_apis_leave_nothing_at_the_service() -> None:
    """This API stores what it is sent; who does not know that has not asked for it."""
    request = ChatRequest(
        (Message.of("system", "Be brief"), Message.of("user", "Hello")),
        tools=(Tool("weather"),),
        tool_choice="weather",
        response_format=ResponseFormat(),
        options={"max_tokens": 5, "reasoning_effort": "low"},
    )
    body = json.loads(sent(FORMAT, request).body)
    assert body == {
        "store": False,
        "model": "gpt",
        "stream": True,
        "max_output_tokens": 5,
        "reasoning": {"effort": "low"},
        "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "json_object"}},
        "tool_choice": {"type": "function", "name": "weather"},
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            }
        ],
        "input": [
            {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}
            for role, text in (("system", "Be brief"), ("user", "Hello"))
        ],
    }


@pytest.mark.parametrize("option", ["stop", "logit_bias"])
def test_an_option_that_this_api_does_not_have_is_refused(option: str) -> None:
    """It is not left out in silence."""
    request = ChatRequest((Message.of("user", "Hello"),), options={option: 1})
    with pytest.raises(InvalidRequestError, match=option):
        sent(FORMAT, request)


def test_an_option_that_may_be_left_out_is_named() -> None:
    """What does not change what is asked for is dropped, and the answer says so."""
    request = ChatRequest((Message.of("user", "Hello"),), options={"seed": 1, "top_p": 0.5})
    made = sent(FORMAT, request)
    assert made.dropped == ("seed",)
    assert json.loads(made.body)["top_p"] == 0.5


def test_an_answer_passes_between_two_ends_of_this_api() -> None:
    """Ids, encrypted reasoning, hosted tools, notes and calls come as the service sent them."""
    reasoning = {"type": "reasoning", "id": "rs_up", "summary": []}
    search = {"type": "web_search_call", "id": "ws_up", "status": "in_progress"}
    message = {"type": "message", "id": "msg_up", "role": "assistant", "phase": "final_answer"}
    function = {"type": "function_call", "id": "fc_up", "call_id": "call_1", "name": "weather"}
    custom = {"type": "custom_tool_call", "id": "ctc_up", "call_id": "call_2", "name": "patch"}
    note = {"type": "url_citation", "url": "https://example.com"}
    output = [
        {**reasoning, "encrypted_content": "gAAA"},
        {**search, "status": "completed"},
        {**message, "status": "completed"},
        {**function, "arguments": "{}", "status": "completed"},
        {**custom, "input": 'say "x"\n', "status": "completed"},
    ]
    added, done = "response.output_item.added", "response.output_item.done"
    data = answer(
        {"type": "response.created", "response": {}},
        {"type": added, "output_index": 0, "item": reasoning},
        {"type": done, "output_index": 0, "item": output[0]},
        {"type": added, "output_index": 1, "item": search},
        {"type": "response.web_search_call.searching", "output_index": 1, "item_id": "ws_up"},
        {"type": done, "output_index": 1, "item": output[1]},
        {"type": added, "output_index": 2, "item": {**message, "content": []}},
        {"type": "response.output_text.delta", "output_index": 2, "delta": "Hi"},
        {"type": "response.output_text.annotation.added", "output_index": 2, "annotation": note},
        {"type": done, "output_index": 2, "item": output[2]},
        {"type": added, "output_index": 3, "item": {**function, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "output_index": 3, "delta": "{}"},
        {"type": done, "output_index": 3, "item": output[3]},
        {"type": added, "output_index": 4, "item": {**custom, "input": ""}},
        {"type": "response.custom_tool_call_input.delta", "output_index": 4, "delta": 'say "'},
        {"type": "response.custom_tool_call_input.delta", "output_index": 4, "delta": 'x"\n'},
        {"type": done, "output_index": 4, "item": output[4]},
        COMPLETED,
    )
    events, failure = decode(data)
    assert failure is None
    asked = call(tools=TOOLS)
    encoder = FORMAT.encoder(asked)
    streamed = read_stream(b"".join(map(encoder.encode_event, events)))
    whole = json.loads(FORMAT.encode_response(asked, fold(events)))
    for response in (streamed.response, whole):
        assert [item["id"] for item in response["output"]] == [
            *("rs_up", "ws_up", "msg_up", "fc_up", "ctc_up")
        ]
        thought, searched, said, called, patched = response["output"]
        assert thought["encrypted_content"] == "gAAA"
        assert searched == output[1]
        assert said["phase"] == "final_answer"
        assert said["content"][0]["annotations"] == [note]
        assert (called["name"], called["arguments"]) == ("weather", "{}")
        assert patched["input"] == 'say "x"\n'
    assert "response.web_search_call.searching" in streamed.kinds
    assert fold(events).finish_reason == "tool_calls"
    assert fold(events).message_id == "resp_1"


def test_a_service_that_sends_no_pieces_is_read_too() -> None:
    """What comes only at the end of an item is not lost."""
    message = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    function = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
    done = "response.output_item.done"
    items = [thought, message, function]
    data = answer(
        *({"type": done, "output_index": n, "item": item} for n, item in enumerate(items)),
        COMPLETED,
    )
    events, failure = decode(data)
    read = fold(events)
    assert failure is None
    assert (read.text, read.reasoning) == ("Hi", "hm")
    assert [(c.id, c.name, c.arguments) for c in read.tool_calls] == [("c", "f", '{"a":1}')]


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}, RateLimitError),
        ({"type": "error", "error": {"type": "server_error", "message": "x"}}, ServiceError),
        (
            {
                "type": "response.failed",
                "response": {
                    "status": "failed",
                    "error": {"code": "context_length_exceeded", "message": "context_length"},
                },
            },
            ContextLengthError,
        ),
        (
            {
                "type": "response.failed",
                "response": {"status": "failed", "error": None},
                "error": {"code": "rate_limit_exceeded", "message": "slow"},
            },
            RateLimitError,
        ),
        ({"type": "error", "code": 401, "message": "who"}, AuthenticationError),
        ({"type": "response.completed", "response": 7}, BerlinError),
        ({"type": "response.in_progress", "response": {}}, TruncatedStreamError),
    ],
    ids=str,
)
def test_a_bad_end_is_an_error(last: dict[str, Any], kind: type[BerlinError]) -> None:
    """What came before it is delivered."""
    text = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}
    events, failure = decode(answer(text, last))
    assert isinstance(failure, kind)
    assert [event.text for event in events if hasattr(event, "text")] == ["Hi"]


@pytest.mark.parametrize("usage", [[], 7, "x", {"input_tokens": True}, {"input_tokens": None}])
def test_usage_that_is_badly_typed_costs_nothing(usage: Any) -> None:
    """The text is delivered, and the count is unknown."""
    text = {"type": "response.output_text.delta", "output_index": "0", "delta": "Hi"}
    last = {"type": "response.completed", "response": {"status": "completed", "usage": usage}}
    events, failure = decode(answer(text, last))
    assert failure is None
    assert (fold(events).text, fold(events).usage) == ("Hi", None)
