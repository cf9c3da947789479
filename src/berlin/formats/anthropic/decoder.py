"""Answers in the format of Anthropic's messages: the events of a stream, and the whole, read."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import ProtocolError
from berlin.formats.decoding import DocumentDecoder
from berlin.types import FinishReason, ReasoningDelta, StreamEvent, TextDelta, Usage
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.status import error_in_answer

STOP_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

ERROR_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that stands for a type of error. The types are the same in a stream and outside."""


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw | UnsetType = UNSET


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct, gc=False):
    """The message with which a stream starts."""

    usage: _Usage | None = None


class _Event(msgspec.Struct, gc=False):
    """An event of a stream, or a whole message."""

    type: str = ""
    index: int | None = None
    delta: _Delta | None = None
    content_block: _Block | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    message: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET


class _Kind(msgspec.Struct, gc=False):
    type: str = ""


_DECODER = msgspec.json.Decoder(_Event)
_DECODE_KIND = msgspec.json.Decoder(_Kind).decode
_DECODE_MESSAGE = msgspec.json.Decoder(_Message).decode

_KNOWN = frozenset(
    {
        *("", "error", "message", "message_start", "message_delta", "message_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    }
)


class AnthropicDecoder(DocumentDecoder):
    """Decodes one answer, streamed or whole; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(), _DECODER, "finish_reason")
        self._counts = _Usage()
        # The blocks of tool calls that are open, each with its input until pieces of it come.
        self._inputs: dict[int | None, str] = {}

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        for event in documents:
            delta = event.delta
            if (
                delta is not None
                and (text := delta.text)
                and delta.type == "text_delta"
                and event.type == "content_block_delta"
                and event.error is UNSET
            ):
                events.append(TextDelta(text))
            elif not self._take(event, events):
                return

    def _take_odd(self, line: bytes) -> bool:
        # New types of events may have members of any form.
        try:
            return _DECODE_KIND(line).type not in _KNOWN
        except DECODE_ERRORS:
            return False

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        event: _Event = document
        if event.type == "error" or _plain(event.error) or not event.type:
            self._fail(event)
            return False
        match event.type:
            case "content_block_delta" if event.delta is not None:
                self._take_delta(event.index, event.delta, events)
            case "content_block_start" if event.content_block is not None:
                self._take_start(event.index, event.content_block, events)
            case "content_block_stop":
                self._take_stop(event.index, events)
            case "message_start" if event.message is not UNSET:
                self._take_usage(_DECODE_MESSAGE(event.message).usage)
            case "message_delta":
                self._take_usage(event.usage)
                self._take_reason(event.delta.stop_reason if event.delta else None)
            case "message":
                self._take_whole(event, events)
            case "message_stop":
                self.done = True
        return not self.done

    def _take_start(self, index: int | None, block: _Block, events: list[StreamEvent]) -> None:
        self._answered = True
        match block.type:
            case "text" if block.text:
                events.append(TextDelta(block.text))
            case "thinking" if block.thinking:
                events.append(ReasoningDelta(block.thinking))
            case "tool_use":
                events.append(self._calls.delta(index, block.id, block.name or "", ""))
                # Most services send `{}` here; some send the whole input, and no piece of it.
                self._inputs[index] = _input_text(block, "")

    def _take_delta(self, index: int | None, delta: _Delta, events: list[StreamEvent]) -> None:
        match delta.type:
            case "text_delta" if delta.text:
                events.append(TextDelta(delta.text))
            case "thinking_delta" if delta.thinking:
                events.append(ReasoningDelta(delta.thinking))
            case "input_json_delta" if delta.partial_json and index in self._inputs:
                self._inputs[index] = ""
                events.append(self._calls.delta(index, None, None, delta.partial_json))

    def _take_stop(self, index: int | None, events: list[StreamEvent]) -> None:
        if text := self._inputs.pop(index, ""):
            events.append(self._calls.delta(index, None, None, text))

    def _take_whole(self, message: _Event, events: list[StreamEvent]) -> None:
        for block in message.content or ():
            if block.type == "tool_use":
                text = _input_text(block, "{}")
                # Each call is whole, so each has an index of its own.
                count = self._calls.count
                events.append(self._calls.delta(count, block.id, block.name or "", text))
            else:
                self._take_start(None, block, events)
        self._take_usage(message.usage)
        self._take_reason(message.stop_reason)
        self.done = True

    def _take_reason(self, reason: str | None) -> None:
        if reason:
            self._reason = STOP_REASONS.get(reason, "stop")

    def _take_usage(self, usage: _Usage | None) -> None:
        """Take counts of the whole answer so far: each replaces the one before."""
        if usage is None:
            return
        counts = self._counts
        for name in usage.__struct_fields__:
            if (count := getattr(usage, name)) is not None:
                setattr(counts, name, count)
        if counts.input_tokens is None and counts.output_tokens is None:
            return
        details = counts.output_tokens_details
        cached = counts.cache_read_input_tokens or 0
        self._usage = Usage(
            (counts.input_tokens or 0) + cached + (counts.cache_creation_input_tokens or 0),
            counts.output_tokens or 0,
            cached_tokens=cached,
            reasoning_tokens=(details.thinking_tokens if details else None) or 0,
        )

    def _fail(self, event: _Event) -> None:
        error, message, code = map(_plain, (event.error, event.message, event.code))
        if error is None and message is None:
            self.failure = ProtocolError("an event has neither a type nor an error")
            return
        if isinstance(error, dict):
            kind = error.get("type")
            known = ERROR_STATUS.get(kind) if isinstance(kind, str) else None
            code = known or error.get("code", code)
            message = error.get("message", message)
            error = error if message is None else None
        self.failure = error_in_answer(_told(error), _told(message), _told(code))


def _input_text(block: _Block, empty: str) -> str:
    """Return the input of a call as JSON text."""
    raw = block.input
    return empty if raw is UNSET or not msgspec.json.decode(raw) else bytes(raw).decode()


def _plain(raw: Raw | UnsetType) -> Any:
    return None if raw is UNSET else msgspec.json.decode(raw)


def _told(value: Any) -> Any:
    return UNSET if value is None else value
