"""Decodes answers in this dialect: the events of a stream, or one whole response.

What other dialects have no word for is passed on beside the common events, so that a client of this
dialect gets each item and the response as the service wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import ProtocolError, ServiceUnavailableError
from berlin.formats.decoding import KEY, DialectDecoder
from berlin.formats.finish import BROKEN_OFF
from berlin.formats.loose import as_id, as_index, as_list, as_object, as_text, others, read_usage
from berlin.formats.responses.reading import (
    ItemState,
    arguments,
    cut_reason,
    index_of,
    rest_of_call,
)
from berlin.formats.responses.table import DIALECT
from berlin.formats.responses.tools import flat_name
from berlin.types import Extra, ExtraDelta, ReasoningDelta, StreamEvent, TextDelta
from berlin.types.events import Place
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import encode_value
from berlin.wire.status import error_of_object

_TEXT = "response.output_text.delta"
_SAID = {_TEXT: "output_text", "response.refusal.delta": "refusal"}
_THOUGHT = {
    "response.reasoning_summary_text.delta": ("summary_text", "summary_index"),
    "response.reasoning_text.delta": ("reasoning_text", "content_index"),
    "response.reasoning.delta": ("reasoning_text", "content_index"),
}
# Of a response: what is built from the events, or is the gateway's own.
_BUILT = frozenset(
    {
        *("object", "model", "output", "output_text", "usage", "status", "error"),
        *("background", "store", "previous_response_id"),
    }
)
# Of events and items: what says where they belong, and what the hub has words for.
_WHERE = frozenset({"sequence_number", "output_index", "item_id", "obfuscation"})
_OF_CALL = frozenset({"type", "call_id", "name", "namespace", "arguments", "input"})
_OF_HEAD = frozenset({"type", "content", "summary", "role", "encrypted_content"})
_ASKED = (("input_tokens",), ("prompt_tokens",))
_ANSWERED = (("output_tokens",), ("completion_tokens",))
_DETAILS = {
    "cached_tokens": (
        ("input_tokens_details", "cached_tokens"),
        ("prompt_tokens_details", "cached_tokens"),
    ),
    "cache_write_tokens": (("input_tokens_details", "cache_write_tokens"),),
    "reasoning_tokens": (
        ("output_tokens_details", "reasoning_tokens"),
        ("completion_tokens_details", "reasoning_tokens"),
    ),
}


class _Event(msgspec.Struct, gc=False):
    """An event that only carries text."""

    type: str = ""
    delta: str | None = None
    output_index: Any = None
    content_index: Any = None
    logprobs: list[Any] | None = None


_FAST = msgspec.json.Decoder(_Event)


class ResponsesDecoder(DialectDecoder):
    """Decodes one answer, streamed or whole; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(b"[DONE]"), _FAST)
        self._items: dict[int | None, ItemState] = {}
        self._at: tuple[Any, Any] = (None, None)  # item and part of the last piece of text
        self._told: dict[str, Any] = {}
        self._refuses = False

    def _take_fast(
        self, documents: list[bytes], decoded: list[Any], events: list[StreamEvent]
    ) -> None:
        plain, at = self._plain, self._at
        for document, event in zip(documents, decoded, strict=True):
            if (
                event.type == _TEXT
                and event.delta
                and (event.output_index, event.content_index) == at
                and document.count(KEY) in plain
                and not event.logprobs
                and not self._early
            ):
                events.append(TextDelta(event.delta))
            else:
                if not self._look_at(document, events):
                    return
                at = self._at

    def _take_object(self, document: dict[str, Any], events: list[StreamEvent]) -> bool:
        kind = as_text(document.get("type"))
        match kind:
            case "":
                return self._take_whole(document, events)
            case "error":
                self._fail(document)
            case _ if kind in _SAID:
                self._take_text(_SAID[kind], document, events)
            case _ if kind in _THOUGHT:
                self._take_thought(*_THOUGHT[kind], document, events)
            case "response.function_call_arguments.delta":
                self._item(document, "function_call").streamed = True
                piece = as_text(document.get("delta"))
                self._calls.add(events, index_of(document), "", "", piece)
            case "response.function_call_arguments.done":
                item = self._item(document, "function_call")
                if not item.streamed:
                    item.streamed = True
                    whole = arguments(document)
                    self._calls.add(events, index_of(document), "", "", whole)
            case "response.output_text.done" | "response.refusal.done":
                if not self._item(document, "message").streamed:
                    text = document.get("text", document.get("refusal"))
                    delta = kind.replace(".done", ".delta")
                    self._take_text(_SAID[delta], {**document, "delta": text}, events)
            case "response.custom_tool_call_input.delta":
                self._take_input(document, events)
            case "response.output_item.added":
                self._begin_item(document, events)
            case "response.output_item.done":
                self._end_item(document, events)
            case "response.output_text.annotation.added":
                self._item(document, "message").notes += 1
                _add(events, "text", {"annotations": [document.get("annotation")]})
            case "response.created":
                self._tell(as_object(document.get("response")), self._early)
            case "response.completed" | "response.incomplete" | "response.failed":
                response = document.get("response")
                if isinstance(response, dict) and document.get("error"):
                    # Some gateways say beside the response why it failed.
                    response = {**response, "error": response.get("error") or document["error"]}
                self._end_response(response, events)
            case _:
                self._pass_hosted(document, events)
        return self.failure is None and not self.done

    def _item(self, event: Mapping[str, Any], kind: str) -> ItemState:
        """Return the item of an event; some services do not announce them."""
        item = self._items.get(index_of(event))
        if item is None:
            item = self._items[index_of(event)] = ItemState(kind, {}, {})
        return item

    def _take_text(self, kind: str, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        delta = event.get("delta")
        if delta is not None and not isinstance(delta, str):
            self.failure = ProtocolError(f"a piece of text is not text but {type(delta).__name__}")
            return
        item = self._item(event, "message")
        at = (event.get("output_index"), event.get("content_index"))
        self._at = at if kind == "output_text" else (None, None)
        item.streamed = True
        self._enter(item, kind, as_index(event.get("content_index")) or 0, events)
        if logprobs := as_list(event.get("logprobs")):
            _add(events, "text", {"logprobs": logprobs})
        if delta:
            events.append(TextDelta(delta))

    def _enter(self, item: ItemState, kind: str, index: int, events: list[StreamEvent]) -> None:
        """Begin a part of a message, if it is another one than before."""
        if item.part == (kind, index):
            return
        is_first, item.part, item.notes = item.part is None, (kind, index), 0
        if kind == "refusal":
            self._refuses = True
        if not is_first or kind == "refusal":
            _add(events, "text", {"type": kind}, opens=not is_first)

    def _take_thought(
        self, kind: str, place: str, event: Mapping[str, Any], events: list[StreamEvent]
    ) -> None:
        item = self._item(event, "reasoning")
        item.streamed = True
        part = (kind, as_index(event.get(place)) or 0)
        if part != item.part:
            is_first, item.part = item.part is None, part
            if not is_first or kind != "summary_text":
                _add(events, "reasoning", {"parts": [kind]})
            if not is_first:
                events.append(ReasoningDelta("\n\n"))
        if delta := as_text(event.get("delta")):
            events.append(ReasoningDelta(delta))

    def _take_input(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """Take text for a custom tool: a piece of its single argument in other dialects."""
        item = self._item(event, "custom_tool_call")
        head = "" if item.streamed else '{"input":"'
        item.streamed = True
        piece = encode_value(as_text(event.get("delta"))).decode()[1:-1]
        self._calls.add(events, index_of(event), "", "", head + piece)

    def _begin_item(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item = as_object(event.get("item"))
        kind = as_text(item.get("type"))
        if not kind:
            return
        hidden = _OF_CALL if kind in _CALLS else _OF_HEAD
        head = others(item, hidden)
        head.pop("status", None)  # as it begins; the one at its end counts
        self._items[index_of(event)] = ItemState(kind, head, item)
        match kind:
            case "message" | "reasoning":
                _add(events, _PLACES[kind], {"item": head}, opens=True)
            case _ if kind in _CALLS:
                name = flat_name(as_text(item.get("namespace")), as_text(item.get("name")))
                id = as_id(item.get("call_id")) or as_id(item.get("id"))
                if kind == "custom_tool_call":
                    head = {"type": kind, **head}
                extra = Extra(DIALECT, head) if head else None
                self._calls.add(events, index_of(event), id, name, "", extra)
                self._calls.flush(events)
            case _:
                _add(events, "part", {"type": "response.output_item.added", "item": item})

    def _end_item(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        item = as_object(event.get("item"))
        if index_of(event) not in self._items:
            self._begin_item(event, events)
        known = self._items.get(index_of(event))
        if known is None or known.ended:
            return
        known.ended = True
        more = others(item, known.head)
        if more.get("status") == "completed" and known.kind != "reasoning":
            del more["status"]
        match known.kind:
            case "message":
                self._end_message(item, known, events)
                if more := {n: v for n, v in more.items() if n not in _OF_HEAD}:
                    _add(events, "text", {"item": more})
            case "reasoning":
                self._end_reasoning(item, known, events)
                if more := {n: v for n, v in more.items() if n not in _OF_HEAD}:
                    _add(events, "reasoning", {"item": more})
            case kind if kind in _CALLS:
                more = {n: v for n, v in more.items() if n not in _OF_CALL}
                extra = Extra(DIALECT, more) if more else None
                rest = rest_of_call(item, known)
                name = "" if known.announced.get("name") else as_text(item.get("name"))
                id = "" if known.announced else as_id(item.get("call_id"))
                self._calls.add(events, index_of(event), id, name, rest, extra)
            case _:
                _add(events, "part", {"type": "response.output_item.done", "item": item})

    def _end_message(
        self, item: Mapping[str, Any], known: ItemState, events: list[StreamEvent]
    ) -> None:
        parts = [as_object(part) for part in as_list(item.get("content"))]
        for n, part in enumerate(parts):
            kind = as_text(part.get("type")) or "output_text"
            text = as_text(part.get("text")) or as_text(part.get("refusal"))
            if not known.streamed:
                self._enter(known, kind, n, events)
                if logprobs := as_list(part.get("logprobs")):
                    _add(events, "text", {"logprobs": logprobs})
                if text:
                    events.append(TextDelta(text))
            if known.part == (kind, n):
                # Some services announce annotations only at the end.
                noted = as_list(part.get("annotations"))[known.notes :]
                more = others(part, _OF_PART)
                if noted or more:
                    _add(events, "text", {**({"annotations": noted} if noted else {}), **more})

    def _end_reasoning(
        self, item: Mapping[str, Any], known: ItemState, events: list[StreamEvent]
    ) -> None:
        summary, content = as_list(item.get("summary")), as_list(item.get("content"))
        if not known.streamed:
            texts = [as_text(as_object(part).get("text")) for part in summary or content]
            if not summary and content:
                _add(events, "reasoning", {"parts": ["reasoning_text"]})
            if text := "\n\n".join(filter(None, texts)):
                events.append(ReasoningDelta(text))
        state = {n: item[n] for n in ("content", "encrypted_content") if item.get(n)}
        if len(summary) > 1 or (summary and content):
            state["summary"] = summary
        if state:
            _add(events, "reasoning", state)

    def _pass_hosted(self, event: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """Pass on an event of a tool that the service runs itself."""
        item = self._items.get(index_of(event))
        if index_of(event) is None or item is None or item.kind in _OURS:
            return
        _add(events, "part", {n: v for n, v in event.items() if n not in _WHERE})

    def _tell(
        self, response: Mapping[str, Any], events: list[ExtraDelta] | list[StreamEvent]
    ) -> None:
        """Pass on the members of the response that are new."""
        new = {
            n: v
            for n, v in response.items()
            if n not in _BUILT and v is not None and self._told.get(n) != v
        }
        if new:
            self._told |= new
            events.append(ExtraDelta(Extra(DIALECT, new), "answer"))

    def _end_response(self, response: Any, events: list[StreamEvent]) -> None:
        if not isinstance(response, dict):
            self.failure = ProtocolError("the last event has no response")
            return
        status = as_text(response.get("status"))
        if status == "failed" or response.get("error"):
            self._fail(response)
            return
        if status in BROKEN_OFF:
            self.failure = ServiceUnavailableError(f"the answer was broken off: {status}")
            return
        output = as_list(response.get("output"))
        for n in range(len(output)) if not self._items else ():
            self._end_item({"output_index": n, "item": output[n]}, events)
        for index, item in self._items.items():
            if not item.ended and item.announced:  # its end was left out
                whole = output[index : index + 1] if index is not None else []
                made = whole[0] if whole else item.announced
                self._end_item({"output_index": index, "item": made}, events)
        self._tell(response, events)
        self._usage = read_usage(response.get("usage"), DIALECT, _ASKED, _ANSWERED, _DETAILS)
        why = as_text(as_object(response.get("incomplete_details")).get("reason"))
        self._reason = cut_reason(why) if status == "incomplete" else "stop"
        if self._refuses:
            self._refuse(Extra(DIALECT, {"status": "completed"}))
        self._message_id = as_id(response.get("id"))
        self.done = True

    def _take_whole(self, document: dict[str, Any], events: list[StreamEvent]) -> bool:
        """Take a response that arrived in one piece."""
        is_one = document.get("object") == "response" or isinstance(document.get("output"), list)
        if document and not is_one:
            self._fail(document)
        elif document:
            self._end_response(document, events)
        return not self.done and self.failure is None

    def _fail(self, document: Mapping[str, Any]) -> None:
        known = ("error", "message", "detail", "msg", "code")
        if any(document.get(name) is not None for name in known):
            self.failure = error_of_object({n: v for n, v in document.items() if n != "status"})
        elif document.get("status") == "failed":
            self.failure = ServiceUnavailableError("the service failed, and does not say why")
        else:
            self.failure = ProtocolError("an event has neither a type nor an error")


_PLACES: Mapping[str, Place] = {"message": "text", "reasoning": "reasoning"}
_CALLS = frozenset({"function_call", "custom_tool_call"})
_OURS = _CALLS | _PLACES.keys()
_OF_PART = frozenset({"type", "text", "refusal", "annotations", "logprobs"})


def _add(
    events: list[StreamEvent], at: Place, members: Mapping[str, Any], *, opens: bool = False
) -> None:
    events.append(ExtraDelta(Extra(DIALECT, members), at, opens))
