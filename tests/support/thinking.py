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

from support.playing import playing

CITIES = ("Paris", "Rome")
TURNS = 3
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
        read, write = DIALECTS[self.dialect]
        history = read(body)
        turn = sum(kind == "result" for kind, _ in history) // len(CITIES)
        self.turns.append(turn)
        if fault := self._differs(history, turn):
            self.faults.append(fault)
            return web.json_response({"error": {"message": fault}}, status=400)
        documents = write(turn, bool(body.get("stream", self.dialect == "ollama")))
        if isinstance(documents, dict):
            return web.json_response(documents)
        is_lines = self.dialect == "ollama"
        kind = "application/x-ndjson" if is_lines else "text/event-stream"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for document in documents:
            data = json.dumps(document)
            name = f"event: {document['type']}\n" if "type" in document else ""
            framed = f"{data}\n" if is_lines else f"{name}data: {data}\n\n"
            await response.write(framed.encode())
        if self.dialect == "openai":
            await response.write(b"data: [DONE]\n\n")
        return response

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


def _write_openai(turn: int, stream: bool) -> Any:
    calls = []
    for n, city in enumerate(CITIES):
        function = {"name": "weather", "arguments": json.dumps({"city": city})}
        calls.append({"id": call_id(turn, city), "type": "function", "function": function})
        if n == 0:  # as Gemini signs: the first of parallel calls
            calls[0]["extra_content"] = {"google": {"thought_signature": f"sig-{turn}"}}
    is_last = turn == TURNS
    finish = "stop" if is_last else "tool_calls"
    if not stream:
        message: dict[str, Any] = {"role": "assistant", "content": LAST if is_last else None}
        if not is_last:
            message |= {"reasoning_content": thought(turn), "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion", "choices": [choice]}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if is_last:
        deltas += [{"content": LAST[:5]}, {"content": LAST[5:]}]
    else:
        half = thought(turn)
        deltas += [{"reasoning_content": half[:6]}, {"reasoning_content": half[6:]}]
        deltas += [{"tool_calls": [{"index": n, **call}]} for n, call in enumerate(calls)]

    def chunks() -> Iterator[dict[str, Any]]:
        for delta in deltas:
            yield _chunk(delta, None)
        yield _chunk({}, finish)

    return chunks()


def _chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice]}


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


def _write_anthropic(turn: int, stream: bool) -> Any:
    is_last = turn == TURNS
    blocks: list[dict[str, Any]] = [{"type": "text", "text": LAST}]
    if not is_last:
        signed = {"type": "thinking", "thinking": thought(turn), "signature": f"sig-{turn}"}
        blocks = [signed, {"type": "redacted_thinking", "data": f"redacted-{turn}"}]
        for city in CITIES:
            use = {"type": "tool_use", "id": call_id(turn, city), "name": "weather"}
            blocks.append({**use, "input": {"city": city}})
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    usage = {"input_tokens": 5, "output_tokens": 7}
    end = {"stop_reason": "end_turn" if is_last else "tool_use", "stop_sequence": None}
    if not stream:
        return {**head, "content": blocks, **end, "usage": usage}

    def events() -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": {**head, "content": [], "usage": usage}}
        for n, block in enumerate(blocks):
            start, deltas = _opened(block)
            yield {"type": "content_block_start", "index": n, "content_block": start}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": n, "delta": delta}
            yield {"type": "content_block_stop", "index": n}
        yield {"type": "message_delta", "delta": end, "usage": usage}
        yield {"type": "message_stop"}

    return events()


def _opened(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"][:6]},
                {"type": "thinking_delta", "thinking": block["thinking"][6:]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
            return {"type": "thinking", "thinking": "", "signature": ""}, deltas
        case "text":
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case "tool_use":
            given = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            return {**block, "input": {}}, [given]
    return block, []


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


def _write_ollama(turn: int, stream: bool) -> Any:
    def line(done: bool = False, **message: Any) -> dict[str, Any]:
        told = {"role": "assistant", "content": "", **message}
        end = {"done_reason": "stop", "prompt_eval_count": 5, "eval_count": 7} if done else {}
        head = {"model": "m", "created_at": "2030-01-01T00:00:00Z"}
        return {**head, "message": told, "done": done, **end}

    calls = [{"function": {"name": "weather", "arguments": {"city": city}}} for city in CITIES]
    if turn == TURNS:
        lines = [line(content=LAST[:5]), line(content=LAST[5:]), line(done=True)]
        return iter(lines) if stream else line(done=True, content=LAST)
    if not stream:
        return line(done=True, thinking=thought(turn), tool_calls=calls)
    half = thought(turn)
    pieces = [line(thinking=half[:6]), line(thinking=half[6:])]
    return iter([*pieces, *(line(tool_calls=[call]) for call in calls), line(done=True)])


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


def _write_responses(turn: int, stream: bool) -> Any:
    # Every id is new, as those of the real service: clients join messages by their ids.
    is_last = turn == TURNS
    part = {"type": "output_text", "text": LAST, "annotations": []}
    message = {"type": "message", "id": f"msg_{turn}", "role": "assistant", "status": "completed"}
    output: list[dict[str, Any]] = [{**message, "content": [part]}]
    if not is_last:
        summary = [{"type": "summary_text", "text": thought(turn)}]
        reasoning = {"type": "reasoning", "id": f"rs_{turn}", "summary": summary}
        output = [{**reasoning, "encrypted_content": f"sig-{turn}"}]
        for n, city in enumerate(CITIES):
            call = {"type": "function_call", "id": f"fc_{turn}_{n}", "call_id": call_id(turn, city)}
            arguments = json.dumps({"city": city})
            done = {"name": "weather", "arguments": arguments, "status": "completed"}
            output.append({**call, **done})
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    head = {"id": f"resp_{turn}", "object": "response", "model": "m", "usage": usage}
    whole = {**head, "status": "completed", "output": output}
    if not stream:
        return whole

    def events() -> Iterator[dict[str, Any]]:
        started = {**head, "status": "in_progress", "output": []}
        yield {"type": "response.created", "response": started}
        for n, item in enumerate(output):
            at = {"output_index": n, "item_id": item["id"]}
            yield {"type": "response.output_item.added", "output_index": n, "item": _begun(item)}
            match item["type"]:
                case "reasoning":
                    name, text = "reasoning_summary_text", thought(turn)
                    at["summary_index"] = 0
                case "message":
                    name, text = "output_text", LAST
                    at["content_index"] = 0
                case _:
                    name, text = "function_call_arguments", item["arguments"]
            for piece in (text[:5], text[5:]):
                yield {"type": f"response.{name}.delta", **at, "delta": piece}
            yield {"type": "response.output_item.done", "output_index": n, "item": item}
        yield {"type": "response.completed", "response": whole}

    return events()


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    empty = {"summary": [], "content": [], "arguments": "", "status": "in_progress"}
    kept = {name: empty.get(name, value) for name, value in item.items()}
    kept.pop("encrypted_content", None)
    return kept


Reader = Callable[[dict[str, Any]], list[tuple[str, Any]]]
Writer = Callable[[int, bool], Any]
DIALECTS: dict[str, tuple[Reader, Writer]] = {
    "openai": (_read_openai, _write_openai),
    "anthropic": (_read_anthropic, _write_anthropic),
    "ollama": (_read_ollama, _write_ollama),
    "responses": (_read_responses, _write_responses),
}


@asynccontextmanager
async def thinking_service(service: Thinking) -> AsyncIterator[str]:
    """Serve it on a free port, and give its base URL."""
    async with playing(service.answer) as url:
        yield f"{url}/v1"
