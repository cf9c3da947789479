"""What clients send and services answer arrives, in cases met by proxies in the field.

Each case is an answer of a service of some dialect, and what a client of some dialect makes of it.
One gateway serves them all.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from berlin.gateway.catalog import Service
from support.answers import FORMATS
from support.gateway import ANTHROPIC, OPENAI, RESPONSES, Answer, At, described_provider, serve
from support.playing import playing

USER = {"role": "user", "content": "Hi"}
FUNCTION = {
    "name": "f",
    "description": "d",
    "parameters": {"type": "object", "properties": {"x": {"type": "number"}}},
}


class Field:
    """Services of each dialect behind one gateway, and what they were sent."""

    def __init__(self) -> None:
        self.answer: bytes = b""
        self.seen: list[Any] = []
        self.at: At

    async def play(self, request: web.Request) -> web.StreamResponse:
        """Answer as a service."""
        self.seen.append(json.loads(await request.read()))
        whole = self.answer.startswith(b"{") and self.answer.count(b"\n") == 0
        kind = "application/json" if whole else "text/event-stream"
        return web.Response(body=self.answer, content_type=kind)

    async def ask(
        self, face: Any, service: str, answer: bytes, *, stream: bool = False, **members: Any
    ) -> Answer:
        """Return what a client gets from a service that answers this."""
        self.answer = answer
        body = {**face.body("Hi", f"{service}:m", stream), **members}
        return await self.at.post(face, body)


@asynccontextmanager
async def field() -> AsyncIterator[Field]:
    """Serve a service of each dialect."""
    world = Field()
    async with playing(world.play) as url:
        services = [
            Service(name, described_provider(f"{url}/v1", format), any_model=True)
            for name, format in FORMATS.items()
        ]
        async with serve(*services) as at:
            world.at = at
            yield world


def sse(*documents: Any) -> bytes:
    """Return a stream of chat completions."""
    frames = [b"data: %b\n\n" % json.dumps(document).encode() for document in documents]
    return b"".join([*frames, b"data: [DONE]\n\n"])


def chunk(delta: Any, finish: str | None = None) -> Any:
    """Return a chunk of a stream."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


OLDER = sse(
    chunk({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}),
    chunk({"function_call": {"arguments": '{"x":'}}),
    chunk({"function_call": {"arguments": "1}"}}),
    chunk({}, "function_call"),
)


async def test_functions() -> None:
    """The older form of tools arrives as it is at services of its dialect, and as tools elsewhere;
    answers come in the form in which the client asked.
    """
    history = [
        USER,
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "f", "arguments": '{"x":1}'},
        },
        {"role": "function", "name": "f", "content": "42"},
    ]
    asked: dict[str, Any] = {"functions": [FUNCTION], "messages": history}
    asked["function_call"] = {"name": "f"}
    async with field() as world:
        got = await world.ask(OPENAI, "openai", OLDER, **asked)
        assert {n: world.seen[-1].get(n) for n in asked} == asked
        [choice] = got.json["choices"]
        assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"x":1}'}
        assert choice["finish_reason"] == "function_call"
        got = await world.ask(OPENAI, "openai", OLDER, stream=True, functions=[FUNCTION])
        deltas = [d["choices"][0]["delta"] for d in OPENAI.documents(got.data)]
        called = [delta["function_call"] for delta in deltas if "function_call" in delta]
        assert called[0]["name"] == "f"
        assert "".join(piece["arguments"] for piece in called) == '{"x":1}'
        got = await world.ask(
            OPENAI, "openai", OLDER, tools=[{"type": "function", "function": FUNCTION}]
        )
        [call] = got.json["choices"][0]["message"]["tool_calls"]
        assert call["function"] == {"name": "f", "arguments": '{"x":1}'}
        await world.ask(OPENAI, "anthropic", b"", **asked)
        sent = world.seen[-1]
        assert sent["tool_choice"] == {"type": "tool", "name": "f"}
        [_, turn, result] = sent["messages"]
        assert turn["content"][0]["input"] == {"x": 1}
        assert result["content"][0]["tool_use_id"] == turn["content"][0]["id"]
        assert "x-berlin-dropped" not in got.headers


async def test_lines_as_events() -> None:
    """A proxy that sends Ollama's lines as server-sent events is understood."""
    lines = [
        {"message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"message": {"role": "assistant", "content": "lo"}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "length"},
    ]
    async with field() as world:
        got = await world.ask(OPENAI, "ollama", b": ping\n\nevent: message\n" + sse(*lines))
    [choice] = got.json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello", "length")


def named(*events: Any) -> bytes:
    """Return a stream of Anthropic's messages."""
    frames = [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events]
    return "".join(frames).encode()


def block(index: int, opened: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a block."""
    at = {"index": index}
    pieces = [{"type": "content_block_delta", **at, "delta": delta} for delta in deltas]
    opens = {"type": "content_block_start", **at, "content_block": opened}
    return [opens, *pieces, {"type": "content_block_stop", **at}]


def ended(word: str, **more: Any) -> list[dict[str, Any]]:
    """Return the events of an end."""
    return [{"type": "message_delta", "delta": {"stop_reason": word, **more}}, {"type": END}]


END = "message_stop"
OK = sse(chunk({"content": "ok"}), chunk({}, "stop"))
SAID = [{"type": "content_block_delta", "index": 0, "delta": {"text": "ab"}}]
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
LINE = {"message": {"role": "assistant", "content": "ab"}, "done": False}
DONE = {"done": "true", "done_reason": "stop", "eval_count": "3", "prompt_eval_count": 5}
CALL = {"id": "a", "index": 0, "function": {"name": "f", "arguments": '{"x":1}'}}

TEXTS: dict[str, tuple[str, bytes]] = {
    "no type in a delta, null ones, no name of events": (
        "anthropic",
        sse({"type": "content_block_delta", "index": 0, "delta": None}, *SAID, *ended("end_turn")),
    ),
    "types only as names of events": (
        "anthropic",
        sse(
            {"message": {}},
            {"index": 0, "delta": SAID[0]["delta"]},
            {"delta": {"stop_reason": "x"}},
        ),
    ),
    "a broken input of the service's own tool": (
        "anthropic",
        named(
            *block(
                1,
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"q":'},
            ),
            *SAID,
            *ended("end_turn"),
        ),
    ),
    "lines without a message, counts and flags as text": (
        "ollama",
        b"".join(json.dumps(d).encode() + b"\n" for d in ({}, {"done": False}, LINE, DONE)),
    ),
    "a list of lines": ("ollama", json.dumps([LINE, DONE]).encode()),
    "the role first, then only the whole message": (
        "openai",
        sse(
            chunk({"role": "assistant", "content": ""}),
            {"choices": [{"message": {"content": "ab"}, "delta": {}, "finish_reason": "stop"}]},
        ),
    ),
    "the whole message once more at the end": (
        "openai",
        sse(
            chunk({"content": "ab"}),
            {"choices": [{"message": {"content": "ab"}, "delta": {}, "finish_reason": "stop"}]},
        ),
    ),
}
CALLS: dict[str, tuple[str, bytes]] = {
    "flat": ("openai", sse(chunk({"tool_calls": [{"id": "a", **CALL["function"]}]}))),
    "an object instead of a list": ("openai", sse(chunk({"tool_calls": CALL}))),
    "an empty stand-in for arguments": (
        "openai",
        sse(
            chunk({"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{}"}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        ),
    ),
    "the whole message once more": (
        "openai",
        sse(chunk({"tool_calls": [CALL]}), {"choices": [{"message": {"tool_calls": [CALL]}}]}),
    ),
    "input in a block that is never closed": (
        "anthropic",
        named(block(0, USE)[0], *ended("tool_use")),
    ),
    "flat, in a line": (
        "ollama",
        json.dumps({"message": {"tool_calls": [{"name": "f", "arguments": {"x": 1}}]}}).encode()
        + b"\n"
        + json.dumps(DONE).encode(),
    ),
    "once more in the last line": (
        "ollama",
        b"".join(
            json.dumps({"message": {"content": "", "tool_calls": [CALL]}, **end}).encode() + b"\n"
            for end in ({}, DONE)
        ),
    ),
}
ERRORS: dict[str, tuple[str, bytes, int, str]] = {
    "in the choice": (
        "openai",
        sse({"choices": [{"finish_reason": "error", "error": {"code": 429, "message": "slow"}}]}),
        429,
        "rate_limited",
    ),
    "MiniMax": (
        "openai",
        sse({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
        429,
        "insufficient_quota",
    ),
    "in a list": ("openai", b'[{"error":{"code":429,"message":"slow"}}]', 429, "rate_limited"),
    "a filter": (
        "openai",
        sse({"error": {"message": "no", "code": "content_policy_violation"}}),
        400,
        "content_filter",
    ),
}


async def test_answers_in_odd_shapes() -> None:
    """Texts, calls and errors arrive, whatever shape they have, and nothing arrives twice."""
    async with field() as world:
        for name, (service, data) in TEXTS.items():
            got = await world.ask(OPENAI, service, data)
            assert got.status == 200, (name, got.data)
            assert got.json["choices"][0]["message"]["content"] == "ab", name
        for name, (service, data) in CALLS.items():
            got = await world.ask(OPENAI, service, data)
            assert got.status == 200, (name, got.data)
            [call] = got.json["choices"][0]["message"]["tool_calls"]
            assert json.loads(call["function"]["arguments"]) == {"x": 1}, name
        for name, (service, data, status, code) in ERRORS.items():
            got = await world.ask(OPENAI, service, data)
            assert (got.status, got.json["error"]["code"]) == (status, code), name


async def test_stop_sequences_and_counts() -> None:
    """The sequence that ended an answer, and cached tokens, are told wherever a service says so."""
    counts = {"prompt_tokens": 9, "completion_tokens": 1}
    places = (
        {"prompt_cache_hit_tokens": 8},
        {"cached_tokens": 8},
        {"cache_read_input_tokens": 8},
        {"prompt_tokens_details": {"cached_tokens": 8}},
    )
    async with field() as world:
        for member in ("stop_reason", "matched_stop"):
            end = {"index": 0, "delta": {}, "finish_reason": "stop", member: "END"}
            answer = sse(chunk({"content": "ok"}), {"choices": [end]})
            got = (await world.ask(ANTHROPIC, "openai", answer)).json
            assert (got["stop_reason"], got["stop_sequence"]) == ("stop_sequence", "END")
        answer = named(*SAID, *ended("stop_sequence", stop_sequence="END"))
        got = (await world.ask(OPENAI, "anthropic", answer)).json["choices"][0]
        assert (got["finish_reason"], got["stop_reason"]) == ("stop", "END")
        for place in places:
            usage = {"choices": [], "usage": {**counts, **place}}
            got = await world.ask(ANTHROPIC, "openai", sse(chunk({"content": "a"}, "stop"), usage))
            assert got.json["usage"]["cache_read_input_tokens"] == 8
            assert got.json["usage"]["input_tokens"] == 1


async def test_history_between_dialects() -> None:
    """Results follow their calls, failures are noted, and thinking goes back where it came from."""
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [image]},
        {
            "type": "tool_result",
            "tool_use_id": "t2",
            "is_error": True,
            "content": [{"type": "text", "text": "no"}],
        },
    ]
    asked = [
        USER,
        {"role": "assistant", "content": [USE, {**USE, "id": "t2"}]},
        {"role": "user", "content": results},
    ]
    async with field() as world:
        await world.ask(ANTHROPIC, "openai", OK, tools=tools, messages=asked)
        sent = world.seen[-1]["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool", "user"]
        assert sent[3]["content"] == "Error: no"
        await world.ask(ANTHROPIC, "responses", b"", tools=tools, messages=asked)
        assert [p["text"] for p in world.seen[-1]["input"][-1]["output"]] == ["Error:", "no"]
        thought = block(0, {"type": "thinking", "thinking": "hm"})
        answer = named(*thought, *block(1, USE), *ended("tool_use"))
        got = await world.ask(ANTHROPIC, "anthropic", answer, tools=tools)
        turn = {"role": "assistant", "content": got.json["content"]}
        history = [USER, turn, {"role": "user", "content": [{**results[0], "content": "1"}]}]
        await world.ask(ANTHROPIC, "anthropic", b"", tools=tools, messages=history)
        assert world.seen[-1]["messages"] == history
        await world.ask(ANTHROPIC, "openai", OK, tools=tools, messages=history)
        assert world.seen[-1]["messages"][1]["reasoning_content"] == "hm"


async def test_cache_markers() -> None:
    """A gateway to Anthropic's models gets the markers of what to cache, in parts of messages."""
    mark = {"cache_control": {"type": "ephemeral"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "1", **mark}
    asked = {
        "system": [{"type": "text", "text": "s", **mark}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "messages": [
            USER,
            {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [result]},
        ],
    }
    seen: list[Any] = []

    async def play(request: web.Request) -> web.StreamResponse:
        seen.append(json.loads(await request.read()))
        return web.Response(body=OK, content_type="text/event-stream")

    async with playing(play) as url:
        provider = described_provider(url, FORMATS["openai"], more="cache_markers = true\n")
        async with serve(Service("s", provider, any_model=True)) as at:
            got = await at.post(ANTHROPIC, {**ANTHROPIC.body("Hi", "s:m", False), **asked})
    assert "x-berlin-dropped" not in got.headers
    first, *_, last = seen[0]["messages"]
    assert first["content"] == [{"type": "text", "text": "s", **mark}]
    assert last["content"] == [{"type": "text", "text": "1", **mark}]


async def test_ids_of_stored_responses() -> None:
    """A response has its service's id; one that the service uses again is replaced, so that a chain
    of responses never meets itself.
    """
    said = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "ok"}]}
    made = {"id": "resp_1", "object": "response", "status": "completed", "output": [said]}
    answer = json.dumps(made).encode()
    async with field() as world:
        first = (await world.ask(RESPONSES, "responses", answer)).json["id"]
        assert first == "resp_1"
        previous, ids = first, {first}
        for turn in range(1, 4):
            got = await world.ask(RESPONSES, "responses", answer, previous_response_id=previous)
            assert len(world.seen[-1]["input"]) == 2 * turn + 1
            previous = got.json["id"]
            ids.add(previous)
    assert len(ids) == 4
