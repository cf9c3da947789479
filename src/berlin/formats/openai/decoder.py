"""Answers in the format of OpenAI's chat completions: chunks, and the whole, read."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import ProtocolError, ServiceUnavailableError
from berlin.formats.decoding import DocumentDecoder
from berlin.formats.openai.encoder import DONE
from berlin.types import FinishReason, ReasoningDelta, StreamEvent, TextDelta, Usage
from berlin.wire.framings import FRAMINGS
from berlin.wire.status import error_in_answer

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


# What ends an answer that is not whole, at OpenRouter and DeepSeek.
BROKEN_OFF = frozenset({"error", "insufficient_system_resource"})


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(msgspec.Struct, gc=False):
    """A part of content that some services send in place of text."""

    type: str = ""
    text: str | None = None
    thinking: list[_Part] | str | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Cached(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Reasoned(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Cached | None = None
    completion_tokens_details: _Reasoned | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | UnsetType | None = UNSET
    usage: _Usage | None = None
    error: Raw | UnsetType = UNSET
    message: Raw | UnsetType = UNSET
    detail: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Chunk)


class OpenAIDecoder(DocumentDecoder):
    """Decodes one answer, streamed or whole; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(DONE), _DECODER, "finish_reason")

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        for chunk in documents:
            choices = chunk.choices
            if (
                choices
                and len(choices) == 1
                and (delta := choices[0].delta) is not None
                and (text := delta.content).__class__ is str
                and text
                and choices[0].finish_reason is None
                and chunk.usage is None
                and chunk.error is UNSET
                and delta.tool_calls is None
                and delta.reasoning_content is None
                and delta.reasoning is None
                and delta.refusal is None
                and choices[0].index == 0
            ):
                events.append(TextDelta(text))
            elif not self._take(chunk, events):
                return

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        chunk: _Chunk = document
        if chunk.error is not UNSET and (error := msgspec.json.decode(chunk.error)):
            self._fail(error, chunk)
            return False
        if chunk.usage is not None:
            self._usage = _read_usage(chunk.usage)
        if chunk.choices is UNSET:
            if chunk.usage is None:
                self._fail(UNSET, chunk)
                return False
            return True
        for choice in chunk.choices or ():
            if choice.index != 0:
                continue
            delta = choice.delta or choice.message
            if delta is not None:
                self._take_delta(delta, events)
            reason = choice.finish_reason
            if reason in BROKEN_OFF:
                self.failure = ServiceUnavailableError(f"the answer was broken off: {reason}")
                return False
            if reason:
                self._reason = FINISH_REASONS.get(reason, "stop")
        return True

    def _take_delta(self, delta: _Delta, events: list[StreamEvent]) -> None:
        reasoning = delta.reasoning_content or delta.reasoning
        if reasoning:
            events.append(ReasoningDelta(reasoning))
        if isinstance(delta.content, list):
            for part in delta.content:
                _take_part(part, events)
        elif delta.content:
            events.append(TextDelta(delta.content))
        elif delta.content == "":
            self._answered = True
        if delta.refusal:
            events.append(TextDelta(delta.refusal))
        for call in delta.tool_calls or ():
            function = call.function or _Function()
            arguments = function.arguments
            if isinstance(arguments, dict):
                arguments = msgspec.json.encode(arguments).decode()
            events.append(self._calls.delta(call.index, call.id, function.name, arguments))

    def _fail(self, error: Any, chunk: _Chunk) -> None:
        message, code = _plain(chunk.message), _plain(chunk.code)
        if message is UNSET:
            message = _plain(chunk.detail)
        if error is UNSET and message is UNSET:
            self.failure = ProtocolError("a chunk has neither choices nor an error")
            return
        if isinstance(error, dict):
            message = error.get("message", message)
            code = error.get("code", code)
            error = error if message is UNSET else UNSET
        self.failure = error_in_answer(error, message, code)


def _take_part(part: _Part, events: list[StreamEvent]) -> None:
    if isinstance(part.thinking, str) and part.thinking:
        events.append(ReasoningDelta(part.thinking))
    elif isinstance(part.thinking, list):
        events.extend(ReasoningDelta(piece.text) for piece in part.thinking if piece.text)
    elif part.text:
        events.append(TextDelta(part.text))


def _plain(raw: Raw | UnsetType) -> Any:
    value = UNSET if raw is UNSET else msgspec.json.decode(raw)
    return UNSET if value is None else value


def _read_usage(usage: _Usage) -> Usage:
    cached, reasoned = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        usage.prompt_tokens or 0,
        usage.completion_tokens or 0,
        cached_tokens=(cached.cached_tokens if cached else None) or 0,
        reasoning_tokens=(reasoned.reasoning_tokens if reasoned else None) or 0,
    )
