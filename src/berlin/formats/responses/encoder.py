"""Encodes answers in this dialect: the events of a stream, and whole responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall
from berlin.formats.encoding import EventEncoder
from berlin.formats.opaque import is_opaque_part
from berlin.formats.responses.output import (
    CallItem,
    CustomCallItem,
    Event,
    HostedItem,
    Item,
    MessageItem,
    ReasoningItem,
    frame,
)
from berlin.formats.responses.resource import Claim, ResponseObject, ending
from berlin.formats.responses.table import DIALECT
from berlin.formats.tokens import TokenCount
from berlin.formats.tool_calls import is_object
from berlin.types import (
    ChatResponse,
    Extra,
    ExtraDelta,
    Finished,
    OpaquePart,
    ReasoningDelta,
    ReasoningPart,
    Started,
    StreamEvent,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    UsageReport,
    extra_of,
)

DONE = b"data: [DONE]\n\n"
"""Open Responses requires it after the last event; OpenAI's clients also accept it as the end."""


HOSTED_DONE = "response.output_item.done"

Keep: TypeAlias = Callable[[str, bytes, list[dict[str, Any]]], None]
"""Takes the id of a whole response, the response as JSON, and its output items."""


class ResponsesEncoder(EventEncoder):
    """Writes one answer as events; see `EventEncoder`.

    Args:
        keep: takes the whole response and its output before the client sees its end.
        claim: returns whether a service's id may be used; by default all may.
    """

    def __init__(
        self,
        call: ClientCall,
        keep: Keep | None = None,
        claim: Claim | None = None,
    ) -> None:
        self._keep = keep
        self._count = TokenCount(call.request)
        self._response = ResponseObject(call, claim)
        self._tools = {tool.name: extra_of(tool.extra, DIALECT) for tool in call.request.tools}
        self._sequence = 0
        self._begun = False
        self._items: list[Item] = []
        self._open: MessageItem | ReasoningItem | HostedItem | None = None
        self._calls: dict[int, CallItem] = {}
        self._closed: set[int] = set()

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the frames of one event; with the first, those that begin the response."""
        if isinstance(event, ExtraDelta) and event.at == "answer":
            self._response.take(extra_of(event.extra, DIALECT))
            return b""
        if isinstance(event, Started):
            return b""
        head = b"" if self._begun else self._begin()
        return head + super().encode_event(event)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frames that end an answer with an error."""
        head = b"" if self._begun else self._begin()
        for item in self._items:
            if item.status == "in_progress":
                item.status = "incomplete"
        output = [item.document() for item in self._items]
        return head + self._whole("response.failed", self._response.failed(error, output)) + DONE

    def keep_alive(self) -> bytes:
        """Return a keep-alive event."""
        if not self._begun:
            return self._begin()
        return self._whole("response.in_progress", self._response.begun())

    def _begin(self) -> bytes:
        self._begun = True
        begun = self._response.begun()
        created = self._whole("response.created", begun)
        return created + self._whole("response.in_progress", begun)

    def _whole(self, name: str, response: bytes) -> bytes:
        sequence, self._sequence = self._sequence, self._sequence + 1
        data = b'{"type":"%b","response":%b,"sequence_number":%d}'
        return b"event: %b\ndata: %b\n\n" % (
            name.encode(),
            data % (name.encode(), response, sequence),
        )

    def _frames(self, events: Iterator[Event], item: Item) -> bytes:
        frames = []
        for event in events:
            frames.append(frame(event, item, self._sequence))
            self._sequence += 1
        return b"".join(frames)

    def _delta(self, item: Item | None, piece: str) -> bytes:
        if item is None or not piece:
            return b""
        data = item.delta(piece, self._sequence)
        self._sequence += data.count(b"\n\n")
        return data

    def _add(self, item: Item) -> bytes:
        self._items.append(item)
        return self._frames(item.open(), item)

    def _switch(
        self,
        kind: type[MessageItem] | type[ReasoningItem],
        members: Mapping[str, Any] | None = None,
        *,
        restart: bool = False,
    ) -> bytes:
        """Return the frames that make an item of this kind the open one."""
        if isinstance(self._open, kind) and not restart:
            return b""
        head = self._close_open() + self._close_calls()
        item = kind(len(self._items), members or {})
        self._open = item
        return head + self._add(item)

    def _close_open(self, status: str = "completed") -> bytes:
        item, self._open = self._open, None
        if item is None:
            return b""
        item.status = status
        return self._frames(item.close(), item)

    def _close_calls(self, status: str = "") -> bytes:
        """Return the frames that end the calls whose arguments are whole, or all with a status."""
        frames = []
        for index, item in self._calls.items():
            if index in self._closed or not (status or is_object(item.arguments)):
                continue
            self._closed.add(index)
            item.status = status or "completed"
            if not item.pieces and not isinstance(item, CustomCallItem):
                frames.append(self._delta(item, "{}"))  # arguments are JSON, also where none are
            frames.append(self._frames(item.close(), item))
        return b"".join(frames)

    def _encode_text(self, event: TextDelta) -> bytes:
        self._count.hold(event)
        return self._switch(MessageItem) + self._delta(self._open, event.text)

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        self._count.hold(event)
        return self._switch(ReasoningItem) + self._delta(self._open, event.text)

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        self._count.hold(event)
        if event.index in self._closed and not event.extra:
            return b""  # nothing can follow complete arguments
        head = b""
        item = self._calls.get(event.index)
        if item is None:
            head = self._close_open() + self._close_calls()
            item = self._open_call(event)
            head += self._add(item)
        elif event.extra is not None:
            item.take(extra_of(event.extra, DIALECT))
        if event.extra is not None and event.extra.dialect != DIALECT:
            item.extra = event.extra
        return head + self._delta(item, event.arguments)

    def _open_call(self, event: ToolCallDelta) -> CallItem:
        tool = self._tools.get(event.name, {})
        name = {"name": str(tool.get("name", event.name))}
        if namespace := tool.get("namespace"):
            name["namespace"] = str(namespace["name"])
        own = extra_of(event.extra, DIALECT)
        is_custom = tool.get("type") == "custom" or own.get("type") == "custom_tool_call"
        kind = CustomCallItem if is_custom else CallItem
        item = self._calls[event.index] = kind(len(self._items), event.id, name, own)
        return item

    def _encode_extra(self, event: ExtraDelta) -> bytes:
        own = extra_of(event.extra, DIALECT)
        self._count.hold(event)
        for written in (own.get("annotations"), own.get("parts")):
            self._count.take_parts(len(written or ()))
        match event.at:
            case "reasoning":
                head = self._switch(ReasoningItem, own.get("item"), restart=event.opens)
                if isinstance(self._open, ReasoningItem):
                    head += self._frames(self._open.take(event.extra), self._open)
                return head
            case "text" if own or event.extra.members.get("type") == "refusal":
                anew = event.opens and "item" in own
                head = self._switch(MessageItem, own.get("item"), restart=anew)
                if isinstance(self._open, MessageItem):
                    members = own or {"type": "refusal"}
                    head += self._frames(self._open.take(members), self._open)
                return head
            case "part" if own:
                return self._encode_hosted(dict(own))
            case "part" if is_opaque_part(event.extra, DIALECT):
                head = self._switch(ReasoningItem, restart=True)
                if isinstance(self._open, ReasoningItem):
                    self._open.opaque.append(OpaquePart(event.extra))
                return head + self._close_open()
        return b""

    def _encode_hosted(self, event: Event) -> bytes:
        match event.get("type"), event.get("item"):
            case "response.output_item.added", dict(announced):
                head = self._close_open() + self._close_calls()
                item = HostedItem(len(self._items), announced)
                self._open = item
                return head + self._add(item)
            case kind, dict(made) if kind == HOSTED_DONE:
                head = b""
                if not isinstance(self._open, HostedItem):
                    head = self._encode_hosted({"type": "response.output_item.added", "item": made})
                if isinstance(self._open, HostedItem):
                    self._open.item = made
                return head + self._close_open()
        if isinstance(self._open, HostedItem):
            return self._frames(iter([event]), self._open)
        return b""

    def _encode_end(self, event: Finished) -> bytes:
        kind = ending(event.reason, extra_of(event.extra, DIALECT))
        status = kind.removeprefix("response.")
        head = self._close_open(status) + self._close_calls(status)
        if not any(isinstance(item, MessageItem | CallItem | HostedItem) for item in self._items):
            head += self._switch(MessageItem) + self._close_open(status)
        extras = {c.call_id: c.extra for c in self._calls.values() if c.extra is not None}
        if extras:
            head += self._seal_calls(extras)
        output = [item.document() for item in self._items]
        response = self._response.ended(status, event.reason, output, self._count.usage)
        if self._keep is not None:
            self._keep(self._response.id, response, output)
        return head + self._whole(kind, response) + DONE

    def _seal_calls(self, extras: dict[str, Extra]) -> bytes:
        """Return the frames of an item that carries what the service wants back with its calls."""
        item = ReasoningItem(len(self._items), {})
        item.calls = extras
        head = self._add(item)
        item.status = "completed"
        return head + self._frames(item.close(), item)


def encode_response(
    call: ClientCall,
    response: ChatResponse,
    keep: Keep | None = None,
    claim: Claim | None = None,
) -> bytes:
    """Return the whole answer to a call: what the last event of its stream would contain."""
    whole: list[bytes] = []

    def take(id: str, body: bytes, output: list[dict[str, Any]]) -> None:
        whole.append(body)
        if keep is not None:
            keep(id, body, output)

    encoder = ResponsesEncoder(call, take, claim)
    for event in _events_of(response):
        encoder.encode_event(event)
    return whole[0]


def _events_of(response: ChatResponse) -> Iterator[StreamEvent]:
    """Yield events that make up this answer."""
    index = 0
    if response.extra is not None:
        yield ExtraDelta(response.extra, "answer")
    for part in response.parts:
        match part:
            case TextPart() | ReasoningPart():
                is_text = isinstance(part, TextPart)
                if part.extra is not None:
                    yield ExtraDelta(part.extra, "text" if is_text else "reasoning", opens=True)
                if part.text:
                    yield TextDelta(part.text) if is_text else ReasoningDelta(part.text)
            case ToolCallPart():
                yield ToolCallDelta(index, part.id, part.name, part.arguments, part.extra)
                index += 1
            case OpaquePart():
                yield ExtraDelta(part.extra, "part")
    if response.usage is not None:
        yield UsageReport(response.usage)
    yield Finished(response.finish_reason, extra=response.finish_extra)
