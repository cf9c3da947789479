"""Answers in the format of OpenAI's chat completions: chunks, and the whole."""

from __future__ import annotations

import time
import uuid
from typing import Any, assert_never

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import BerlinError, ProtocolError, ServiceUnavailableError
from berlin.formats.contract import ClientCall
from berlin.formats.decoding import DocumentDecoder
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
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import encode_line, encode_value, escape_line_ends
from berlin.wire.status import error_in_answer

DONE = b"[DONE]"

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
