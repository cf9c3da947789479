"""Services that think and call two tools at once, and want their opaque state back.

They are written from the references of their dialects: Gemini's thought signatures and DeepSeek's
reasoning text in OpenAI's chat completions, signed and redacted thinking in Anthropic's messages,
encrypted reasoning in the Responses API, thinking in Ollama's chat. A request whose history
differs from what the service said is a 400, as Gemini and Anthropic answer it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from berlin.types import Usage
from support.answers import WRITERS, Call, Said
from support.playing import playing

CITIES = ("Paris", "Rome")
TURNS = 3
COUNTED = Usage(5, 7, cached_tokens=0, reasoning_tokens=0)
LAST = "Sunny in both, three times."


def call_id(turn: int, city: str) -> str:
    """Return the id of a call."""
    return f"call_{turn}_{city}"


def thought(turn: int) -> str:
    """Return what the service thought in a turn."""
    return f"Turn {turn}: ask for both."


@dataclass
class Thinking:
    """One service, with what was wrong with its requests.

    Attributes:
        dialect: the dialect it speaks.
        forgives: what its client cannot keep, and this service does without: `reasoning`,
            `signatures`.
        faults: what differed.
        turns: how many tool turns each request had.
    """

    dialect: str
    forgives: frozenset[str] = frozenset()
    faults: list[str] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat: two calls in each of three turns, then text."""
        body = await request.json()
        history = READERS[self.dialect](body)
        turn = sum(kind == "result" for kind, _ in history) // len(CITIES)
        self.turns.append(turn)
        if fault := self._differs(history, turn):
            self.faults.append(fault)
            return web.json_response({"error": {"message": fault}}, status=400)
        kind = "application/x-ndjson" if self.dialect == "ollama" else "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for frame in WRITERS[self.dialect](self._say(turn)):
            await response.write(frame)
        return response

    def _say(self, turn: int) -> Said:
        if turn == TURNS:
            return Said((LAST[:5], LAST[5:]), usage=COUNTED, turn=turn)
        calls = (
            Call("" if self.dialect == "ollama" else call_id(turn, city), "weather", (arguments,))
            for city in CITIES
            for arguments in [json.dumps({"city": city})]
        )
        text = thought(turn)
        return Said(
            reasoning=(text[:6], text[6:]),
            calls=tuple(calls),
            finish="tool_calls",
            usage=COUNTED,
            signature=f"sig-{turn}",
            redacted=f"redacted-{turn}",
            turn=turn,
        )

    def _differs(self, history: list[tuple[str, Any]], turn: int) -> str:
        """Return where a history differs from what was said, or `""`."""
        wanted: list[tuple[str, Any]] = []
        for past in range(turn):
            wanted += said(self.dialect, past)
            wanted += [("result", (call_id(past, city), f"sunny in {city}")) for city in CITIES]
        ours = [item for item in wanted if item[0] not in self.forgives]
        theirs = [item for item in history if item[0] not in self.forgives]
        pairs = zip([*ours, None], [*theirs, None], strict=False)
        return next((f"expected {a}, got {b}" for a, b in pairs if a != b), "")


def said(dialect: str, turn: int) -> Iterator[tuple[str, Any]]:
    """Yield what a service said in a turn, as it has to come back."""
    yield "reasoning", thought(turn)
    if dialect in ("openai", "anthropic", "responses"):
        yield "signatures", f"sig-{turn}"
    if dialect == "anthropic":
        yield "signatures", f"redacted-{turn}"
    for city in CITIES:
        id = "" if dialect == "ollama" else call_id(turn, city)
        yield "call", (id, "weather", {"city": city})


def _read_openai(body: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            found.append(("result", (message["tool_call_id"], _text(message["content"]))))
        if message["role"] != "assistant":
            continue
        if "reasoning_content" in message:
            found.append(("reasoning", message["reasoning_content"]))
        calls = message["tool_calls"]
        for call in calls:
            signed = call.get("extra_content", {}).get("google", {}).get("thought_signature")
            found += [("signatures", signed)] if signed else []
        for call in calls:
            function = call["function"]
            arguments = json.loads(function["arguments"])
            found.append(("call", (call["id"], function["name"], arguments)))
    return found


def _text(content: Any) -> str:
    """Return the text of content, which some clients send as parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _read_anthropic(body: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for message in body["messages"]:
        content = message["content"]
        for block in content if isinstance(content, list) else ():
            match block:
                case {"type": "thinking"}:
                    found.append(("reasoning", block["thinking"]))
                    found.append(("signatures", block["signature"]))
                case {"type": "redacted_thinking"}:
                    found.append(("signatures", block["data"]))
                case {"type": "tool_use"}:
                    found.append(("call", (block["id"], block["name"], block["input"])))
                case {"type": "tool_result"}:
                    told = block["tool_use_id"], _text(block["content"])
                    found.append(("result", told))
    return found


def _read_ollama(body: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    answered = 0
    for message in body["messages"]:
        if message["role"] == "tool":
            # This dialect's results have no ids: they are told apart by their order.
            turn, place = divmod(answered, len(CITIES))
            found.append(("result", (call_id(turn, CITIES[place]), message["content"])))
            assert message["tool_name"] == "weather"
            answered += 1
        if message.get("thinking"):
            found.append(("reasoning", message["thinking"]))
        for call in message.get("tool_calls", ()):
            function = call["function"]
            found.append(("call", ("", function["name"], function["arguments"])))
    return found


def _read_responses(body: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for item in body["input"] if isinstance(body["input"], list) else ():
        match item.get("type"):
            case "reasoning":
                found.append(("reasoning", "".join(part["text"] for part in item["summary"])))
                found.append(("signatures", item["encrypted_content"]))
                assert item.keys() <= {"id", "type", "summary", "encrypted_content", "status"}
            case "function_call":
                arguments = json.loads(item["arguments"])
                found.append(("call", (item["call_id"], item["name"], arguments)))
            case "function_call_output":
                found.append(("result", (item["call_id"], _text(item["output"]))))
    return found


READERS: dict[str, Callable[[dict[str, Any]], list[tuple[str, Any]]]] = {
    "openai": _read_openai,
    "anthropic": _read_anthropic,
    "ollama": _read_ollama,
    "responses": _read_responses,
}


@asynccontextmanager
async def thinking_service(service: Thinking) -> AsyncIterator[str]:
    """Serve it on a free port, and give its base URL."""
    async with playing(service.answer) as url:
        yield f"{url}/v1"
