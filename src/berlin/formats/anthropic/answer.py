"""Writes whole answers in the format of Anthropic's messages, and what streams share with them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from berlin.errors import BerlinError, ContextLengthError, ServiceUnavailableError
from berlin.formats.anthropic.table import DIALECT
from berlin.formats.contract import ClientCall
from berlin.formats.opaque import is_state, opaque_of_call, seal
from berlin.formats.tokens import usage_of
from berlin.formats.tool_calls import arguments_object
from berlin.types import (
    ChatResponse,
    FinishReason,
    MaybeExtra,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    Usage,
    extra_of,
)
from berlin.wire.json import encode_line

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

_BUSY = (503, 529)

TOO_LONG = "prompt is too long"
"""The words by which clients of this format know that they must shorten their conversation."""


def encode_response(call: ClientCall, response: ChatResponse) -> bytes:
    """Return the whole answer to a call."""
    blocks = [block for part in response.parts for block in _blocks(part)]
    if not blocks:
        blocks.append({"type": "text", "text": ""})
    members = end_of(
        response.finish_reason,
        response.stop_sequence,
        response.finish_extra,
        calls=bool(response.tool_calls),
    )
    message = message_of(call.request.model, blocks, None, usage_of(call.request, response))
    return encode_line({**message, **members, **extra_of(response.extra, DIALECT)})


def _blocks(part: Part) -> Iterator[dict[str, Any]]:
    match part:
        case TextPart():
            yield {"type": "text", "text": part.text, **extra_of(part.extra, DIALECT)}
        case ReasoningPart():
            if own := extra_of(part.extra, DIALECT):
                yield {**thinking_block(part.text), **own}
            elif part.text:
                # Some clients send only signed thinking back.
                yield {**thinking_block(part.text), "signature": seal(part.extra)}
            elif is_state(part.extra):
                yield {"type": "redacted_thinking", "data": seal(part.extra)}
        case ToolCallPart():
            if (state := opaque_of_call(part.extra, DIALECT)) is not None:
                yield {"type": "redacted_thinking", "data": seal(calls={part.id: state})}
            yield call_block(part.id, part.name, part.arguments, part.extra)
        case OpaquePart() if part.extra.dialect == DIALECT:
            yield dict(part.extra.members)
        case _:
            pass


def encode_error(error: BerlinError) -> bytes:
    """Return the object that tells of an error."""
    message = error.message
    if isinstance(error, ContextLengthError) and TOO_LONG not in message:
        message = f"{TOO_LONG}: {message}"
    # By this type clients know that the same request may pass later.
    is_busy = isinstance(error, ServiceUnavailableError) and error.status in _BUSY
    kind = ERROR_TYPES.get(
        529 if is_busy else error.http_status,
        "invalid_request_error" if error.http_status < 500 else "api_error",
    )
    return encode_line({"type": "error", "error": {"type": kind, "message": message}})


def thinking_block(text: str) -> dict[str, Any]:
    """Return the block of a piece of reasoning. Only Anthropic can sign one."""
    return {"type": "thinking", "thinking": text, "signature": ""}


def call_block(id: str, name: str, arguments: str, extra: MaybeExtra = None) -> dict[str, Any]:
    """Return the block of a tool call."""
    parsed = arguments_object(arguments)
    block = {"type": "tool_use", "id": id, "name": name, "input": parsed}
    return {**block, **extra_of(extra, DIALECT)}


def end_of(
    reason: FinishReason, stop_sequence: str | None, extra: MaybeExtra, *, calls: bool
) -> dict[str, Any]:
    """Return the members of the end: with tool calls, a client must not read `end_turn`."""
    word = "tool_use" if calls and reason == "stop" else STOP_REASONS[reason]
    if stop_sequence is not None and word == "end_turn":
        word = "stop_sequence"
    members = {"stop_reason": word, "stop_sequence": stop_sequence}
    return {**members, **extra_of(extra, DIALECT)}


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the object that tells how many tokens an answer took."""
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    members: dict[str, Any] = {
        "input_tokens": max(usage.input_tokens - cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens is not None:
        members["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.estimated:
        members["estimated"] = True
    return {**members, **extra_of(usage.extra, DIALECT)}


def message_of(
    model: str, content: list[dict[str, Any]], reason: str | None, usage: Usage
) -> dict[str, Any]:
    """Return a message; a stream begins with an empty one."""
    return {
        "id": f"msg_{secrets.token_hex(16)}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": write_usage(usage),
    }
