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
from support.gateway import OPENAI, Answer, At, described_provider, serve
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
