"""Answers in the format of Anthropic's messages: the events of a stream, and the whole, written."""

from __future__ import annotations

import uuid
from typing import Any, assert_never

import msgspec
from msgspec import Raw

from berlin.errors import BerlinError, ContextLengthError
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
from berlin.wire.json import DECODE_ERRORS, encode_line

STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

TOO_LONG = "prompt is too long"
"""The words by which clients of this format know that they have to cut their conversation."""


class AnthropicEncoder:
    """Writes one answer as events; see `EventEncoder`.

    One block is open at a time. What belongs to another block while a tool call is not whole yet
    is held back: until the end, since nothing else tells that no piece of the call will come.
    """

    def __init__(self, call: ClientCall) -> None:
        self._model = call.request.model
        self._count = TokenCount(call.request)
        self._begun = False
        self._index = -1  # of the block that was opened last
        self._open: int | str | None = None  # the kind of the open block, or the call in it
        self._before = b""
        self._arguments: list[str] = []  # of the open call
        self._calls: set[int] = set()
        self._held: list[TextDelta | ReasoningDelta | ToolCallDelta] = []

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the frames of one event; with the first, the one that starts the message."""
        return self._start() + self._encode(event)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frame that ends an answer with an error."""
        return b"event: error\ndata: %b\n\n" % encode_error(error)

    def keep_alive(self) -> bytes:
        """Return a ping, which this format has from the message's start on."""
        return self._start() + _frame("ping")

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        usage = Usage(self._count.input_tokens)
        return _frame("message_start", message=_message(self._model, [], None, usage))

    def _encode(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta() | ReasoningDelta():
                self._count.add(event.text)
                return self._place(event)
            case ToolCallDelta():
                self._count.add(event.arguments)
                return self._place(event)
            case UsageReport():
                self._count.report(event.usage)
                return b""
            case Finished():
                return self._encode_end(event)
            case Started() | ExtraDelta():
                return b""
            case _:
                assert_never(event)

    def _place(self, event: TextDelta | ReasoningDelta | ToolCallDelta) -> bytes:
        """Return the frames of a piece, or hold it back."""
        key = _block_of(event)
        if key != self._open and (self._held or not self._may_close()):
            self._held.append(event)
            return b""
        return self._write(key, event)

    def _write(self, key: int | str, event: TextDelta | ReasoningDelta | ToolCallDelta) -> bytes:
        head = b""
        if key != self._open:
            if key in self._calls:
                return b""  # behind the object that its arguments are, there can be no more
            head = self._close() + self._open_block(key, event)
        if isinstance(event, ToolCallDelta):
            if not event.arguments:
                return head
            self._arguments.append(event.arguments)
            piece = event.arguments
        else:
            piece = event.text
        return b"%b%b%b}}\n\n" % (head, self._before, encode_line(piece))

    def _open_block(
        self, key: int | str, event: TextDelta | ReasoningDelta | ToolCallDelta
    ) -> bytes:
        self._index += 1
        self._open, self._arguments = key, []
        match event:
            case TextDelta():
                block, kind = {"type": "text", "text": ""}, b'text_delta","text'
            case ReasoningDelta():
                block, kind = thinking_block(""), b'thinking_delta","thinking'
            case ToolCallDelta():
                self._calls.add(event.index)
                block = call_block(event.id, event.name, "")
                kind = b'input_json_delta","partial_json'
        self._before = (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"%b":'
            % (self._index, kind)
        )
        return _frame("content_block_start", index=self._index, content_block=block)

    def _may_close(self) -> bool:
        return not isinstance(self._open, int) or is_object("".join(self._arguments))

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _frame("content_block_stop", index=self._index)

    def _encode_end(self, event: Finished) -> bytes:
        # The sort is stable: texts in their order, then the calls one after the other.
        held = sorted(self._held, key=lambda e: e.index if isinstance(e, ToolCallDelta) else -1)
        frames = [self._write(_block_of(piece), piece) for piece in held]
        self._held = []
        frames.append(self._close())
        told = {
            "stop_reason": stop_reason(event.reason, calls=bool(self._calls)),
            "stop_sequence": None,
        }
        frames.append(_frame("message_delta", delta=told, usage=write_usage(self._count.usage)))
        frames.append(_frame("message_stop"))
        return b"".join(frames)


def encode_response(call: ClientCall, response: ChatResponse) -> bytes:
    """Return the whole answer to a call."""
    count = TokenCount(call.request)
    count.add(response.text + response.reasoning)
    count.add("".join(part.arguments for part in response.tool_calls))
    count.report(response.usage)
    blocks = [thinking_block(response.reasoning)] if response.reasoning else []
    if response.text or not response.tool_calls:
        blocks.append({"type": "text", "text": response.text})
    blocks += [call_block(part.id, part.name, part.arguments) for part in response.tool_calls]
    reason = stop_reason(response.finish_reason, calls=bool(response.tool_calls))
    return encode_line(_message(call.request.model, blocks, reason, count.usage))


def encode_error(error: BerlinError) -> bytes:
    """Return the object that tells of an error."""
    message = error.message
    if isinstance(error, ContextLengthError) and TOO_LONG not in message:
        message = f"{TOO_LONG}: {message}"
    kind = ERROR_TYPES.get(
        error.http_status, "invalid_request_error" if error.http_status < 500 else "api_error"
    )
    return encode_line({"type": "error", "error": {"type": kind, "message": message}})


def thinking_block(text: str) -> dict[str, Any]:
    """Return the block of a piece of reasoning. Only Anthropic can sign one."""
    return {"type": "thinking", "thinking": text, "signature": ""}


def call_block(id: str, name: str, arguments: str) -> dict[str, Any]:
    """Return the block of a tool call.

    This API has no text for the arguments: what is no JSON object stands as
    `{"arguments": "…"}`, so that whoever runs the tool sees what the model wrote.
    """
    text = arguments.strip() or "{}"
    parsed = Raw(text.encode()) if is_object(text) else {"arguments": arguments}
    return {"type": "tool_use", "id": id, "name": name, "input": parsed}


def is_object(text: str) -> bool:
    """Whether a text is a JSON object, and a whole one."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except DECODE_ERRORS:
        return False


def stop_reason(reason: FinishReason, *, calls: bool) -> str:
    """Return the word for a finish reason: who waits for tool calls must not read `end_turn`."""
    return "tool_use" if calls and reason == "stop" else STOP_REASONS[reason]


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the object that tells what an answer has cost."""
    told: dict[str, Any] = {
        "input_tokens": max(usage.input_tokens - usage.cached_tokens, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.estimated:
        told["estimated"] = True
    return told


def _message(
    model: str, content: list[dict[str, Any]], reason: str | None, usage: Usage
) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": write_usage(usage),
    }


def _frame(name: str, **members: Any) -> bytes:
    data = encode_line({"type": name, **members})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _block_of(event: TextDelta | ReasoningDelta | ToolCallDelta) -> int | str:
    match event:
        case TextDelta():
            return "text"
        case ReasoningDelta():
            return "thinking"
        case ToolCallDelta():
            return event.index
