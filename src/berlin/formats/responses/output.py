"""Output items in progress: each knows its events and its final form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from berlin.formats.opaque import seal
from berlin.formats.responses.messages import input_of
from berlin.formats.responses.request import new_id
from berlin.formats.responses.table import DIALECT
from berlin.types import Extra, OpaquePart, merge_extra
from berlin.wire.json import encode_line, encode_value, escape_line_ends

Event: TypeAlias = dict[str, Any]
"""The members of one event; `item_id`, `output_index` and `sequence_number` are added."""


class Item:
    """An item of the output; all its events have one `item_id` and one `output_index`.

    Args:
        index: its place in the output.
        id: its id.

    Attributes:
        pieces: its contents so far.
        status: `in_progress`, `completed` or `incomplete`.
    """

    def __init__(self, index: int, id: str) -> None:
        self.index = index
        self.id = id
        self.pieces: list[str] = []
        self.status = "in_progress"
        self._before = b""

    def open(self) -> Iterator[Event]:
        """Yield the events that start it."""
        yield self._added(self.document())

    def delta(self, piece: str, sequence: int) -> bytes:
        """Return the frame of the next piece."""
        self.pieces.append(piece)
        text = encode_value(piece)
        if not text.isascii():
            text = escape_line_ends(text)
        # It is called for each piece, so everything else is encoded once.
        return b'%b%b,"sequence_number":%d}\n\n' % (self._before, text, sequence)

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        raise NotImplementedError

    def _added(self, document: dict[str, Any]) -> Event:
        return {"type": "response.output_item.added", "item": document}

    def _done(self, document: dict[str, Any]) -> Event:
        return {"type": "response.output_item.done", "item": document}

    def _begin_deltas(self, name: str, **members: Any) -> None:
        head = {"type": name, "item_id": self.id, "output_index": self.index, **members}
        line = encode_line(head)[:-1]
        self._before = b'event: %b\ndata: %b,"delta":' % (name.encode(), line)


class MessageItem(Item):
    """A message: one part, of text or of a refusal.

    Args:
        index: its place in the output.
        members: the service's members of it at its start.
        is_refusal: whether the model refuses to answer.
    """

    def __init__(self, index: int, members: Mapping[str, Any], *, is_refusal: bool = False) -> None:
        super().__init__(index, str(members.get("id") or new_id("msg")))
        self._members = {k: v for k, v in members.items() if k not in ("id", "status")}
        self._kind = "refusal" if is_refusal else "output_text"
        self.annotations: list[Any] = []
        more: dict[str, Any] = {} if is_refusal else {"logprobs": []}
        self._begin_deltas(f"response.{self._kind}.delta", content_index=0, **more)

    def open(self) -> Iterator[Event]:
        """Yield the events that start it."""
        yield self._added({**self.document(), "content": []})
        yield {"type": "response.content_part.added", "content_index": 0, "part": self._part()}

    def annotate(self, annotation: Any) -> Event:
        """Return the event of an annotation of the text."""
        self.annotations.append(annotation)
        return {
            "type": "response.output_text.annotation.added",
            "content_index": 0,
            "annotation_index": len(self.annotations) - 1,
            "annotation": annotation,
        }

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        part = self._part()
        said: Event = {n: part[n] for n in ("text", "refusal", "logprobs") if n in part}
        yield {"type": f"response.{self._kind}.done", "content_index": 0, **said}
        yield {"type": "response.content_part.done", "content_index": 0, "part": part}
        yield self._done(self.document())

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        head = {"id": self.id, "type": "message", "status": self.status, "role": "assistant"}
        return {**head, "content": [self._part()], **self._members}

    def _part(self) -> dict[str, Any]:
        text = "".join(self.pieces)
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": text}
        made = {"type": "output_text", "text": text}
        return {**made, "annotations": list(self.annotations), "logprobs": []}


class ReasoningItem(Item):
    """The model's visible reasoning, and the state to be sent back."""

    def __init__(self, index: int, members: Mapping[str, Any]) -> None:
        super().__init__(index, str(members.get("id") or new_id("rs")))
        self._is_native = bool(members)
        self._members = {k: v for k, v in members.items() if k not in ("id", "status")}
        self._foreign: Extra | None = None
        self.calls: dict[str, Extra] = {}
        self.parts: list[OpaquePart] = []
        self._begin_deltas("response.reasoning_summary_text.delta", summary_index=0)

    def take(self, extra: Extra) -> None:
        """Take state that only the service can read."""
        if extra.dialect == DIALECT:
            self._is_native = True
            self._members |= {k: v for k, v in extra.members.items() if k != "item"}
            return
        self._foreign = merge_extra(self._foreign, extra)

    def delta(self, piece: str, sequence: int) -> bytes:
        """Return the frame of the next piece; with the first, the one that begins the part."""
        head = b""
        if not self.pieces:
            added = {"type": "response.reasoning_summary_part.added", "summary_index": 0}
            part = {"type": "summary_text", "text": ""}
            head = frame({**added, "part": part}, self, sequence)
            sequence += 1
        return head + super().delta(piece, sequence)

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        if self.pieces:
            [part] = self._summary()
            done, at = "response.reasoning_summary_text.done", {"summary_index": 0}
            yield {"type": done, **at, "text": part["text"]}
            yield {"type": "response.reasoning_summary_part.done", **at, "part": part}
        yield self._done(self.document())

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        encrypted = None
        if not self._is_native and self.status == "completed":
            encrypted = seal(self._foreign, self.calls, self.parts)
        head = {"id": self.id, "type": "reasoning", "summary": self._summary()}
        return {**head, "encrypted_content": encrypted, **self._members}

    def _summary(self) -> list[dict[str, str]]:
        text = "".join(self.pieces)
        return [{"type": "summary_text", "text": text}] if text else []


class CallItem(Item):
    """A call of a function."""

    def __init__(self, index: int, call_id: str, name: Mapping[str, str], id: str = "") -> None:
        super().__init__(index, id or new_id("fc"))
        self.call_id = call_id
        self._name = dict(name)
        self.extra: Extra | None = None
        self._begin_deltas("response.function_call_arguments.delta")

    @property
    def arguments(self) -> str:
        """The arguments so far, as JSON text."""
        return "".join(self.pieces)

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        done = {"type": "response.function_call_arguments.done", **self._name}
        yield {**done, "arguments": self.arguments}
        yield self._done(self.document())

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        head = {"id": self.id, "type": "function_call", "status": self.status}
        return {**head, "arguments": self.arguments, "call_id": self.call_id, **self._name}


class CustomCallItem(CallItem):
    """A call of a custom tool: its input is text, passed on only when complete."""

    def __init__(self, index: int, call_id: str, name: Mapping[str, str], id: str = "") -> None:
        super().__init__(index, call_id, name, id or new_id("ctc"))

    def delta(self, piece: str, sequence: int) -> bytes:
        """Keep a piece of the arguments: the text within is known at their end."""
        self.pieces.append(piece)
        return b""

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        text = input_of(self.arguments)
        yield {"type": "response.custom_tool_call_input.delta", "delta": text}
        yield {"type": "response.custom_tool_call_input.done", "input": text}
        yield self._done(self.document())

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        text = input_of(self.arguments) if self.status == "completed" else ""
        head = {"id": self.id, "type": "custom_tool_call", "status": self.status}
        return {**head, "call_id": self.call_id, **self._name, "input": text}


class HostedItem(Item):
    """An item of a tool that the service ran itself: its events are passed on unchanged.

    Args:
        index: its place in the output.
        item: the item as the service announced it.
    """

    def __init__(self, index: int, item: Mapping[str, Any]) -> None:
        super().__init__(index, str(item.get("id") or new_id("item")))
        self.item = dict(item)

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        yield self._done(self.document())

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        return {**self.item, "id": self.id}


def frame(event: Event, item: Item | None, sequence: int) -> bytes:
    """Return the bytes of an event."""
    fields = {**event, "sequence_number": sequence}
    if item is not None:
        fields["output_index"] = item.index
        if "item" not in event:
            fields["item_id"] = item.id
    name = str(event["type"])
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode_line(fields))
