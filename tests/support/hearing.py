"""Answers of the gateway, as strict clients of each face read them.

They are read by what the formats say of themselves, apart from Berlin's own code: what is odd
fails.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from berlin.types import Usage
from support.answers import Said
from support.gateway import Dialect
from support.responses import check_resource, read_stream


@dataclass(frozen=True)
class Heard:
    """What a client has read; `usage` is `None` where it is marked as a guess, or missing."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[tuple[str, str, Any], ...] = ()
    finish: str = "stop"
    usage: Usage | None = None

    @classmethod
    def of(cls, said: Said) -> Heard:
        """Return what was said, as a client has it that loses nothing."""
        calls = tuple((call.id, call.name, call.parsed) for call in said.calls)
        text, reasoning = "".join(said.text), "".join(said.reasoning)
        return cls(text, reasoning, calls, said.finish, said.usage)


def heard(dialect: Dialect, data: bytes) -> Heard:
    """Return what a client reads of a streamed answer. It is strict: what is odd, fails."""
    documents = dialect.documents(data)
    match dialect.face:
        case "openai":
            assert data.endswith(b"data: [DONE]\n\n")
            return _hear_chunks(documents)
        case "responses":
            return _hear_response(read_stream(data).response)
        case "anthropic":
            return _hear_events(documents)
        case "ollama":
            return _hear_lines(documents)
        case _:
            usage = documents[-1].get("usage")
            return Heard(
                "".join(document["content"] for document in documents),
                finish=documents[-1]["finish_reason"],
                usage=Usage(**usage, cached_tokens=0, reasoning_tokens=0) if usage else None,
            )


def heard_whole(dialect: Dialect, document: dict[str, Any]) -> Heard:
    """Return what a client reads of an answer in one piece."""
    match dialect.face:
        case "openai":
            choice = document["choices"][0]
            message = choice["message"]
            return Heard(
                message["content"] or "",
                message.get("reasoning_content", ""),
                tuple(
                    (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"]))
                    for c in message.get("tool_calls", ())
                ),
                choice["finish_reason"],
                _openai_usage(document["usage"]),
            )
        case "responses":
            check_resource(document)
            return _hear_response(document)
        case "anthropic":
            blocks = document["content"]
            return Heard(
                "".join(b["text"] for b in blocks if b["type"] == "text"),
                "".join(b["thinking"] for b in blocks if b["type"] == "thinking"),
                tuple((b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"),
                document["stop_reason"],
                _anthropic_usage(document["usage"]),
            )
        case _:
            return _hear_lines([document])


def _hear_response(response: dict[str, Any]) -> Heard:
    output = response["output"]
    text, reasoning, calls = "", "", []
    for item in output:
        match item["type"]:
            case "message":
                text += "".join(part["text"] for part in item["content"])
            case "reasoning":
                reasoning += "".join(part["text"] for part in item["summary"])
            case "function_call":
                calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
            case other:
                raise AssertionError(other)
    why = (response["incomplete_details"] or {}).get("reason", "stop")
    counted = response["usage"]
    usage = None
    if not counted.get("estimated"):
        usage = Usage(
            counted["input_tokens"],
            counted["output_tokens"],
            cached_tokens=counted["input_tokens_details"]["cached_tokens"],
            reasoning_tokens=counted["output_tokens_details"]["reasoning_tokens"],
        )
    return Heard(text, reasoning, tuple(calls), why, usage)


def _hear_chunks(chunks: list[dict[str, Any]]) -> Heard:
    found, reasons = Heard(), []
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if not chunk["choices"]:
            found = replace(found, usage=_openai_usage(chunk["usage"]))
            continue
        [choice] = chunk["choices"]
        delta = choice["delta"]
        assert not reasons, "nothing comes after the finish reason"
        reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
        found = replace(
            found,
            text=found.text + (delta.get("content") or ""),
            reasoning=found.reasoning + (delta.get("reasoning_content") or ""),
        )
        for call in delta.get("tool_calls", ()):
            if call["index"] not in calls:
                assert call["index"] == len(calls)
                calls[call["index"]] = [call["id"], call["function"]["name"], ""]
            calls[call["index"]][2] += call["function"]["arguments"]
    whole = tuple((id, name, json.loads(arguments)) for id, name, arguments in calls.values())
    return replace(found, calls=whole, finish=reasons[0])


def _hear_events(documents: list[dict[str, Any]]) -> Heard:
    blocks: list[dict[str, Any]] = []
    pieces: list[str] = []
    open_block = False
    start, *middle, told, stop = [d for d in documents if d["type"] != "ping"]
    assert (start["type"], told["type"], stop["type"]) == (
        "message_start",
        "message_delta",
        "message_stop",
    )
    assert start["message"]["content"] == []
    for document in middle:
        match document["type"]:
            case "content_block_start":
                assert not open_block
                assert document["index"] == len(blocks)
                blocks.append(document["content_block"])
                pieces.append("")
                open_block = True
            case "content_block_delta":
                assert open_block
                assert document["index"] == len(blocks) - 1
                delta = document["delta"]
                kind = blocks[-1]["type"]
                if (kind, delta["type"]) == ("thinking", "signature_delta"):
                    continue
                name = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}[kind]
                assert delta["type"] == {"partial_json": "input_json_delta"}.get(
                    name, f"{name}_delta"
                )
                pieces[-1] += delta[name]
            case "content_block_stop":
                assert open_block
                assert document["index"] == len(blocks) - 1
                open_block = False
            case other:
                raise AssertionError(other)
    assert not open_block
    said = list(zip(blocks, pieces, strict=True))
    return Heard(
        "".join(text for block, text in said if block["type"] == "text"),
        "".join(text for block, text in said if block["type"] == "thinking"),
        tuple(
            (block["id"], block["name"], json.loads(text or "{}"))
            for block, text in said
            if block["type"] == "tool_use"
        ),
        told["delta"]["stop_reason"],
        _anthropic_usage(told["usage"]),
    )


def _hear_lines(lines: list[dict[str, Any]]) -> Heard:
    found = Heard()
    for line in lines:
        message = line.get("message") or {**line, "content": line.get("response", "")}
        calls = tuple(
            (c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in message.get("tool_calls", ())
        )
        found = replace(
            found,
            text=found.text + message["content"],
            reasoning=found.reasoning + message.get("thinking", ""),
            calls=found.calls + calls,
        )
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    end = lines[-1]
    usage = (
        None
        if end.get("estimated")
        else Usage(end["prompt_eval_count"], end["eval_count"], False, 0, 0)
    )
    return replace(found, finish=end["done_reason"], usage=usage)


def _openai_usage(usage: dict[str, Any]) -> Usage | None:
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["total_tokens"] == total
    if usage.get("estimated"):
        return None
    return Usage(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        reasoning_tokens=usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0),
    )


def _anthropic_usage(usage: dict[str, Any]) -> Usage | None:
    if usage.get("estimated"):
        return None
    cached = usage["cache_read_input_tokens"]
    return Usage(
        usage["input_tokens"] + cached,
        usage["output_tokens"],
        cached_tokens=cached,
        reasoning_tokens=usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )
