"""Writes answers in the format of Anthropic's messages: the events of a stream, and whole ones."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias, assert_never

import msgspec
from msgspec import Raw

from berlin.errors import BerlinError, ContextLengthError, RewrittenError
from berlin.formats.anthropic.table import DIALECT
from berlin.formats.contract import ClientCall
from berlin.formats.tokens import TokenCount
from berlin.types import (
    ChatResponse,
    ExtraDelta,
    Finished,
    FinishReason,
    MaybeExtra,
    OpaquePart,
    Part,
    ReasoningDelta,
    ReasoningPart,
    Started,
    StreamEvent,
    TextDelta,
    TextPart,
    TextReplaced,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageReport,
    extra_of,
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
"""The words by which clients of this format know that they must shorten their conversation."""

# Members of the end of an answer that are beside `delta` in a stream.
_BESIDE = frozenset({"context_management"})

_Piece: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | ExtraDelta


class AnthropicEncoder:
    """Writes one answer as events; see `EventEncoder`.

    One block is open at a time. Events of another block during an incomplete tool call are held
    back until the end, since nothing else says that the call is complete.
    """

    def __init__(self, call: ClientCall) -> None:
        self._model = call.request.model
        self._count = TokenCount(call.request)
        self._begun = False
        self._index = -1  # of the last opened block
        self._open: int | str | None = None  # the kind of the open block, or the call in it
        self._before = b""
        self._arguments: list[str] = []  # of the open call
        self._calls: set[int] = set()
        self._held: list[_Piece] = []
        self._answer_extra: dict[str, Any] = {}
        self._block_extra: Mapping[str, Any] = {}

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the frames of one event; with the first, the one that starts the message."""
        if isinstance(event, Started):
            return b""
        if isinstance(event, ExtraDelta) and event.at in ("answer", "choice", "message"):
            self._answer_extra.update(extra_of(event.extra, DIALECT))
            return b""
        return self._start() + self._encode(event)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frame that ends an answer with an error."""
        return b"event: error\ndata: %b\n\n" % encode_error(error)

    def keep_alive(self) -> bytes:
        """Return a ping, which this format has once the message has started."""
        return self._start() + _frame("ping")

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        usage = Usage(self._count.input_tokens)
        message = {**_message(self._model, [], None, usage), **self._answer_extra}
        self._answer_extra = {}
        return _frame("message_start", message=message)

    def _encode(
        self,
        event: TextDelta
        | TextReplaced
        | ReasoningDelta
        | ToolCallDelta
        | ExtraDelta
        | UsageReport
        | Finished,
    ) -> bytes:
        match event:
            case TextDelta() | ReasoningDelta():
                self._count.add(event.text)
                return self._place(event)
            case TextReplaced():
                raise RewrittenError.of_stream()
            case ToolCallDelta():
                self._count.add(event.arguments)
                return self._place(event)
            case ExtraDelta():
                return self._place(event) if event.extra.dialect == DIALECT else b""
            case UsageReport():
                self._count.report(event.usage)
                return b""
            case Finished():
                return self._encode_end(event)
            case _:
                assert_never(event)

    def _place(self, event: _Piece) -> bytes:
        """Return the frames of a piece, or hold it back."""
        if (self._held or not self._may_close()) and _block_of(event) != self._open:
            self._held.append(event)
            return b""
        return self._write(event)

    def _write(self, event: _Piece) -> bytes:
        if isinstance(event, ExtraDelta):
            return self._write_extra(event)
        key, head = _block_of(event), b""
        if key != self._open:
            if key in self._calls:
                return b""  # nothing can follow complete arguments
            head = self._close() + self._open_block(event)
        if isinstance(event, ToolCallDelta):
            if not event.arguments:
                return head
            self._arguments.append(event.arguments)
            piece = event.arguments
        else:
            piece = event.text
        return b"%b%b%b}}\n\n" % (head, self._before, encode_line(piece))

    def _write_extra(self, event: ExtraDelta) -> bytes:
        members = event.extra.members
        if event.at == "part":
            return self._close() + self._write_block(members)
        key, piece = _block_of(event), TextDelta("")
        head = b""
        if event.opens:
            head, self._block_extra = self._close(), _start_of(members)
            if members.keys() <= self._block_extra.keys():
                return head
        if self._open != key:
            opened = piece if event.at == "text" else ReasoningDelta("")
            head += self._close() + self._open_block(opened)
        return head + b"".join(
            _frame("content_block_delta", index=self._index, delta=delta)
            for delta in _deltas_of(members)
        )

    def _write_block(self, block: Mapping[str, Any]) -> bytes:
        """Return the frames of a block that only this dialect knows."""
        self._index += 1
        given, frames = block.get("input"), []
        started = {**block, "input": {}} if isinstance(given, dict) else block
        frames.append(_frame("content_block_start", index=self._index, content_block=started))
        if isinstance(given, dict) and given:
            piece = {"type": "input_json_delta", "partial_json": encode_line(given).decode()}
            frames.append(_frame("content_block_delta", index=self._index, delta=piece))
        frames.append(_frame("content_block_stop", index=self._index))
        return b"".join(frames)

    def _open_block(self, event: TextDelta | ReasoningDelta | ToolCallDelta) -> bytes:
        self._index += 1
        self._open, self._arguments = _block_of(event), []
        match event:
            case TextDelta():
                block, kind = {"type": "text", "text": ""}, b'text_delta","text'
            case ReasoningDelta():
                block, kind = thinking_block(""), b'thinking_delta","thinking'
            case ToolCallDelta():
                self._calls.add(event.index)
                block = call_block(event.id, event.name, "", event.extra)
                kind = b'input_json_delta","partial_json'
        if not isinstance(event, ToolCallDelta):
            block, self._block_extra = {**block, **self._block_extra}, {}
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
        frames = [self._write(piece) for piece in held]
        self._held = []
        frames.append(self._close())
        fields = end_of(event.reason, event.stop_sequence, event.extra, calls=bool(self._calls))
        beside = {name: fields.pop(name) for name in _BESIDE & fields.keys()}
        frames.append(
            _frame(
                "message_delta",
                delta=fields,
                usage=write_usage(self._count.usage),
                **beside,
                **self._answer_extra,
            )
        )
        frames.append(_frame("message_stop"))
        return b"".join(frames)


def encode_response(call: ClientCall, response: ChatResponse) -> bytes:
    """Return the whole answer to a call."""
    count = TokenCount(call.request)
    count.add(response.text + response.reasoning)
    count.add("".join(part.arguments for part in response.tool_calls))
    count.report(response.usage)
    blocks = [block for part in response.parts if (block := _block(part))]
    if not blocks:
        blocks.append({"type": "text", "text": ""})
    fields = end_of(
        response.finish_reason,
        response.stop_sequence,
        response.finish_extra,
        calls=bool(response.tool_calls),
    )
    message = _message(call.request.model, blocks, None, count.usage)
    return encode_line({**message, **fields, **extra_of(response.extra, DIALECT)})


def _block(part: Part) -> dict[str, Any]:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text, **extra_of(part.extra, DIALECT)}
        case ReasoningPart():
            return {**thinking_block(part.text), **extra_of(part.extra, DIALECT)}
        case ToolCallPart():
            return call_block(part.id, part.name, part.arguments, part.extra)
        case OpaquePart():
            return dict(extra_of(part.extra, DIALECT))
        case _:
            return {}


def encode_error(error: BerlinError) -> bytes:
    """Return the object that reports an error."""
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


def call_block(id: str, name: str, arguments: str, extra: MaybeExtra = None) -> dict[str, Any]:
    """Return the block of a tool call.

    This API has no text for the arguments: anything but a JSON object becomes `{"arguments": "…"}`,
    so that the client that runs the tool sees what the model wrote.
    """
    text = arguments.strip() or "{}"
    parsed = Raw(text.encode()) if is_object(text) else {"arguments": arguments}
    block = {"type": "tool_use", "id": id, "name": name, "input": parsed}
    return {**block, **extra_of(extra, DIALECT)}


def is_object(text: str) -> bool:
    """Whether a text is a complete JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except DECODE_ERRORS:
        return False


def end_of(
    reason: FinishReason, stop_sequence: str | None, extra: MaybeExtra, *, calls: bool
) -> dict[str, Any]:
    """Return the members of the end: with tool calls, a client must not read `end_turn`."""
    word = "tool_use" if calls and reason == "stop" else STOP_REASONS[reason]
    if stop_sequence is not None and word == "end_turn":
        word = "stop_sequence"
    fields = {"stop_reason": word, "stop_sequence": stop_sequence}
    return {**fields, **extra_of(extra, DIALECT)}


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the object that reports the tokens of an answer."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    fields: dict[str, Any] = {
        "input_tokens": max(usage.input_tokens - cached - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        fields["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.estimated:
        fields["estimated"] = True
    return {**fields, **extra_of(usage.extra, DIALECT)}


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


def _block_of(event: _Piece) -> int | str:
    match event:
        case TextDelta():
            return "text"
        case ReasoningDelta():
            return "thinking"
        case ToolCallDelta():
            return event.index
        case ExtraDelta():
            return {"text": "text", "reasoning": "thinking"}.get(event.at, "part")


# What has its own deltas; everything else is in a block's start.
_IN_DELTAS = frozenset({"signature", "citations"})


def _start_of(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in _IN_DELTAS}


def _deltas_of(members: Mapping[str, Any]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    if signature := members.get("signature"):
        deltas.append({"type": "signature_delta", "signature": signature})
    citations = members.get("citations")
    given = citations if isinstance(citations, list) else []
    return [*deltas, *({"type": "citations_delta", "citation": one} for one in given)]
