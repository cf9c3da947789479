"""Decodes answers in this dialect: the events of a stream, or one whole response."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import ProtocolError
from berlin.formats.decoding import DocumentDecoder
from berlin.formats.finish import finish_reason_of
from berlin.formats.loose import as_count, as_index, as_object
from berlin.formats.responses.table import DIALECT
from berlin.formats.responses.tools import flat_name
from berlin.types import (
    Extra,
    ExtraDelta,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Usage,
)
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import DECODE_ERRORS, encode_value
from berlin.wire.status import error_in_answer

_TEXT = ("response.output_text.delta", "response.refusal.delta")
_REASONING = (
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.reasoning.delta",
)


class _Event(msgspec.Struct, gc=False):
    """An event of a stream, or a whole response. Secondary members are parsed on demand."""

    type: str = ""
    delta: str | None = None
    output_index: Any = None
    item: Raw | UnsetType = UNSET
    response: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    message: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET
    object: str = ""
    annotation: Raw | UnsetType = UNSET
    summary_index: Any = None
    # Of tools that the service runs itself:
    arguments: Any = None
    partial_image_b64: Any = None
    partial_image_index: Any = None
    # Of a whole response:
    id: Any = None
    status: Any = None
    output: Any = None
    usage: Any = None
    incomplete_details: Any = None


class _Kind(msgspec.Struct, gc=False):
    type: str = ""


_DECODER = msgspec.json.Decoder(_Event)
_DECODE_KIND = msgspec.json.Decoder(_Kind).decode


class _Progress:
    """The state of one item.

    Attributes:
        kind: its type.
        streamed: whether its content arrived in pieces.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.streamed = False


class ResponsesDecoder(DocumentDecoder):
    """Decodes one answer, streamed or whole; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(b"[DONE]"), _DECODER, "finish_reason")
        self._items: dict[int | None, _Progress] = {}

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        for event in documents:
            if event.type == "response.output_text.delta" and event.delta:
                self._note_piece(event, "message")
                events.append(TextDelta(event.delta))
            elif not self._take(event, events):
                return

    def _take_odd(self, line: bytes) -> bool:
        # New types of events may have members of any type.
        try:
            return _DECODE_KIND(line).type not in _KNOWN
        except DECODE_ERRORS:
            return False

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        event: _Event = document
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta" as kind:
                if self._note_piece(event, "message") and kind == "response.refusal.delta":
                    refusal = Extra(DIALECT, {"type": "refusal"})
                    events.append(ExtraDelta(refusal, "text", opens=True))
                events += [TextDelta(event.delta)] if event.delta else []
            case kind if kind in _REASONING:
                self._note_piece(event, "reasoning")
                events += [ReasoningDelta(event.delta)] if event.delta else []
            case "response.reasoning_summary_part.added" if event.summary_index:
                events.append(ReasoningDelta("\n\n"))
            case "response.function_call_arguments.delta":
                self._note_piece(event, "function_call")
                self._calls.add(events, _index(event), "", "", event.delta or "")
            case "response.custom_tool_call_input.delta":
                self._take_input(event, events)
            case "response.output_item.added":
                self._begin_item(event, events)
            case "response.output_item.done":
                self._end_item(event, events)
            case "response.output_text.annotation.added":
                noted = Extra(DIALECT, {"annotations": [_value(event.annotation)]})
                events.append(ExtraDelta(noted, "text"))
            case "response.completed" | "response.incomplete" | "response.failed":
                return self._end_response(_value(event.response))
            case "error":
                self._fail(event)
                return False
            case "":
                return self._take_whole(event, events)
            case _:
                self._pass_hosted(event, events)
        return True

    def _note_piece(self, event: _Event, kind: str) -> bool:
        """Record that an item's content arrives in pieces; return whether this is the first."""
        progress = self._items.get(_index(event))
        if progress is None:
            progress = self._items[_index(event)] = _Progress(kind)
        is_first, progress.streamed = not progress.streamed, True
        return is_first

    def _begin_item(self, event: _Event, events: list[StreamEvent]) -> None:
        item = _object(event.item)
        kind = str(item.get("type") or "")
        self._items[_index(event)] = _Progress(kind)
        match kind:
            case "message" | "reasoning":
                at: Any = "text" if kind == "message" else "reasoning"
                own = Extra(DIALECT, {"item": _head(item)})
                events.append(ExtraDelta(own, at, opens=True))
            case "function_call" | "custom_tool_call":
                self._begin_call(_index(event), item, events)
            case _:
                added = {"type": "response.output_item.added", "item": item}
                events.append(ExtraDelta(Extra(DIALECT, added), "part"))

    def _begin_call(
        self, index: int | None, item: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        name = flat_name(str(item.get("namespace") or ""), str(item.get("name") or ""))
        call_id = str(item.get("call_id") or item.get("id") or "")
        id = item.get("id")
        extra = Extra(DIALECT, {"id": id}) if id else None
        self._calls.add(events, index, call_id, name, "", extra)
        self._calls.flush(events)

    def _take_input(self, event: _Event, events: list[StreamEvent]) -> None:
        """Take text for a custom tool: a piece of its single argument in other dialects."""
        progress = self._items.get(_index(event))
        head = "" if progress is not None and progress.streamed else '{"input":"'
        self._note_piece(event, "custom_tool_call")
        piece = encode_value(event.delta or "").decode()[1:-1]
        self._calls.add(events, _index(event), "", "", head + piece)

    def _end_item(self, event: _Event, events: list[StreamEvent]) -> None:
        item = _object(event.item)
        if _index(event) not in self._items:
            self._begin_item(event, events)
        progress = self._items[_index(event)]
        match progress.kind:
            case "message" if not progress.streamed:
                events += [TextDelta(text) for text in _texts(item.get("content")) if text]
            case "reasoning":
                self._end_reasoning(item, progress, events)
            case "function_call" if not progress.streamed:
                text = item.get("arguments")
                whole = text if isinstance(text, str) else encode_value(text or {}).decode()
                self._calls.add(events, _index(event), "", "", whole)
            case "custom_tool_call":
                text = '"}' if progress.streamed else ""
                text = text or encode_value({"input": str(item.get("input") or "")}).decode()
                self._calls.add(events, _index(event), "", "", text)
            case "message" | "function_call":
                pass
            case _:
                done = {"type": "response.output_item.done", "item": item}
                events.append(ExtraDelta(Extra(DIALECT, done), "part"))

    def _end_reasoning(
        self, item: dict[str, Any], progress: _Progress, events: list[StreamEvent]
    ) -> None:
        if not progress.streamed:
            text = "\n\n".join(_texts(item.get("summary"))) or "".join(_texts(item.get("content")))
            events += [ReasoningDelta(text)] if text else []
        state = {n: item[n] for n in ("content", "encrypted_content") if item.get(n)}
        if state:
            events.append(ExtraDelta(Extra(DIALECT, state), "reasoning"))

    def _pass_hosted(self, event: _Event, events: list[StreamEvent]) -> None:
        """Pass on an event of a tool that the service runs itself."""
        progress = self._items.get(_index(event))
        if _index(event) is None or progress is None or progress.kind in _OURS:
            return
        members = {n: v for n in _OF_HOSTED if (v := getattr(event, n)) is not None}
        if code := _value(event.code):
            members["code"] = code
        events.append(ExtraDelta(Extra(DIALECT, members), "part"))

    def _end_response(self, response: Any) -> bool:
        if not isinstance(response, dict):
            self.failure = ProtocolError("the last event has no response")
            return False
        if response.get("status") == "failed" or response.get("error"):
            self._fail_with(response.get("error"), None, None)
            return False
        self._usage = _read_usage(response.get("usage"))
        details = response.get("incomplete_details")
        why = details.get("reason") if isinstance(details, dict) else None
        cut = response.get("status") == "incomplete"
        self._reason = _cut_reason(str(why or "")) if cut else "stop"
        self._message_id = str(response.get("id") or "")
        self.done = True
        return False

    def _take_whole(self, event: _Event, events: list[StreamEvent]) -> bool:
        """Take a response that arrived in one piece."""
        if event.object != "response":
            self._fail(event)
            return False
        for index, item in enumerate(event.output if isinstance(event.output, list) else ()):
            done = _Event("response.output_item.done", output_index=index)
            done.item = Raw(msgspec.json.encode(item))
            self._end_item(done, events)
        names = ("id", "status", "usage", "incomplete_details")
        whole = {name: getattr(event, name) for name in names}
        return self._end_response({**whole, "error": _value(event.error)})

    def _fail(self, event: _Event) -> None:
        error, message, code = (_value(raw) for raw in (event.error, event.message, event.code))
        if error is None and message is None:
            self.failure = ProtocolError("an event has neither a type nor an error")
            return
        self._fail_with(error, message, code)

    def _fail_with(self, error: Any, message: Any, code: Any) -> None:
        kind = None
        if isinstance(error, dict):
            message, code = error.get("message", message), error.get("code", code)
            kind = error.get("type")
            error = error if message is None else None
        self.failure = error_in_answer(_unset(error), _unset(message), _unset(code), words=(kind,))


_OF_HOSTED = ("type", "delta", "arguments", "partial_image_b64", "partial_image_index")
_OURS = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
_KNOWN = frozenset(
    {
        *_TEXT,
        *_REASONING,
        *("", "error", "response.completed", "response.incomplete", "response.failed"),
        *("response.output_item.added", "response.output_item.done"),
        *("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"),
    }
)


def _head(item: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a message or of reasoning at its start."""
    content = ("type", "content", "summary", "role", "status", "encrypted_content")
    return {k: v for k, v in item.items() if k not in content and v is not None}


def _texts(parts: Any) -> list[str]:
    found = []
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            text = part.get("text", part.get("refusal"))
            found += [text] if isinstance(text, str) else []
    return found


def _read_usage(usage: Any) -> Usage | None:
    """Return the counts; wrongly typed ones are unknown, without further effect."""
    if not isinstance(usage, dict) or not _count(usage, "input_tokens", "output_tokens"):
        return None
    read, made = usage.get("input_tokens_details"), usage.get("output_tokens_details")
    return Usage(
        _count(usage, "input_tokens"),
        _count(usage, "output_tokens"),
        cached_tokens=_count(read, "cached_tokens"),
        reasoning_tokens=_count(made, "reasoning_tokens"),
        cache_write_tokens=_count(read, "cache_write_tokens"),
    )


def _count(counts: Any, *names: str) -> int:
    return sum(as_count(as_object(counts).get(name)) or 0 for name in names)


def _index(event: _Event) -> int | None:
    """Return the index of an event's item."""
    index = event.output_index
    return index if index.__class__ is int else as_index(index)


def _cut_reason(why: str) -> FinishReason:
    """Return why an answer is incomplete, so that it never looks complete."""
    reason = finish_reason_of(why) if why else "length"
    return reason if reason in ("length", "content_filter") else "length"


def _value(raw: Raw | UnsetType) -> Any:
    return None if raw is UNSET else msgspec.json.decode(raw)


def _object(raw: Raw | UnsetType) -> dict[str, Any]:
    value = _value(raw)
    return value if isinstance(value, dict) else {}


def _unset(value: Any) -> Any:
    return UNSET if value is None else value
