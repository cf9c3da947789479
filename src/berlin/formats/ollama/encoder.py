"""Writes answers in the format of Ollama's API: lines of JSON, and whole ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Protocol

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall
from berlin.formats.encoding import EventEncoder
from berlin.formats.ollama.table import DIALECT
from berlin.formats.tokens import TokenCount, usage_of
from berlin.formats.tool_calls import arguments_object
from berlin.types import (
    ChatResponse,
    ExtraDelta,
    Finished,
    FinishReason,
    MaybeExtra,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    extra_of,
)
from berlin.wire.json import encode_line


class Shape(Protocol):
    """The place of the model's output in a line."""

    def __call__(self, text: str, **more: Any) -> dict[str, Any]:
        """Return the members of a line for a text and what goes with it."""
        ...


def chat_shape(text: str, **more: Any) -> dict[str, Any]:
    """Return the members of a line of `/api/chat`."""
    return {"message": {"role": "assistant", "content": text, **more}}


def generate_shape(text: str, **more: Any) -> dict[str, Any]:
    """Return the members of a line of `/api/generate`."""
    return {"response": text, **more}


class OllamaEncoder(EventEncoder):
    """Writes one answer as lines; see `EventEncoder`.

    Tool calls are written whole, in one line before the last one: this API has no pieces of them.

    Args:
        shape: the place of the model's output in a line.
    """

    def __init__(self, call: ClientCall, shape: Shape) -> None:
        self._shape = shape
        self._model = call.request.model
        self._count = TokenCount(call.request)
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._made_at = time.perf_counter_ns()
        self._first_at = 0
        # Dialect-specific members: for the next line, its message, and the last line.
        self._next: dict[str, Any] = {}
        self._said: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the lines of one event."""
        self._first_at = self._first_at or time.perf_counter_ns()
        return super().encode_event(event)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the line that ends an answer with an error."""
        return encode_error(error) + b"\n"

    def keep_alive(self) -> bytes:
        """Return a line without text."""
        return self._line(self._shape(""))

    def _piece(self, text: str, **more: Any) -> bytes:
        if self._said:
            more |= self._said
            self._said = {}
        members = self._shape(text, **more)
        if self._next:
            members |= self._next
            self._next = {}
        return self._line(members)

    def _encode_text(self, event: TextDelta) -> bytes:
        self._count.add(event.text)
        return self._piece(event.text)

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        self._count.add(event.text)
        return self._piece("", thinking=event.text)

    def _encode_extra(self, event: ExtraDelta) -> bytes:
        place = {"answer": self._last, "choice": self._next}.get(event.at, self._said)
        if place is self._last:
            self._count.hold(event)
        place.update(extra_of(event.extra, DIALECT))
        return b""

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        self._count.hold(event)
        self._calls.setdefault(event.index, []).append(event)
        return b""

    def _encode_end(self, event: Finished) -> bytes:
        calls = b""
        if self._calls:
            whole = [_write_call(_joined(calls)) for _, calls in sorted(self._calls.items())]
            calls = self._piece("", tool_calls=whole)
        elif self._said or self._next:
            calls = self._piece("")
        now = time.perf_counter_ns()
        end = {
            **self._shape(""),
            **end_of(event.reason, event.stop_sequence, event.extra),
            "total_duration": now - self._made_at,
            "load_duration": 0,
            "prompt_eval_duration": self._first_at - self._made_at,
            # Clients divide by it.
            "eval_duration": max(now - self._first_at, 1),
            **write_usage(self._count.usage),
            **self._last,
        }
        return calls + self._line(end, done=True)

    def _line(self, members: dict[str, Any], *, done: bool = False) -> bytes:
        head = {"model": self._model, "created_at": now_rfc3339()}
        return encode_line({**head, **members, "done": done}) + b"\n"


def encode_response(call: ClientCall, response: ChatResponse, shape: Shape) -> bytes:
    """Return the whole answer to a call. Its durations are not measured."""
    more: dict[str, Any] = {}
    if response.reasoning:
        more["thinking"] = response.reasoning
    if response.tool_calls:
        more["tool_calls"] = [_write_call(part) for part in response.tool_calls]
    more |= extra_of(response.message_extra, DIALECT)
    return encode_line(
        {
            "model": call.request.model,
            "created_at": now_rfc3339(),
            **shape(response.text, **more),
            "done": True,
            **end_of(response.finish_reason, response.stop_sequence, response.finish_extra),
            **write_usage(usage_of(call.request, response)),
            **extra_of(response.choice_extra, DIALECT),
            **extra_of(response.extra, DIALECT),
        }
    )


def encode_error(error: BerlinError) -> bytes:
    """Return the object that reports an error."""
    return encode_line({"error": error.message})


def end_of(reason: FinishReason, stop_sequence: str | None, extra: MaybeExtra) -> dict[str, Any]:
    """Return the members of the end; tool calls end an answer as `stop` does."""
    fields: dict[str, Any] = {"done_reason": "stop" if reason == "tool_calls" else reason}
    if stop_sequence is not None:
        fields["stop_sequence"] = stop_sequence
    return {**fields, **extra_of(extra, DIALECT)}


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the members that tell how many tokens an answer took."""
    fields: dict[str, Any] = {
        "prompt_eval_count": usage.input_tokens,
        "eval_count": usage.output_tokens,
    }
    if usage.estimated:
        fields["estimated"] = True
    return fields


def now_rfc3339() -> str:
    """Return the time as RFC 3339 writes it, in UTC."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _joined(events: list[ToolCallDelta]) -> ToolCallPart:
    first = events[0]
    arguments = "".join([event.arguments for event in events])
    return ToolCallPart(first.id, first.name, arguments, first.extra)


def _write_call(call: ToolCallPart) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments_object(call.arguments)}
    extra = dict(extra_of(call.extra, DIALECT))
    function |= extra.pop("function", {})
    return {**({"id": call.id} if call.id else {}), "function": function, **extra}
