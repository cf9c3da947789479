"""Answers, as real services of each format write them.

They are written from what the formats say of themselves, apart from Berlin's own code.

    async with upstream("openai", Said(("Hello",))) as up, serve(up.service) as at:
        assert (await at.ask(ANTHROPIC)).text == "Hello"
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from berlin import Berlin
from berlin.gateway.catalog import Service
from berlin.providers.guide import GuideProvider
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    Finished,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from support.chat_service import ChatService
from support.fault_server import FaultServer
from support.fault_steps import NDJSON, stream
from support.gateway import PATIENT, described_provider

SSE = "Content-Type: text/event-stream"
FORMATS = {
    "openai": "openai-chat",
    "responses": "openai-responses",
    "anthropic": "anthropic-messages",
    "ollama": "ollama-chat",
}


@dataclass(frozen=True)
class Call:
    """A tool call; a service sends its arguments in the given pieces."""

    id: str
    name: str
    arguments: tuple[str, ...]

    @property
    def parsed(self) -> Any:
        """The arguments as whoever runs the tool gets them."""
        return json.loads("".join(self.arguments) or "{}")


@dataclass(frozen=True)
class Said:
    """What a service answers, in pieces.

    Attributes:
        signature: what it signs its reasoning or its first call with, and wants back.
        redacted: reasoning that it does not show, and wants back.
        turn: which answer of a conversation it is: ids differ by it.
    """

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: FinishReason = "stop"
    usage: Usage | None = None
    signature: str = ""
    redacted: str = ""
    turn: int = 1


def events(said: Said) -> list[StreamEvent]:
    """Return an answer as events."""
    made: list[StreamEvent] = [ReasoningDelta(piece) for piece in said.reasoning]
    made += [TextDelta(piece) for piece in said.text]
    for index, call in enumerate(said.calls):
        made.append(ToolCallDelta(index, call.id, call.name))
        made += [ToolCallDelta(index, arguments=piece) for piece in call.arguments]
    made += [UsageReport(said.usage)] if said.usage is not None else []
    return [*made, Finished(said.finish)]


def _sse(document: dict[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def openai_answer(said: Said) -> Iterator[bytes]:
    """Give the frames of a service of OpenAI's format."""

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return _sse({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})

    yield chunk({"role": "assistant", "content": ""})
    for piece in said.reasoning:
        yield chunk({"reasoning_content": piece})
    for piece in said.text:
        yield chunk({"content": piece})
    for n, call in enumerate(said.calls):
        function = {"name": call.name, "arguments": ""}
        first = {"index": n, "id": call.id, "type": "function", "function": function}
        if said.signature and n == 0:  # as Gemini signs: the first of parallel calls
            first["extra_content"] = {"google": {"thought_signature": said.signature}}
        yield chunk({"tool_calls": [first]})
        for piece in call.arguments:
            yield chunk({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
    yield chunk({}, said.finish)
    if said.usage is not None:
        usage = {
            "prompt_tokens": said.usage.input_tokens,
            "completion_tokens": said.usage.output_tokens,
            "total_tokens": said.usage.input_tokens + said.usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": said.usage.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": said.usage.reasoning_tokens},
        }
        yield _sse({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def responses_answer(said: Said) -> Iterator[bytes]:
    """Give the events of a service of the Responses API."""
    output: list[dict[str, Any]] = []

    def event(kind: str, **members: Any) -> bytes:
        return _sse({"type": kind, "sequence_number": 0, **members}, kind)

    def response(status: str, **members: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{said.turn}",
            "object": "response",
            "status": status,
            "output": output,
            **members,
        }

    def item(
        begun: dict[str, Any], name: str, pieces: tuple[str, ...], **done: Any
    ) -> Iterator[bytes]:
        at = {"output_index": len(output), "item_id": begun["id"]}
        yield event("response.output_item.added", output_index=len(output), item=begun)
        for piece in pieces:
            yield event(f"response.{name}.delta", **at, delta=piece)
        output.append({**begun, **done, "status": "completed"})
        yield event("response.output_item.done", output_index=len(output) - 1, item=output[-1])

    yield event("response.created", response=response("in_progress"))
    yield event("response.in_progress", response=response("in_progress"))
    if said.reasoning:
        begun = {"id": f"rs_{said.turn}", "type": "reasoning", "summary": []}
        done: dict[str, Any] = {
            "summary": [{"type": "summary_text", "text": "".join(said.reasoning)}]
        }
        if said.signature:
            done["encrypted_content"] = said.signature
        yield from item(begun, "reasoning_summary_text", said.reasoning, **done)
    if said.text:
        begun = {"id": f"msg_{said.turn}", "type": "message", "role": "assistant", "content": []}
        content = [{"type": "output_text", "text": "".join(said.text), "annotations": []}]
        yield from item(begun, "output_text", said.text, content=content)
    for n, call in enumerate(said.calls):
        named = {"call_id": call.id, "name": call.name}
        begun = {"id": f"fc_{said.turn}_{n}", "type": "function_call", **named, "arguments": ""}
        whole = "".join(call.arguments) or "{}"
        yield from item(begun, "function_call_arguments", call.arguments, arguments=whole)
    end: dict[str, Any] = {}
    if said.finish in ("length", "content_filter"):
        reason = "max_output_tokens" if said.finish == "length" else said.finish
        end["incomplete_details"] = {"reason": reason}
    if said.usage is not None:
        end["usage"] = {
            "input_tokens": said.usage.input_tokens,
            "input_tokens_details": {"cached_tokens": said.usage.cached_tokens},
            "output_tokens": said.usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": said.usage.reasoning_tokens},
            "total_tokens": said.usage.input_tokens + said.usage.output_tokens,
        }
    status = "incomplete" if "incomplete_details" in end else "completed"
    yield event(f"response.{status}", response=response(status, **end))


def anthropic_answer(said: Said) -> Iterator[bytes]:
    """Give the frames of a service of Anthropic's format."""
    usage: dict[str, Any] = {}
    if said.usage is not None:
        cached = said.usage.cached_tokens
        usage = {
            "input_tokens": said.usage.input_tokens - cached,
            "cache_read_input_tokens": cached,
        }
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if said.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in said.reasoning]
        if said.signature:
            deltas.append({"type": "signature_delta", "signature": said.signature})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    if said.redacted:
        blocks.append(({"type": "redacted_thinking", "data": said.redacted}, []))
    if said.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in said.text]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for call in said.calls:
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in call.arguments]
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        blocks.append((block, deltas))
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage}
    yield _sse({"type": "message_start", "message": message}, "message_start")
    yield _sse({"type": "ping"}, "ping")
    for n, (block, deltas) in enumerate(blocks):
        name = "content_block_start"
        yield _sse({"type": name, "index": n, "content_block": block}, name)
        name = "content_block_delta"
        for delta in deltas:
            yield _sse({"type": name, "index": n, "delta": delta}, name)
        yield _sse({"type": "content_block_stop", "index": n}, "content_block_stop")
    reason = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    }[said.finish]
    told: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": reason}}
    if said.usage is not None:
        details = {"thinking_tokens": said.usage.reasoning_tokens}
        told["usage"] = {
            "output_tokens": said.usage.output_tokens,
            "output_tokens_details": details,
        }
    yield _sse(told, "message_delta")
    yield _sse({"type": "message_stop"}, "message_stop")


def ollama_answer(said: Said) -> Iterator[bytes]:
    """Give the lines of a service of Ollama's format."""

    def line(content: str, done: bool = False, **more: Any) -> bytes:
        end = more.pop("end", {})
        message = {"role": "assistant", "content": content, **more}
        document = {"model": "m", "created_at": "2030-01-01T00:00:00Z", "message": message}
        return json.dumps({**document, "done": done, **end}).encode() + b"\n"

    for piece in said.reasoning:
        yield line("", thinking=piece)
    for piece in said.text:
        yield line(piece)
    for call in said.calls:
        function = {"name": call.name, "arguments": call.parsed}
        id = {"id": call.id} if call.id else {}  # older versions have none
        yield line("", tool_calls=[{**id, "function": function}])
    end: dict[str, Any] = {"done_reason": "length" if said.finish == "length" else "stop"}
    if said.usage is not None:
        end["prompt_eval_count"] = said.usage.input_tokens
        end["eval_count"] = said.usage.output_tokens
    yield line("", done=True, end=end)


def berlin_answer(said: Said) -> Iterator[bytes]:
    """Give the lines of the service behind a login."""
    for piece in said.text:
        yield json.dumps({"content": piece}).encode() + b"\n"
    end: dict[str, Any] = {"content": "", "finish_reason": said.finish}
    if said.usage is not None:
        end["usage"] = {
            "input_tokens": said.usage.input_tokens,
            "output_tokens": said.usage.output_tokens,
        }
    yield json.dumps(end).encode() + b"\n"


WRITERS = {
    "openai": openai_answer,
    "responses": responses_answer,
    "anthropic": anthropic_answer,
    "ollama": ollama_answer,
}


@dataclass
class Upstream:
    """A provider that gives one answer, with what it was asked."""

    service: Service
    asked: list[Any]
    headers: list[dict[str, str]]


@asynccontextmanager
async def upstream(name: str, said: Said) -> AsyncIterator[Upstream]:
    """Give the service `s` with the model `m1`, over a real service of that name.

    Args:
        name: `guide`, `scripted`, `openai`, `responses`, `anthropic`, `ollama` or
            `berlin`.
        said: what it answers.
    """
    match name:
        case "guide":
            yield Upstream(Service("s", GuideProvider(), ["m1"]), [], [])
        case "scripted":
            provider = ScriptedProvider(events(said))
            yield Upstream(Service("s", provider, ["m1"]), provider.requests, [])
        case "berlin":
            async with ChatService(berlin_answer(said)) as service:
                berlin = Berlin(service.url, "account", "password", timeout=PATIENT)
                found = Upstream(Service("s", berlin, ["m1"]), [], [])
                yield found
                found.asked += [request.json for request in service.chats]
                found.headers += [dict(request.headers) for request in service.chats]
        case _:
            headers = (NDJSON if name == "ollama" else SSE,)
            async with FaultServer(stream(*WRITERS[name](said), headers=headers)) as server:
                url = f"{server.url}/{token_hex(6)}"
                provider_of = described_provider(url, FORMATS[name])
                found = Upstream(Service("s", provider_of, ["m1"]), [], [])
                yield found
                seen = list({id(request): request for request in server.requests}.values())
                found.asked += [json.loads(request.body) for request in seen]
                found.headers += [request.headers for request in seen]
