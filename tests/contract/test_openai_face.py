"""The OpenAI face, byte by byte: how its streams, answers and lists of models look."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from berlin import ChatRequest, errors
from berlin.errors import BerlinError
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.streaming import OpenStreams
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from support.fault_server import FaultServer
from support.fault_steps import answer
from support.gateway import OPENAI, At, described_provider, serve, service, silence

FRAME = re.compile(rb"data: (\{[^\n]*\}|\[DONE\])\n\n")


def frames(data: bytes) -> list[Any]:
    """Return the frames of a stream that is nothing but `data: …` and a blank line each."""
    found = FRAME.findall(data)
    assert b"".join(b"data: %b\n\n" % one for one in found) == data
    return [one if one == b"[DONE]" else json.loads(one) for one in found]


async def chunks(at: At, **members: Any) -> list[Any]:
    """Return the frames of a streamed answer."""
    got = await at.ask(OPENAI, stream=True, **members)
    assert got.status == 200, got.data
    return frames(got.data)


class Held(ScriptedProvider):
    """Says nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.asked = asyncio.Event()

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Wait, and then answer."""
        self.asked.set()
        await self.go.wait()
        yield [TextDelta("Hi"), Finished()]


async def test_head_goes_out_with_the_first_event() -> None:
    """Until the first event there is not a byte; then status and headers of a stream."""
    provider = Held()
    async with (
        serve(Service("s", provider, ["m1"]), keep_alive_s=0.05) as at,
        at.connection() as (reader, writer),
    ):
        body = json.dumps(OPENAI.body("Hi", "s:m1", True)).encode()
        writer.write(await at.head(OPENAI, body, "Accept-Encoding: gzip, deflate, br"))
        async with asyncio.timeout(30):
            await provider.asked.wait()
            early = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
            await asyncio.wait([early], timeout=0.3)
            assert not early.done()
            provider.go.set()
            head = (await early).decode("latin-1")
    status, *lines = head.rstrip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 200 OK"
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["server"] == "berlin"
    assert re.fullmatch("req_[0-9a-f]{32}", headers["x-request-id"])
    assert headers["x-berlin-model"] == "s:m1"
    assert not {"content-encoding", "set-cookie", "content-length"} & set(headers)


async def test_frames_of_text() -> None:
    """Role, text, finish, end: each is one line of JSON with the same head."""
    odd = "a\n\ndata: \r\u2028"
    async with serve(service(odd, "b", Finished("length"))) as at:
        *got, last = await chunks(at, model="s:m1")
    assert last == b"[DONE]"
    assert [set(chunk) for chunk in got] == [{"id", "object", "created", "model", "choices"}] * 4
    [(id, kind, created, model)] = {(c["id"], c["object"], c["created"], c["model"]) for c in got}
    assert re.fullmatch("chatcmpl-[0-9a-f]{32}", id)
    assert (kind, model) == ("chat.completion.chunk", "s:m1")
    assert type(created) is int
    assert [chunk["choices"] for chunk in got] == [
        [{"index": 0, "delta": delta, "finish_reason": reason}]
        for delta, reason in [
            ({"role": "assistant", "content": ""}, None),
            ({"content": odd}, None),
            ({"content": "b"}, None),
            ({}, "length"),
        ]
    ]


async def test_ids_differ_between_answers() -> None:
    """No two answers, streamed or whole, have the same id."""
    async with serve(service()) as at:
        ids = {(await chunks(at))[0]["id"] for _ in range(3)}
        ids |= {(await at.ask(OPENAI)).json["id"] for _ in range(3)}
    assert len(ids) == 6


@pytest.mark.parametrize("asked", ["quick", "s:m1", "s", ""])
async def test_model_is_what_the_client_asked(asked: str) -> None:
    """The answer repeats the client's name for the model; the real one is in a header."""
    one = service(default="m1")
    async with serve(one, aliases={"quick": "s:m1"}) as at:
        streamed = await at.ask(OPENAI, model=asked, stream=True)
        whole = await at.ask(OPENAI, model=asked)
    assert {c["model"] for c in OPENAI.documents(streamed.data)} == {whole.json["model"]}
    assert whole.json["model"] == (asked or "s:m1")  # never empty: clients require a name
    assert streamed.headers["x-berlin-model"] == whole.headers["x-berlin-model"] == "s:m1"


async def test_reasoning_comes_in_a_member_of_its_own() -> None:
    """Reasoning is `reasoning_content`, before the text and never in it."""
    script = [ReasoningDelta("h"), ReasoningDelta("m"), "a", Finished()]
    async with serve(service(*script)) as at:
        *got, _ = await chunks(at)
        whole = (await at.ask(OPENAI)).json
    assert [chunk["choices"][0]["delta"] for chunk in got] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"content": "a"},
        {},
    ]
    message = {"role": "assistant", "content": "a", "refusal": None, "reasoning_content": "hm"}
    assert whole["choices"][0]["message"] == message


CALLS = [
    ToolCallDelta(0, "call_a", "f"),
    ToolCallDelta(0, arguments='{"x":'),
    ToolCallDelta(0, arguments="1}"),
    ToolCallDelta(1, "call_b", "g"),
]


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
async def test_frames_of_tool_calls(reason: Any) -> None:
    """Id, type and name come once with empty arguments, then pieces; none at all are `{}`."""
    async with serve(service("t", *CALLS, Finished(reason))) as at:
        *got, _ = await chunks(at)
        whole = (await at.ask(OPENAI)).json["choices"][0]

    def begin(index: int, id: str, name: str) -> dict[str, Any]:
        function = {"name": name, "arguments": ""}
        return {"index": index, "id": id, "type": "function", "function": function}

    deltas = [chunk["choices"][0]["delta"] for chunk in got]
    assert deltas[2:] == [
        {"tool_calls": [begin(0, "call_a", "f")]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [begin(1, "call_b", "g")]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in got] == [None] * 7 + ["tool_calls"]
    assert whole["finish_reason"] == "tool_calls"
    assert whole["message"]["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


async def test_content_is_null_beside_tool_calls_only() -> None:
    """A whole answer of nothing but calls has `content: null`; an empty one has `""`."""
    async with serve(service(*CALLS, Finished())) as at:
        assert (await at.ask(OPENAI)).json["choices"][0]["message"]["content"] is None
    async with serve(service(Finished())) as at:
        assert (await at.ask(OPENAI)).json["choices"][0]["message"]["content"] == ""


FULL = Usage(11, 7, cached_tokens=3, reasoning_tokens=2)
FULL_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


@pytest.mark.parametrize("early", [True, False], ids=["before the text", "at the end"])
async def test_usage_has_a_chunk_of_its_own(early: bool) -> None:
    """Asked for, usage follows the finish chunk without choices; no other chunk has any."""
    report = UsageReport(FULL)
    script = [report, "a", Finished()] if early else ["a", report, Finished()]
    async with serve(service(*script)) as at:
        *got, finish, usage, last = await chunks(at, stream_options={"include_usage": True})
        without = await chunks(at, stream_options=None)
        whole = (await at.ask(OPENAI)).json
    assert last == b"[DONE]"
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"] == FULL_USAGE
    assert usage["id"] == finish["id"]
    assert all("usage" not in chunk for chunk in (*got, finish, *without[:-1]))
    assert all(len(chunk["choices"]) == 1 for chunk in (*got, finish, *without[:-1]))


async def test_usage_is_never_missing_in_a_whole_answer() -> None:
    """Where the service does not count, there is a guess of three integers that says so."""
    async with serve(service("x" * 40, Finished())) as at:
        usage = (await at.ask(OPENAI, "y" * 80)).json["usage"]
        *_, streamed, _ = await chunks(at, stream_options={"include_usage": True})
    assert usage == {
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "total_tokens": 30,
        "estimated": True,
    }
    assert streamed["usage"]["estimated"] is True


async def test_shape_of_a_whole_answer() -> None:
    """A whole answer has every member that clients look for."""
    async with serve(service("Hi", Finished("content_filter"))) as at:
        got = await at.ask(OPENAI)
    assert got.headers["Content-Type"] == "application/json"
    assert int(got.headers["Content-Length"]) == len(got.data)
    said = got.json
    assert re.fullmatch("chatcmpl-[0-9a-f]{32}", said.pop("id"))
    assert type(said.pop("created")) is int
    said.pop("usage")
    message = {"role": "assistant", "content": "Hi", "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "content_filter",
        "logprobs": None,
    }
    assert said == {"object": "chat.completion", "model": "s:m1", "choices": [choice]}


async def test_keep_alive_is_an_empty_chunk() -> None:
    """In silence come chunks with nothing in them, never comments, and never before the role."""
    script = [ReasoningDelta("h"), silence, "a", silence, Finished()]
    async with serve(service(*script), keep_alive_s=0.01) as at:
        *got, last = await chunks(at)
    deltas = [chunk["choices"][0]["delta"] for chunk in got]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert deltas.count({}) >= 1 + 2 + 2
    first, second = deltas.index({"reasoning_content": "h"}), deltas.index({"content": "a"})
    assert deltas[first + 1 : second].count({}) == second - first - 1 >= 2
    assert [chunk["choices"][0]["finish_reason"] for chunk in got[:-1]] == [None] * (len(got) - 1)
    assert len({chunk["id"] for chunk in got}) == 1
    assert last == b"[DONE]"


async def test_keep_alive_can_be_a_comment() -> None:
    """Whoever wants comments gets them, and no empty chunk."""
    script = ["a", silence, Finished()]
    streams = OpenStreams(0.01, comments=True)
    gateway = Gateway(Catalog([service(*script)]), streams=streams)
    async with serve(gateway=gateway) as at:
        said = (await at.ask(OPENAI, stream=True)).data
    assert said.count(b": keep-alive\n\n") >= 2
    assert said.count(b'"delta":{}') == 1


async def test_keep_alive_can_be_off() -> None:
    """With 0 nothing is added to a silent stream."""
    async with serve(service("a", 0.3, Finished()), keep_alive_s=0) as at:
        assert len(await chunks(at)) == 4


LATE: list[tuple[BerlinError, dict[str, Any]]] = [
    (
        errors.RateLimitError("slow down", retry_after=3),
        {"message": "slow down", "type": "rate_limit_error", "code": "rate_limited"},
    ),
    (
        errors.TruncatedStreamError("cut"),
        {"message": "cut", "type": "api_error", "code": "upstream_truncated"},
    ),
]


@pytest.mark.parametrize(("error", "expected"), LATE, ids=["429", "502"])
async def test_error_in_a_stream_is_its_last_frame(
    error: BerlinError, expected: dict[str, Any]
) -> None:
    """After an error there is neither a finish reason nor `[DONE]`, and HTTP ends in order."""
    async with serve(service("a", error)) as at:
        got = await chunks(at, stream_options={"include_usage": True})
    assert [set(frame) for frame in got[:-1]] == [
        {"id", "object", "created", "model", "choices"}
    ] * 2
    assert all(frame["choices"][0]["finish_reason"] is None for frame in got[:-1])
    late = f"{expected['message']} (after 1 event of the answer)"
    assert got[-1] == {"error": {**expected, "message": late, "param": None}}


RETRY = [
    ("429 Slow", ("Retry-After: 100",), 429, ("100", "100000"), None),
    ("429 Slow", ("retry-after-ms: 1500",), 429, ("2", "1500"), None),
    ("429 Slow", (), 429, (None, None), None),
    ("503 Busy", ("Retry-After: 1",), 502, ("1", "1000"), None),
    ("401 Who", (), 502, (None, None), "false"),
    ("403 No", (), 502, (None, None), "false"),
    ("400 Bad", (), 400, (None, None), None),
]


@pytest.mark.parametrize(("head", "headers", "status", "retry", "should"), RETRY, ids=str)
async def test_headers_that_say_whether_to_try_again(
    head: str,
    headers: tuple[str, ...],
    status: int,
    retry: tuple[str | None, str | None],
    should: str | None,
) -> None:
    """When to come back is handed on, and what is in vain is not tried again by clients."""
    async with FaultServer(answer(head, b'{"error": {"message": "no"}}', *headers)) as server:
        provider = described_provider(f"{server.url}/{abs(hash((head, headers)))}")
        async with serve(Service("s", provider, ["m1"])) as at:
            got = await at.ask(OPENAI, stream=True)
    assert got.status == status
    assert (got.headers.get("Retry-After"), got.headers.get("retry-after-ms")) == retry
    assert got.headers.get("x-should-retry") == should
    assert set(got.json["error"]) == {"message", "type", "param", "code"}
    assert got.headers["x-request-id"].startswith("req_")
