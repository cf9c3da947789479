"""Writes answers in OpenAI's chat completions format: chunks of a stream, and whole ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from random import getrandbits
from typing import Any

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall
from berlin.formats.encoding import EventEncoder
from berlin.formats.opaque import TurnState, sealed_state
from berlin.formats.openai.functions import is_older
from berlin.formats.openai.table import DIALECT, DONE, ONCE, REASONING
from berlin.formats.tokens import TokenCount, usage_of
from berlin.types import (
    ChatResponse,
    ExtraDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningPart,
    StreamEvent,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    extra_of,
    merge_extra,
)
from berlin.wire.json import encode_line, encode_value, escape_line_ends

_START = (
    b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)


class OpenAIEncoder(EventEncoder):
    """Writes one answer as chunks; see `EventEncoder`."""

    def __init__(self, call: ClientCall) -> None:
        self._include_usage = call.include_usage
        self._is_older = is_older(call.request.tools)
        self._count = TokenCount(call.request)
        self._begun = False
        self._calls: dict[int, bool] = {}  # by index: whether its arguments have begun
        self._text_member = "content"
        self._refused = False  # here, that is said in the message and not in the finish reason
        self._state = TurnState(DIALECT)
        # Dialect-specific members for the next chunk, by place.
        self._extras: dict[str, dict[str, Any]] = {}
        self._set_head(
            {
                "id": new_id(),
                "object": "chat.completion.chunk",
                "created": int(time.time()),
                "model": call.request.model,
            }
        )

    def _set_head(self, members: dict[str, Any]) -> None:
        self._members = members
        self._head = encode_line(members)[:-1]
        self._before = b'data: %b,"choices":[{"index":0,"delta":{"content":' % self._head

    def encode_burst(self, burst: Sequence[StreamEvent]) -> bytes:
        """Return the chunks of events; with the first, the one that names the role."""
        parts: list[bytes] = []
        for event in burst:
            # Nearly all are pieces of text, so calls are inlined.
            if type(event) is TextDelta and not self._extras and self._text_member == "content":
                if not self._begun:
                    parts.append(self._start())
                self._count.chars += len(event.text)
                text = encode_value(event.text)
                parts.append(b'%b%b},"finish_reason":null}]}\n\n' % (self._before, text))
            else:
                parts.append(self.encode_event(event))
        data = b"".join(parts)
        return data if data.isascii() else escape_line_ends(data)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frame that ends an answer with an error."""
        return b"data: %b\n\n" % encode_error(error)

    def keep_alive(self) -> bytes:
        """Return an empty chunk. Comments break several clients."""
        return self._start() or self._write({}, None, {}, {})

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return b"data: %b%b" % (self._head, _START)

    def _encode_text(self, event: TextDelta) -> bytes:
        self._count.add(event.text)
        return self._start() + self._chunk({self._text_member: event.text})

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        self._count.hold(event)
        self._state.think(event.text)
        return self._start() + self._chunk({REASONING[0]: event.text})

    def _encode_extra(self, event: ExtraDelta) -> bytes:
        """Keep members for the next chunk, if they came with one."""
        if self._state.take(event):
            self._count.hold(event)
        members = extra_of(event.extra, DIALECT)
        if event.at == "text" and (event.opens or "type" in event.extra.members):
            is_refusal = event.extra.members.get("type") == "refusal"
            self._text_member = "refusal" if is_refusal else "content"
            self._refused |= is_refusal
            members = {name: value for name, value in members.items() if name != "type"}
        if event.at == "answer":
            head = {name: value for name, value in members.items() if name in ONCE}
            members = {name: value for name, value in members.items() if name not in ONCE}
            if head:
                self._set_head({**self._members, **head})
        if not members:
            return b""
        place = event.at if event.at in ("answer", "choice") else "message"
        known = self._extras.get(place, {})
        flushed = b"" if known.keys().isdisjoint(members) else self._start() + self._chunk({})
        self._extras.setdefault(place, {}).update(members)
        return flushed

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        self._count.hold(event)
        self._state.call(event)
        head = self._start()
        if self._is_older:
            return head + self._encode_older_call(event)
        extra = extra_of(event.extra, DIALECT)
        if event.index not in self._calls:
            self._calls[event.index] = False
            call: dict[str, Any] = {"index": event.index, "id": event.id, "type": "function"}
            if "type" not in extra:
                call["function"] = {"name": event.name, "arguments": ""}
            head += self._chunk({"tool_calls": [{**call, **extra}]})
        elif extra:
            head += self._chunk({"tool_calls": [{"index": event.index, **extra}]})
        if "type" in extra:
            self._calls[event.index] = True
        if not event.arguments:
            return head
        self._calls[event.index] = True
        piece = {"index": event.index, "function": {"arguments": event.arguments}}
        return head + self._chunk({"tool_calls": [piece]})

    def _encode_older_call(self, event: ToolCallDelta) -> bytes:
        if event.index:
            return b""  # this form has one call in an answer
        piece = {"name": event.name} if event.index not in self._calls else {}
        self._calls[event.index] = self._calls.get(event.index, False) or bool(event.arguments)
        return self._chunk({"function_call": {**piece, "arguments": event.arguments}})

    def _encode_end(self, event: Finished) -> bytes:
        parts = [
            # Arguments are JSON, even if there are none.
            self._encode_call(ToolCallDelta(index, arguments="{}"))
            for index, has_arguments in sorted(self._calls.items())
            if not has_arguments
        ]
        if sealed := self._state.sealed():
            parts.append(self._chunk(_carried(sealed)))
        word = finish_word(event.reason, event.extra, bool(self._calls), older=self._is_older)
        word = "stop" if self._refused and word == "content_filter" else word
        self._extras["choice"] = {**stop_of(event), **self._extras.get("choice", {})}
        parts.append(self._chunk({}, word))
        if self._include_usage:
            usage = encode_line(write_usage(self._count.usage))
            parts.append(b'data: %b,"choices":[],"usage":%b}\n\n' % (self._head, usage))
        parts.append(b"data: %b\n\n" % DONE)
        return b"".join(parts)

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        if not self._extras:
            return self._write(delta, reason, {}, {})
        extras, self._extras = self._extras, {}
        delta = {**delta, **extras.get("message", {})}
        return self._write(delta, reason, extras.get("choice", {}), extras.get("answer", {}))

    def _write(
        self,
        delta: Mapping[str, Any],
        reason: str | None,
        choice: Mapping[str, Any],
        answer: Mapping[str, Any],
    ) -> bytes:
        written = encode_line({"index": 0, "delta": delta, "finish_reason": reason, **choice})
        more = b",%b" % encode_line(answer)[1:-1] if answer else b""
        return b'data: %b%b,"choices":[%b]}\n\n' % (self._head, more, written)


def encode_response(call: ClientCall, response: ChatResponse) -> bytes:
    """Return the whole answer to a call."""
    older = is_older(call.request.tools)
    word = finish_word(
        response.finish_reason, response.finish_extra, bool(response.tool_calls), older=older
    )
    message = _message(response, older=older)
    word = "stop" if message["refusal"] and word == "content_filter" else word
    members = {
        "id": new_id(),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.request.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": word,
                "logprobs": None,
                **stop_of(response),
                **extra_of(response.choice_extra, DIALECT),
            }
        ],
        "usage": write_usage(usage_of(call.request, response)),
    }
    return encode_line({**members, **extra_of(response.extra, DIALECT)})


def _message(response: ChatResponse, *, older: bool) -> dict[str, Any]:
    said: list[str] = []
    refused: list[str] = []
    for part in response.parts:
        if isinstance(part, TextPart):
            is_refusal = part.extra is not None and part.extra.members.get("type") == "refusal"
            (refused if is_refusal else said).append(part.text)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(said) or None,
        "refusal": "".join(refused) or None,
    }
    extras = [part.extra for part in response.parts if isinstance(part, ReasoningPart)]
    if response.reasoning:
        message[REASONING[0]] = response.reasoning
    message |= extra_of(merge_extra(*extras), DIALECT)
    if sealed := sealed_state(response.parts, DIALECT):
        message |= _carried(sealed)
    if response.tool_calls:
        calls = [encode_call(part) for part in response.tool_calls]
        message |= {"function_call": calls[0]["function"]} if older else {"tool_calls": calls}
    elif not refused:
        message["content"] = "".join(said)
    return {**message, **extra_of(response.message_extra, DIALECT)}


def _carried(sealed: str) -> dict[str, Any]:
    """Return the member in which clients of this dialect send back what they cannot read."""
    detail = {"type": "reasoning.encrypted", "data": sealed, "format": "unknown", "index": 0}
    return {"reasoning_details": [detail]}


def encode_call(part: ToolCallPart) -> dict[str, Any]:
    """Return the object of a tool call."""
    extra = extra_of(part.extra, DIALECT)
    call: dict[str, Any] = {"id": part.id, "type": "function"}
    if "type" not in extra:
        call["function"] = {"name": part.name, "arguments": part.arguments}
    return {**call, **extra}


def encode_error(error: BerlinError) -> bytes:
    """Return the object that reports an error."""
    status = error.http_status
    kind = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }.get(status, "invalid_request_error" if status < 500 else "api_error")
    param = getattr(error, "param", None)
    fields = {"message": error.message, "type": kind, "param": param, "code": error.code}
    return encode_line({"error": fields})


def new_id() -> str:
    """Return an id for an answer, not secret."""
    return f"chatcmpl-{getrandbits(128):032x}"


def finish_word(reason: FinishReason, extra: Any, calls: bool, *, older: bool = False) -> str:
    """Return the word for a finish reason: with tool calls, a client must not read `stop`."""
    if calls and reason in ("stop", "tool_calls"):
        return "function_call" if older else "tool_calls"
    return str(extra_of(extra, DIALECT).get("finish_reason", reason))


def stop_of(end: Finished | ChatResponse) -> dict[str, Any]:
    """Return the stop sequence that ended an answer, in vLLM's member for it."""
    return {} if end.stop_sequence is None else {"stop_reason": end.stop_sequence}


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the object that reports the tokens of an answer."""
    fields: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    cache = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if known := {name: count for name, count in cache.items() if count is not None}:
        fields["prompt_tokens_details"] = known
    if usage.reasoning_tokens is not None:
        fields["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.estimated:
        fields["estimated"] = True
    return {**fields, **extra_of(usage.extra, DIALECT)}
