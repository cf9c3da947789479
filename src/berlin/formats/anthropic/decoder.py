"""Reads answers in the format of Anthropic's messages: the events of a stream, and whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.formats.anthropic.answer import STOP_REASONS
from berlin.formats.anthropic.table import DIALECT
from berlin.formats.decoding import KEY, DialectDecoder
from berlin.formats.finish import finish_reason_of
from berlin.formats.loose import as_count, as_id, as_index, as_object, as_text, others
from berlin.formats.tool_calls import is_object
from berlin.types import (
    Extra,
    ExtraDelta,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Usage,
    make_extra,
)
from berlin.types.usage import half_without
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import encode_value
from berlin.wire.status import error_of_object


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: _Delta | None = None
    error: str | None = None


_FAST = msgspec.json.Decoder(_Event)

_MESSAGE = frozenset(
    {
        *("type", "role", "model", "content", "usage", "stop_reason", "stop_sequence"),
        *("error", "code"),
    }
)
_EVENT = frozenset({"type", "delta", "usage"})
_STOP = frozenset({"stop_reason", "stop_sequence", "type"})
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_PARTS = {"text": "text", "thinking": "reasoning"}


class AnthropicDecoder(DialectDecoder):
    """Decodes one answer, streamed or whole; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(), _FAST)
        self._counts: dict[str, Any] = {}
        # The open tool call blocks, each with its initial input until pieces arrive.
        self._inputs: dict[int | None, str] = {}
        # Dialect-specific blocks until they are complete, with the pieces of their input.
        self._opaque: dict[int | None, tuple[dict[str, Any], list[str]]] = {}
        self._last_kind = ""

    def _take_fast(
        self, documents: list[bytes], decoded: list[Any], events: list[StreamEvent]
    ) -> None:
        plain = self._plain
        for document, event in zip(documents, decoded, strict=True):
            delta = event.delta
            if (
                delta is not None
                and (text := delta.text)
                and delta.type == "text_delta"
                and document.count(KEY) in plain
                and event.type == "content_block_delta"
                and event.error is None
            ):
                events.append(TextDelta(text))
            elif not self._look_at(document, events):
                return

    def _take_object(self, document: dict[str, Any], events: list[StreamEvent]) -> bool:
        kind = document.get("type") or _kind_of(document)
        if kind == "error" or document.get("error"):
            self._fail(document)
            return False
        if not document:
            return True  # the data of a ping
        if not isinstance(kind, str) or not kind:
            self._fail(document)
            return False
        index = as_index(document.get("index"))
        match kind:
            case "content_block_delta":
                return self._take_delta(index, as_object(document.get("delta")), events)
            case "content_block_start":
                self._take_start(index, as_object(document.get("content_block")), events)
            case "content_block_stop":
                self._take_stop(index, events)
            case "message_start":
                self._take_message(as_object(document.get("message")))
            case "message_delta":
                self._take_end(document)
            case "message":
                self._take_whole(document, events)
            case "message_stop":
                self.done = True
        return not self.done and self.failure is None

    def _take_message(self, message: Mapping[str, Any]) -> None:
        """Take the members of a message besides its content."""
        self._take_usage(message.get("usage"))
        more = others(message, _MESSAGE)
        if not isinstance(more.get("id"), str) or not more["id"]:
            more.pop("id", None)
        if more:
            self._early.append(ExtraDelta(Extra(DIALECT, more), "answer"))

    def _take_start(
        self, index: int | None, block: Mapping[str, Any], events: list[StreamEvent]
    ) -> None:
        self._answered = True
        kind = as_text(block.get("type"))
        match kind:
            case "text" | "thinking":
                self._open(kind, block, events)
            case "tool_use":
                extra = make_extra(DIALECT, others(block, _USE))
                id, name = as_id(block.get("id")), as_text(block.get("name"))
                self._calls.add(events, index, id, name, "", extra)
                self._calls.flush(events)
                # Most services send `{}` here; some send the whole input, and no piece of it.
                self._inputs[index] = _input_text(block, "")
            case _ if kind:
                self._opaque[index] = (dict(block), [])
        self._last_kind = kind

    def _open(self, kind: str, block: Mapping[str, Any], events: list[StreamEvent]) -> None:
        more = {
            n: v for n, v in block.items() if n not in ("type", kind) and v not in (None, "", [])
        }
        if kind == "thinking":
            # Services without signatures want their thinking back as well: `""` is theirs too.
            more.setdefault("signature", "")
        if more or self._last_kind == kind:
            at: Any = _PARTS[kind]
            events.append(ExtraDelta(Extra(DIALECT, more), at, opens=True))
        if text := as_text(block.get(kind)):
            events.append(TextDelta(text) if kind == "text" else ReasoningDelta(text))

    def _take_delta(
        self, index: int | None, delta: Mapping[str, Any], events: list[StreamEvent]
    ) -> bool:
        if "type" not in delta:
            delta = {"type": next((k for n, k in _DELTAS.items() if n in delta), ""), **delta}
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                if text:
                    events.append(TextDelta(text))
            case {"type": "text_delta", "text": value} if value is not None:
                kind = type(value).__name__
                self.failure = ProtocolError(f"the text of a piece is not text but {kind}")
                return False
            case {"type": "thinking_delta", "thinking": str(text)} if text:
                events.append(ReasoningDelta(text))
            case {"type": "signature_delta", "signature": str(signature)} if signature:
                events.append(ExtraDelta(Extra(DIALECT, {"signature": signature}), "reasoning"))
            case {"type": "citations_delta", "citation": citation}:
                events.append(ExtraDelta(Extra(DIALECT, {"citations": [citation]}), "text"))
            case {"type": "input_json_delta", "partial_json": str() | dict() as given} if given:
                text = given if isinstance(given, str) else encode_value(given).decode()
                if index in self._inputs:
                    self._inputs[index] = ""
                    self._calls.add(events, index, "", "", text)
                elif index in self._opaque:
                    self._opaque[index][1].append(text)
            case _ if index in self._opaque:
                self._add_to(self._opaque[index][0], delta)
        return True

    def _add_to(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        for name, value in delta.items():
            if name != "type":
                known = block.get(name)
                joined = isinstance(known, str) and isinstance(value, str)
                block[name] = known + value if joined else value

    def _take_stop(self, index: int | None, events: list[StreamEvent]) -> None:
        if text := self._inputs.pop(index, ""):
            self._calls.add(events, index, "", "", text)
        if (open_ := self._opaque.pop(index, None)) is not None:
            block, pieces = open_
            if pieces:
                text = "".join(pieces)
                block["input"] = msgspec.json.decode(text) if is_object(text) else text
            events.append(ExtraDelta(Extra(DIALECT, block), "part"))

    def _end(self, events: list[StreamEvent]) -> None:
        for index in list(self._inputs):  # of blocks that were never closed
            self._take_stop(index, events)
        super()._end(events)

    def _take_whole(self, message: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._take_message(message)
        content = message.get("content")
        if isinstance(content, str) and content:
            events.append(TextDelta(content))
        for block in content if isinstance(content, list) else ():
            fields = as_object(block)
            if fields.get("type") == "tool_use":
                id, name = as_id(fields.get("id")), as_text(fields.get("name"))
                extra = make_extra(DIALECT, others(fields, _USE))
                self._calls.add_whole(events, id, name, _input_text(fields, "{}"), extra)
                self._last_kind = "tool_use"
            else:
                self._take_start(None, fields, events)
                self._take_stop(None, events)
        self._take_stop_reason(message)
        self.done = True

    def _take_end(self, event: Mapping[str, Any]) -> None:
        self._take_usage(event.get("usage"))
        delta = as_object(event.get("delta"))
        self._take_stop_reason(delta)
        if more := others(event, _EVENT) | others(delta, _STOP):
            known = self._finish_extra.members if self._finish_extra else {}
            self._finish_extra = Extra(DIALECT, {**known, **more})

    def _take_stop_reason(self, fields: Mapping[str, Any]) -> None:
        word = as_text(fields.get("stop_reason"))
        if not word:
            return
        self._reason = finish_reason_of(word)
        self._stop_sequence = as_text(fields.get("stop_sequence")) or None
        if STOP_REASONS[self._reason] != word and word != "stop_sequence":
            self._finish_extra = Extra(DIALECT, {"stop_reason": word})

    def _take_usage(self, usage: Any) -> None:
        """Take cumulative counts of the answer: each replaces the one before."""
        counts = self._counts
        for name, value in as_object(usage).items():
            if value is not None and (name not in _COUNTS or as_count(value) is not None):
                counts[name] = value
        asked, answered, cached, written = (as_count(counts.get(name)) for name in _COUNTS)
        if asked is None and answered is None:
            return
        details = as_object(counts.get("output_tokens_details"))
        self._usage = Usage(
            (asked or 0) + (cached or 0) + (written or 0),
            answered or 0,
            cached_tokens=cached,
            reasoning_tokens=as_count(details.get("thinking_tokens")),
            cache_write_tokens=written,
            extra=make_extra(DIALECT, {n: v for n, v in counts.items() if n not in _COUNTS}),
            lacks=half_without(asked, answered),
        )

    def _fail(self, document: Mapping[str, Any]) -> None:
        if any(document.get(name) for name in ("error", "message", "detail", "msg")):
            self.failure = error_of_object(document)
        else:
            self.failure = ProtocolError("an event has neither a type nor an error")


_DELTAS = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "partial_json": "input_json_delta",
    "signature": "signature_delta",
}


def _kind_of(document: Mapping[str, Any]) -> Any:
    """Return the type of an event that only says it in its name, which is not in its data."""
    match document:
        case {"delta": {"stop_reason": _}}:
            return "message_delta"
        case {"delta": dict()}:
            return "content_block_delta"
        case {"content_block": dict()}:
            return "content_block_start"
        case {"message": dict(), **rest} if not rest:
            return "message_start"
        case {"role": "assistant", "content": list()}:
            return "message"
    return None


_USE = frozenset({"type", "id", "name", "input"})


def _input_text(block: Mapping[str, Any], empty: str) -> str:
    """Return the input of a call as JSON text."""
    given = block.get("input")
    if isinstance(given, str):
        return given or empty
    return encode_value(given).decode() if given else empty
