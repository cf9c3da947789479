"""Answers in the format of OpenAI's chat completions: chunks, and the whole, written."""

from __future__ import annotations

import time
import uuid
from typing import Any, assert_never

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall
from berlin.formats.tokens import TokenCount
from berlin.types import (
    ChatResponse,
    ExtraDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from berlin.wire.json import encode_line, encode_value, escape_line_ends

DONE = b"[DONE]"


class OpenAIEncoder:
    """Writes one answer as chunks; see `EventEncoder`."""

    def __init__(self, call: ClientCall) -> None:
        self._include_usage = call.include_usage
        self._count = TokenCount(call.request)
        self._head = encode_line(
            {
                "id": new_id(),
                "object": "chat.completion.chunk",
                "created": int(time.time()),
                "model": call.request.model,
            }
        )[:-1]
        self._before = b'data: %b,"choices":[{"index":0,"delta":{"content":' % self._head
        self._begun = False
        self._opened: set[int] = set()
        self._with_arguments: set[int] = set()

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the chunk of one event; with the first, the one that names the role."""
        if not self._begun:
            return self.keep_alive() + self.encode_event(event)
        match event:
            case TextDelta():
                # It is called for each piece of text, so it calls nothing that it can do itself.
                self._count.chars += len(event.text)
                text = encode_value(event.text)
                if not text.isascii():
                    text = escape_line_ends(text)
                return b'%b%b},"finish_reason":null}]}\n\n' % (self._before, text)
            case ReasoningDelta():
                self._count.add(event.text)
                return self._chunk({"reasoning_content": event.text})
            case ToolCallDelta():
                return self._encode_call(event)
            case UsageReport():
                self._count.report(event.usage)
                return b""
            case Finished():
                return self._encode_end(event)
            case Started() | ExtraDelta():
                return b""
            case _:
                assert_never(event)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frame that ends an answer with an error."""
        return b"data: %b\n\n" % encode_error(error)

    def keep_alive(self) -> bytes:
        """Return a chunk without anything in it. Comments break several clients."""
        if not self._begun:
            self._begun = True
            return self._chunk({"role": "assistant", "content": ""})
        return self._chunk({})

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        self._count.add(event.arguments)
        head = b""
        if event.index not in self._opened:
            self._opened.add(event.index)
            function = {"name": event.name, "arguments": ""}
            call = {"index": event.index, "id": event.id, "type": "function", "function": function}
            head = self._chunk({"tool_calls": [call]})
        if not event.arguments:
            return head
        self._with_arguments.add(event.index)
        piece = {"index": event.index, "function": {"arguments": event.arguments}}
        return head + self._chunk({"tool_calls": [piece]})

    def _encode_end(self, event: Finished) -> bytes:
        parts = [
            # Arguments are JSON, also where there are none.
            self._chunk({"tool_calls": [{"index": index, "function": {"arguments": "{}"}}]})
            for index in sorted(self._opened - self._with_arguments)
        ]
        parts.append(self._chunk({}, finish_reason(event.reason, calls=bool(self._opened))))
        if self._include_usage:
            usage = encode_line(write_usage(self._count.usage))
            parts.append(b'data: %b,"choices":[],"usage":%b}\n\n' % (self._head, usage))
        parts.append(b"data: %b\n\n" % DONE)
        return b"".join(parts)

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return b'data: %b,"choices":[%b]}\n\n' % (self._head, encode_line(choice))


def encode_response(call: ClientCall, response: ChatResponse) -> bytes:
    """Return the whole answer to a call."""
    count = TokenCount(call.request)
    count.add(response.text + response.reasoning)
    message: dict[str, Any] = {"role": "assistant", "content": response.text or None}
    if response.reasoning:
        message["reasoning_content"] = response.reasoning
    if response.tool_calls:
        message["tool_calls"] = [
            {
                "id": part.id,
                "type": "function",
                "function": {"name": part.name, "arguments": part.arguments},
            }
            for part in response.tool_calls
        ]
        count.add("".join(part.arguments for part in response.tool_calls))
    else:
        message["content"] = response.text
    count.report(response.usage)
    reason = finish_reason(response.finish_reason, calls=bool(response.tool_calls))
    return encode_line(
        {
            "id": new_id(),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": call.request.model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            ],
            "usage": write_usage(count.usage),
        }
    )


def encode_error(error: BerlinError) -> bytes:
    """Return the object that tells of an error."""
    status = error.http_status
    kind = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }.get(status, "invalid_request_error" if status < 500 else "api_error")
    param = getattr(error, "param", None)
    told = {"message": error.message, "type": kind, "param": param, "code": error.code}
    return encode_line({"error": told})


def new_id() -> str:
    """Return an id for an answer."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def finish_reason(reason: FinishReason, *, calls: bool) -> str:
    """Return the word for a finish reason: who waits for tool calls must not read `stop`."""
    return "tool_calls" if calls and reason == "stop" else reason


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the object that tells what an answer has cost."""
    told: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.estimated:
        told["estimated"] = True
    return told
