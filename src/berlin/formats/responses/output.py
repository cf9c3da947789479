"""Output items in progress: each knows its events and its final form."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
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
        yield {"type": "response.output_item.added", "item": self.document()}

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
        yield {"type": "response.output_item.done", "item": self.document()}

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """Return the current item."""

    def _begin_deltas(self, name: str, **members: Any) -> None:
        head = {"type": name, "item_id": self.id, "output_index": self.index, **members}
        line = encode_line(head)[:-1]
        self._before = b'event: %b\ndata: %b,"delta":' % (name.encode(), line)


class _Part:
    """A part of a message or of reasoning while it is being built."""

    def __init__(self, kind: str, at: dict[str, int]) -> None:
        self.kind = kind
        self.at = at
        self.pieces: list[str] = []
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []
        self.members: dict[str, Any] = {}

    def document(self) -> dict[str, Any]:
        """Return the current part."""
        text = "".join(self.pieces)
        match self.kind:
            case "refusal":
                return {"type": "refusal", "refusal": text}
            case "output_text":
                noted = {"annotations": list(self.annotations), "logprobs": list(self.logprobs)}
                return {"type": "output_text", "text": text, **noted, **self.members}
        return {"type": self.kind, "text": text}


class PartsItem(Item):
    """An item of one or more parts, of which the last is open, and the service's other members."""

    default_part = ""

    def __init__(self, index: int, id: str, members: Mapping[str, Any]) -> None:
        super().__init__(index, id)
        self._members = {k: v for k, v in members.items() if k not in ("id", "status")}
        self.parts: list[_Part] = []
        self._begun: Counter[str] = Counter()

    def begin(self, kind: str) -> Iterator[Event]:
        """Yield the events that end its last part and begin one of this kind."""
        yield from self._end_part()
        place = "summary_index" if kind == "summary_text" else "content_index"
        self.parts.append(_Part(kind, {place: self._begun[place]}))
        self._begun[place] += 1
        yield self._about_part("added")
        self._begin_deltas(f"response.{_DELTAS[kind]}.delta", **self._at, **self._beside())

    def delta(self, piece: str, sequence: int) -> bytes:
        """Return the frame of the next piece; with the first, the one that begins the part."""
        head = b""
        if not self.parts:
            for event in self.begin(self.default_part):
                head += frame(event, self, sequence)
                sequence += 1
        self.parts[-1].pieces.append(piece)
        return head + super().delta(piece, sequence)

    def take_members(self, members: Mapping[str, Any]) -> None:
        """Take members of the item that the service adds."""
        self.status = str(members.get("status") or self.status)
        self._members |= {k: v for k, v in members.items() if k not in ("id", "status")}

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        yield from self._end_part()
        yield from super().close()

    @property
    def _at(self) -> dict[str, int]:
        return self.parts[-1].at

    def _beside(self) -> dict[str, Any]:
        """Return the members of a delta beside it."""
        return {}

    def _about_part(self, what: str) -> Event:
        return {
            "type": f"response.content_part.{what}",
            **self._at,
            "part": self.parts[-1].document(),
        }

    def _end_part(self) -> Iterator[Event]:
        if not self.parts:
            return
        made = self.parts[-1].document()
        said: Event = {n: made[n] for n in ("text", "refusal", "logprobs") if n in made}
        yield {"type": f"response.{_DELTAS[self.parts[-1].kind]}.done", **self._at, **said}
        yield self._about_part("done")


_DELTAS = {
    "output_text": "output_text",
    "refusal": "refusal",
    "summary_text": "reasoning_summary_text",
    "reasoning_text": "reasoning_text",
}


class MessageItem(PartsItem):
    """A message: parts of text, or refusals."""

    default_part = "output_text"

    def __init__(self, index: int, members: Mapping[str, Any]) -> None:
        super().__init__(index, str(members.get("id") or new_id("msg")), members)
        self._logprobs: list[Any] = []

    def delta(self, piece: str, sequence: int) -> bytes:
        """Return the frame of the next piece, with its log probabilities if there are any."""
        if not self._logprobs or not self.parts:
            return super().delta(piece, sequence)
        self.pieces.append(piece)
        self.parts[-1].pieces.append(piece)
        self.parts[-1].logprobs += self._logprobs
        event = {"type": "response.output_text.delta", **self._at, "delta": piece}
        event["logprobs"], self._logprobs = self._logprobs, []
        return frame(event, self, sequence)

    def take(self, members: Mapping[str, Any]) -> Iterator[Event]:
        """Take the service's members of its text, and yield the events that say so."""
        self.take_members(members.get("item") or {})
        if kind := members.get("type"):
            yield from self.begin(str(kind))
        rest = {k: v for k, v in members.items() if k not in _OF_TEXT}
        noted, logprobs = members.get("annotations") or (), members.get("logprobs") or ()
        if (noted or logprobs or rest) and not self.parts:
            yield from self.begin(self.default_part)
        self._logprobs += logprobs
        if rest:
            self.parts[-1].members |= rest
        for annotation in noted:
            self.parts[-1].annotations.append(annotation)
            yield {
                "type": "response.output_text.annotation.added",
                **self._at,
                "annotation_index": len(self.parts[-1].annotations) - 1,
                "annotation": annotation,
            }

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        if not self.parts:
            yield from self.begin(self.default_part)
        yield from super().close()

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        head = {"id": self.id, "type": "message", "status": self.status, "role": "assistant"}
        return {**head, "content": [part.document() for part in self.parts], **self._members}

    def _beside(self) -> dict[str, Any]:
        return {"logprobs": []} if self.parts[-1].kind == "output_text" else {}


_OF_TEXT = frozenset({"item", "type", "annotations", "logprobs"})


class ReasoningItem(PartsItem):
    """The model's visible reasoning, and the state to be sent back."""

    default_part = "summary_text"

    def __init__(self, index: int, members: Mapping[str, Any]) -> None:
        super().__init__(index, str(members.get("id") or new_id("rs")), members)
        self._is_native = bool(members)
        self._foreign: list[Extra] = []
        self._is_between = False
        self.calls: dict[str, Extra] = {}
        self.opaque: list[OpaquePart] = []

    def take(self, extra: Extra) -> Iterator[Event]:
        """Take state that only the service can read, and yield the events of parts that begin."""
        if extra.dialect != DIALECT:
            self._foreign.append(extra)
            return
        self._is_native = True
        item = extra.members.get("item") or {}
        self._members |= {k: v for k, v in item.items() if k != "id"}
        for kind in extra.members.get("parts") or ():
            self._is_between = bool(self.parts)
            yield from self.begin(kind)
        self._members |= {k: v for k, v in extra.members.items() if k not in ("item", "parts")}

    def delta(self, piece: str, sequence: int) -> bytes:
        """Return the frame of the next piece."""
        is_between, self._is_between = self._is_between, False
        if is_between and piece == "\n\n":
            return b""  # other dialects have no parts
        return super().delta(piece, sequence)

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        encrypted = None
        if not self._is_native and self.status == "completed":
            encrypted = seal(merge_extra(*self._foreign), self.calls, self.opaque)
        summary = [part.document() for part in self.parts if part.kind == "summary_text"]
        content = [part.document() for part in self.parts if part.kind != "summary_text"]
        head = {"id": self.id, "type": "reasoning", "summary": summary}
        members = {
            **head,
            **({"content": content} if content else {}),
            "encrypted_content": encrypted,
        }
        return {**members, **self._members}

    def _about_part(self, what: str) -> Event:
        if self.parts[-1].kind != "summary_text":
            return super()._about_part(what)
        kind = f"response.reasoning_summary_part.{what}"
        return {"type": kind, **self._at, "part": self.parts[-1].document()}


class CallItem(Item):
    """A call of a function."""

    id_kind = "fc"

    def __init__(
        self, index: int, call_id: str, name: Mapping[str, str], members: Mapping[str, Any]
    ) -> None:
        super().__init__(index, str(members.get("id") or new_id(self.id_kind)))
        self.call_id = call_id
        self._name = dict(name)
        self._members: dict[str, Any] = {}
        self.extra: Extra | None = None
        self.take(members)
        self._begin_deltas("response.function_call_arguments.delta")

    def take(self, members: Mapping[str, Any]) -> None:
        """Take members that the service adds."""
        self._members |= {k: v for k, v in members.items() if k not in ("id", "type")}

    @property
    def arguments(self) -> str:
        """The arguments so far, as JSON text."""
        return "".join(self.pieces)

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        done = {"type": "response.function_call_arguments.done", **self._name}
        yield {**done, "arguments": self.arguments}
        yield from Item.close(self)

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        head = {"id": self.id, "type": "function_call", "status": self.status}
        made = {"arguments": self.arguments, "call_id": self.call_id, **self._name}
        return {**head, **made, **self._members}


class CustomCallItem(CallItem):
    """A call of a custom tool: its input is text, passed on only when complete."""

    id_kind = "ctc"

    def delta(self, piece: str, sequence: int) -> bytes:
        """Keep a piece of the arguments: the text within is known at their end."""
        self.pieces.append(piece)
        return b""

    def close(self) -> Iterator[Event]:
        """Yield the events that end it."""
        text = input_of(self.arguments)
        yield {"type": "response.custom_tool_call_input.delta", "delta": text}
        yield {"type": "response.custom_tool_call_input.done", "input": text}
        yield from Item.close(self)

    def document(self) -> dict[str, Any]:
        """Return the current item."""
        text = input_of(self.arguments) if self.status == "completed" else ""
        head = {"id": self.id, "type": "custom_tool_call", "status": self.status}
        return {**head, "call_id": self.call_id, **self._name, "input": text, **self._members}


class HostedItem(Item):
    """An item of a tool that the service ran itself: its events are passed on unchanged."""

    def __init__(self, index: int, item: Mapping[str, Any]) -> None:
        super().__init__(index, str(item.get("id") or new_id("item")))
        self.item = dict(item)

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
