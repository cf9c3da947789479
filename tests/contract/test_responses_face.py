"""The Responses face, byte by byte: the order of its events, and what the whole answer holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.errors import BerlinError, ContextLengthError, RateLimitError, ServiceUnavailableError
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.streaming import OpenStreams
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    Extra,
    ExtraDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from support.gateway import At, serve, silence
from support.responses import check_resource, read_events, read_stream

PATH = "/v1/responses"


async def post(at: At, path: str = PATH, **members: Any) -> tuple[int, bytes]:
    """Post a request, and return the status and the body."""
    body = {"model": "s:m1", "input": "Hi", **members}
    async with at.session.post(at.url + path, json=body) as answer:
        return answer.status, await answer.read()


async def stream(events: list[StreamEvent], **members: Any) -> bytes:
    """Return the stream of an answer that is made of these events."""
    async with serve(Service("s", ScriptedProvider(events), ["m1"])) as at:
        status, data = await post(at, stream=True, **members)
    assert status == 200, data
    return data


ODD = ("Привет 🐻", "\r\n\n", "data: [DONE]\n\n", '"}\\', "a\u2028b", " ", "end")
WEATHER = ToolCallDelta(0, "call_a", "weather")


async def test_text_is_one_message() -> None:
    """Text comes in one item, whose every event has one id, one index and one part."""
    got = read_stream(await stream([*map(TextDelta, ODD), Finished()]))
    [item] = got.items
    assert item.pieces == list(ODD)
    assert got.response["status"] == "completed"
    assert got.response["usage"]["estimated"] is True


async def test_reasoning_text_and_calls_are_items_in_their_order() -> None:
    """Reasoning, text and each call are items, closed one after the other."""
    events: list[StreamEvent] = [
        ReasoningDelta("let me "),
        ReasoningDelta("think"),
        TextDelta("I look"),
        WEATHER,
        ToolCallDelta(0, arguments='{"city":'),
        ToolCallDelta(0, arguments=' "Köln"}'),
        ToolCallDelta(1, "call_b", "time"),
        UsageReport(Usage(11, 7, cached_tokens=3, reasoning_tokens=2, cache_write_tokens=1)),
        Finished("tool_calls"),
    ]
    got = read_stream(await stream(events))
    done = [item.done or {} for item in got.items]
    kinds = [item["type"] for item in done]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]
    assert [item.get("arguments") for item in done[2:]] == ['{"city": "Köln"}', "{}"]
    assert [item.get("call_id") for item in done[2:]] == ["call_a", "call_b"]
    assert got.response["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
    ends = [n for n, kind in enumerate(got.kinds) if kind == "response.output_item.done"]
    begins = [n for n, kind in enumerate(got.kinds) if kind == "response.output_item.added"]
    assert all(end < begin for end, begin in zip(ends, begins[1:], strict=False))


async def test_calls_whose_pieces_are_mixed_keep_their_items() -> None:
    """A call that is not whole stays open while another one begins."""
    events: list[StreamEvent] = [
        WEATHER,
        ToolCallDelta(0, arguments='{"a"'),
        ToolCallDelta(1, "call_b", "time", '{"b"'),
        ToolCallDelta(0, arguments=": 1}"),
        ToolCallDelta(1, arguments=": 2}"),
        Finished("tool_calls"),
    ]
    got = read_stream(await stream(events))
    assert [item.done and item.done["arguments"] for item in got.items] == ['{"a": 1}', '{"b": 2}']


async def test_text_behind_a_call_is_a_message_of_its_own() -> None:
    """Each change of kind begins a new item."""
    events = [TextDelta("a"), WEATHER, TextDelta("b"), ReasoningDelta("c"), TextDelta("d")]
    got = read_stream(await stream([*events, Finished("tool_calls")]))
    kinds = [item.added["type"] for item in got.items]
    assert kinds == ["message", "function_call", "message", "reasoning", "message"]


async def test_a_refusal_is_a_part_of_its_own_kind() -> None:
    """What the model refuses is no answer: a client that reads only text shows nothing."""
    refusal = ExtraDelta(Extra("openai", {"type": "refusal"}), "text", opens=True)
    got = read_stream(await stream([refusal, TextDelta("I "), TextDelta("won't"), Finished()]))
    [item] = got.items
    assert item.done is not None
    assert item.done["content"] == [{"type": "refusal", "refusal": "I won't"}]


async def test_an_empty_answer_has_an_empty_message() -> None:
    """Clients read the first message of the output: there always is one."""
    got = read_stream(await stream([Finished()]))
    [item] = got.items
    assert item.done is not None
    assert item.done["content"][0]["text"] == ""


@pytest.mark.parametrize(
    ("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
async def test_an_answer_that_was_cut_is_incomplete(reason: FinishReason, why: str) -> None:
    """It ends with `response.incomplete`, and so does its last item."""
    got = read_stream(await stream([TextDelta("cut"), Finished(reason)]))
    assert got.response["status"] == "incomplete"
    assert got.response["incomplete_details"] == {"reason": why}
    assert [item.done and item.done["status"] for item in got.items] == ["incomplete"]


async def test_a_custom_tool_is_called_with_text() -> None:
    """Services see a function with `input`; the client gets the text."""
    events: list[StreamEvent] = [
        ToolCallDelta(0, "call_a", "patch", '{"inp'),
        ToolCallDelta(0, arguments='ut": "*** Begin\\n+x"}'),
        Finished("tool_calls"),
    ]
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    tool = {"type": "custom", "name": "patch", "description": "Edits", "format": grammar}
    provider = ScriptedProvider(events)
    async with serve(Service("s", provider, ["m1"])) as at:
        _, data = await post(at, stream=True, tools=[tool])
    [item] = read_stream(data).items
    assert item.done is not None
    assert (item.done["type"], item.done["input"]) == ("custom_tool_call", "*** Begin\n+x")
    [seen] = provider.requests[0].tools
    assert "start: x" in seen.description
    assert '"input"' in seen.parameters


async def test_a_namespace_is_flattened_and_put_together_again() -> None:
    """Services see `agents__close`; the client reads `close` in `agents`."""
    events = [ToolCallDelta(0, "call_a", "agents__close", "{}"), Finished("tool_calls")]
    inner = {"type": "function", "name": "close", "parameters": {"type": "object"}}
    tool = {"type": "namespace", "name": "agents", "description": "d", "tools": [inner]}
    provider = ScriptedProvider(events)
    async with serve(Service("s", provider, ["m1"])) as at:
        _, data = await post(at, stream=True, tools=[tool])
    got = read_stream(data)
    assert [tool.name for tool in provider.requests[0].tools] == ["agents__close"]
    [item] = got.items
    assert item.done is not None
    assert (item.done["name"], item.done["namespace"]) == ("close", "agents")
    assert got.response["tools"] == [tool]


async def test_state_of_another_dialect_comes_back_to_it() -> None:
    """A signature goes out as encrypted content, and comes back with the reasoning."""
    signature = Extra("anthropic", {"signature": "c2ln"})
    thought = Extra("openai", {"extra_content": {"google": {"thought_signature": "x"}}})
    provider = ScriptedProvider(
        [
            ReasoningDelta("hm"),
            ExtraDelta(signature, "reasoning"),
            ToolCallDelta(0, "call_a", "weather", "{}", thought),
            Finished("tool_calls"),
        ]
    )
    async with serve(Service("s", provider, ["m1"])) as at:
        _, data = await post(at, stream=True)
        output = read_stream(data).response["output"]
        result = {"type": "function_call_output", "call_id": "call_a", "output": "sunny"}
        status, _ = await post(at, input=[*output, result])
    assert status == 200
    assistant, tool = provider.requests[1].messages
    assert [(part.text, part.extra) for part in assistant.parts[:1]] == [("hm", signature)]
    assert assistant.parts[1].extra == thought
    assert len(assistant.parts) == 2
    assert tool.role == "tool"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RateLimitError("slow down"), "rate_limit_exceeded"),
        (ContextLengthError("too long"), "context_length_exceeded"),
        (ServiceUnavailableError("down"), "server_error"),
    ],
)
async def test_an_error_after_the_start_fails_the_response(error: BerlinError, code: str) -> None:
    """The stream ends with `response.failed` and the error in it, and is never completed."""
    got = read_stream(await stream([TextDelta("a"), error]))
    assert got.response["status"] == "failed"
    late = f"{error} (after 1 event of the answer)"
    assert got.response["error"] == {"code": code, "message": late}


async def test_a_silence_is_broken_by_a_numbered_event() -> None:
    """A client that waits is told that the response is in progress."""
    provider = ScriptedProvider(["a", silence, "b", Finished()])
    gateway = Gateway(Catalog([Service("s", provider, ["m1"])]), streams=OpenStreams(0.01))
    async with serve(gateway=gateway) as at:
        _, data = await post(at, stream=True)
    got = read_stream(data)
    assert got.kinds.count("response.in_progress") > 1
    assert [item.pieces for item in got.items] == [["a", "b"]]


async def test_a_whole_answer_is_what_the_stream_ends_with() -> None:
    """Streamed or not, the response has the same members and items."""
    events = [ReasoningDelta("hm"), TextDelta("a"), WEATHER, UsageReport(Usage(3, 4))]
    provider = ScriptedProvider([*events, Finished("tool_calls")])
    async with serve(Service("s", provider, ["m1"])) as at:
        _, data = await post(at, stream=True)
        streamed = read_stream(data).response
        _, body = await post(at)
    whole = json.loads(body)
    check_resource(whole)
    for response in (whole, streamed):
        for name in ("id", "created_at", "completed_at"):
            del response[name]
        for item in response["output"]:
            del item["id"]
    assert whole == streamed


def test_the_reader_of_the_tests_sees_a_gap() -> None:
    """The strict reader is strict."""
    with pytest.raises(AssertionError):
        read_events(b"data: {}\n\n")
