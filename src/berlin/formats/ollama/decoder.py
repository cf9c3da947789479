"""Answers in the format of Ollama's API: lines of JSON, and the whole, read.

`/api/chat` says its text in `message.content`, `/api/generate` in `response`; all else is alike.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import ProtocolError
from berlin.formats.decoding import DocumentDecoder
from berlin.types import FinishReason, ReasoningDelta, StreamEvent, TextDelta, Usage
from berlin.wire.framings import FRAMINGS
from berlin.wire.status import error_in_answer

# `load` and `unload` end an answer in which nothing was asked.
DONE_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct, gc=False):
    name: str
    arguments: Raw | UnsetType = UNSET


class _Call(msgspec.Struct, gc=False):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | str | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_Line)


class OllamaDecoder(DocumentDecoder):
    """Decodes one answer, streamed or whole, of a chat or of generate; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["ndjson"].framer(), _DECODER, "finish_reason")

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        for line in documents:
            message = line.message
            if (
                message.__class__ is _Message
                and (text := message.content)
                and not line.done
                and line.error is UNSET
                and not message.thinking
                and message.tool_calls is None
            ):
                events.append(TextDelta(text))
            elif not self._take(line, events):
                return

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        line: _Line = document
        error = _plain(line.error)
        if error or isinstance(line.message, str):
            self._fail(error or UNSET, line)
            return False
        if line.message is not None:
            self._take_message(line.message, events)
        elif line.response is not None:
            said = _Message(line.response, line.thinking, line.tool_calls)
            self._take_message(said, events)
        elif not line.done:
            self.failure = ProtocolError("a line has neither a message nor an error")
            return False
        if not line.done:
            return True
        self._reason = DONE_REASONS.get(line.done_reason or "", "stop")
        if line.prompt_eval_count is not None or line.eval_count is not None:
            # A count of zero is left out by this API.
            self._usage = Usage(line.prompt_eval_count or 0, line.eval_count or 0)
        self.done = True
        return False

    def _take_message(self, message: _Message, events: list[StreamEvent]) -> None:
        if message.thinking:
            events.append(ReasoningDelta(message.thinking))
        if message.content:
            events.append(TextDelta(message.content))
        for call in message.tool_calls or ():
            name, arguments = call.function.name, _read_arguments(call.function.arguments)
            # Each call is whole, so each has an index of its own.
            events.append(self._calls.delta(self._calls.count, call.id, name, arguments))

    def _fail(self, error: Any, line: _Line) -> None:
        code = UNSET if line.code is UNSET else _plain(line.code)
        message: Any = line.message if isinstance(line.message, str) else UNSET
        if isinstance(error, dict):
            message, code = error.get("message", message), error.get("code", code)
            error = error if message is UNSET else UNSET
        self.failure = error_in_answer(error, message, code)


def _plain(raw: Raw | UnsetType) -> Any:
    return None if raw is UNSET else msgspec.json.decode(raw)


def _read_arguments(raw: Raw | UnsetType) -> str:
    """Return the arguments of a call as JSON text."""
    match _plain(raw):
        case None:
            return "{}"
        case str(text):
            return text or "{}"
        case dict() if raw is not UNSET:
            return bytes(raw).decode()
    raise msgspec.ValidationError("the arguments of a tool call are no object")
