"""Writes answers in the format of Anthropic's messages: the events of a stream, and whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from berlin.errors import BerlinError
from berlin.formats.anthropic.answer import (
    call_block,
    encode_error,
    end_of,
    message_of,
    thinking_block,
    write_usage,
)
from berlin.formats.anthropic.table import DIALECT
from berlin.formats.contract import ClientCall
from berlin.formats.encoding import EventEncoder
from berlin.formats.opaque import is_state, opaque_of_call, seal
from berlin.formats.tokens import TokenCount
from berlin.formats.tool_calls import Arguments, is_object
from berlin.types import (
    Extra,
    ExtraDelta,
    Finished,
    MaybeExtra,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    extra_of,
    merge_extra,
)
from berlin.wire.json import encode_line

# Members of the end of an answer that are beside `delta` in a stream.
_BESIDE = frozenset({"context_management"})

_Piece: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | ExtraDelta


class AnthropicEncoder(EventEncoder):
    """Writes one answer as events; see `EventEncoder`.

    One block is open at a time. Events of another block during an incomplete tool call are held
    back until the end, since nothing else says that the call is complete.
    """

    def __init__(self, call: ClientCall) -> None:
        self._model = call.request.model
        self._count = TokenCount(call.request)
        self._begun = False
        self._index = -1  # of the last opened block
        self._open: int | str | None = None  # the kind of the open block, or the call in it
        self._before = b""
        self._arguments = Arguments()  # of the open call
        self._calls: set[int] = set()
        self._held: list[_Piece] = []
        self._answer_extra: dict[str, Any] = {}
        self._block_extra: Mapping[str, Any] = {}
        # What services of other dialects want back: of the reasoning, and of calls by their ids.
        self._foreign: list[Extra] = []
        self._is_signed = False  # whether the open thinking has its service's own signature
        self._states: dict[str, list[Extra]] = {}
        self._ids: dict[int, str] = {}

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the frames of one event; with the first, the one that starts the message."""
        if isinstance(event, Started):
            return b""
        if isinstance(event, ExtraDelta) and event.at in ("answer", "choice", "message"):
            self._count.hold(event)
            self._answer_extra.update(extra_of(event.extra, DIALECT))
            return b""
        return self._start() + super().encode_event(event)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frame that ends an answer with an error."""
        return b"event: error\ndata: %b\n\n" % encode_error(error)

    def keep_alive(self) -> bytes:
        """Return a ping, which this format has once the message has started."""
        return self._start() + _frame("ping")

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        usage = Usage(self._count.input_tokens)
        message = {**message_of(self._model, [], None, usage), **self._answer_extra}
        self._answer_extra = {}
        return _frame("message_start", message=message)

    def _encode_text(self, event: TextDelta | ReasoningDelta) -> bytes:
        self._count.add(event.text)
        return self._place(event)

    _encode_reasoning = _encode_text

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        self._count.hold(event)
        return self._place(event)

    def _encode_extra(self, event: ExtraDelta) -> bytes:
        return self._place(event) if event.extra.dialect == DIALECT else self._keep(event)

    def _place(self, event: _Piece) -> bytes:
        """Return the frames of a piece, or hold it back."""
        if _block_of(event) != self._open and (self._held or not self._may_close()):
            self._held.append(event)
            if not isinstance(event, ToolCallDelta):  # counted already
                self._count.hold(event)
            return b""
        return self._write(event)

    def _write(self, event: _Piece) -> bytes:
        if isinstance(event, ExtraDelta):
            return self._write_extra(event)
        key, head = _block_of(event), b""
        if key != self._open:
            if key in self._calls:
                return b""  # nothing can follow complete arguments
            head = self._close() + self._hand_out(event) + self._open_block(event)
        if isinstance(event, ToolCallDelta):
            if not head and event.extra is not None:
                self._keep_state(self._ids[event.index], event.extra)
            if not event.arguments:
                return head
            self._arguments.append(event.arguments)
            piece = event.arguments
        else:
            piece = event.text
        return b"%b%b%b}}\n\n" % (head, self._before, encode_line(piece))

    def _keep(self, event: ExtraDelta) -> bytes:
        """Keep what a service of another dialect wants back with its reasoning."""
        if event.at != "reasoning":
            return b""
        head = b""
        if event.opens and not self._held and self._may_close():
            head = self._close() + self._hand_out(None)
        self._count.hold(event)
        self._foreign.append(event.extra)
        return head

    def _keep_state(self, id: str, extra: MaybeExtra) -> None:
        state = opaque_of_call(extra, DIALECT)
        if state is not None:
            self._states.setdefault(id, []).append(state)

    def _hand_out(self, following: _Piece | None) -> bytes:
        """Return the block of all that is kept, unless the following block carries it. Clients send
        such blocks back unread.
        """
        if isinstance(following, ReasoningDelta):
            return b""
        if isinstance(following, ToolCallDelta):
            self._ids[following.index] = following.id
            self._keep_state(following.id, following.extra)
        foreign = merge_extra(*self._foreign)
        states = {
            id: state
            for id, kept in self._states.items()
            if (state := merge_extra(*kept)) is not None
        }
        self._foreign, self._states = [], {}
        if not is_state(foreign) and not states:
            return b""
        data = seal(foreign, states)
        return self._write_block({"type": "redacted_thinking", "data": data})

    def _write_extra(self, event: ExtraDelta) -> bytes:
        members = event.extra.members
        if event.at == "part":
            return self._close() + self._write_block(members)
        key, piece = _block_of(event), TextDelta("")
        head = b""
        if event.opens:
            head = self._close()
            self._block_extra = {n: v for n, v in members.items() if n not in _IN_DELTAS}
            if members.keys() <= self._block_extra.keys():
                return head
        if self._open != key:
            opened = piece if event.at == "text" else ReasoningDelta("")
            head += self._close() + self._open_block(opened)
        self._is_signed |= event.at == "reasoning"
        deltas = _deltas_of(members)
        self._count.take_parts(len(deltas) - 1)
        return head + b"".join(
            _frame("content_block_delta", index=self._index, delta=delta) for delta in deltas
        )

    def _write_block(self, block: Mapping[str, Any]) -> bytes:
        """Return the frames of a block that only this dialect knows."""
        self._index += 1
        given, frames = block.get("input"), []
        started = {**block, "input": {}} if isinstance(given, dict) else block
        frames.append(_frame("content_block_start", index=self._index, content_block=started))
        if isinstance(given, dict) and given:
            piece = {"type": "input_json_delta", "partial_json": encode_line(given).decode()}
            frames.append(_frame("content_block_delta", index=self._index, delta=piece))
        frames.append(_frame("content_block_stop", index=self._index))
        return b"".join(frames)

    def _open_block(self, event: TextDelta | ReasoningDelta | ToolCallDelta) -> bytes:
        self._index += 1
        self._open, self._arguments = _block_of(event), Arguments()
        match event:
            case TextDelta():
                block, kind = {"type": "text", "text": ""}, b'text_delta","text'
            case ReasoningDelta():
                block, kind = thinking_block(""), b'thinking_delta","thinking'
            case ToolCallDelta():
                self._calls.add(event.index)
                block = call_block(event.id, event.name, "", event.extra)
                kind = b'input_json_delta","partial_json'
        if not isinstance(event, ToolCallDelta):
            block, self._block_extra = {**block, **self._block_extra}, {}
        self._before = (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"%b":'
            % (self._index, kind)
        )
        return _frame("content_block_start", index=self._index, content_block=block)

    def _may_close(self) -> bool:
        return not isinstance(self._open, int) or (
            bool(self._arguments)
            and not self._arguments.is_partial
            and is_object(self._arguments.text)
        )

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        head = b""
        if self._open == "thinking":
            if not self._is_signed:
                signed = {"type": "signature_delta", "signature": seal(merge_extra(*self._foreign))}
                head = _frame("content_block_delta", index=self._index, delta=signed)
            self._foreign, self._is_signed = [], False
        self._open = None
        return head + _frame("content_block_stop", index=self._index)

    def _encode_end(self, event: Finished) -> bytes:
        # The sort is stable: texts in their order, then the calls one after the other.
        held = sorted(self._held, key=lambda e: e.index if isinstance(e, ToolCallDelta) else -1)
        frames = [self._write(piece) for piece in held]
        self._held = []
        frames.append(self._close() + self._hand_out(None))
        fields = end_of(event.reason, event.stop_sequence, event.extra, calls=bool(self._calls))
        beside = {name: fields.pop(name) for name in _BESIDE & fields.keys()}
        frames.append(
            _frame(
                "message_delta",
                delta=fields,
                usage=write_usage(self._count.usage),
                **beside,
                **self._answer_extra,
            )
        )
        frames.append(_frame("message_stop"))
        return b"".join(frames)


def _frame(name: str, **members: Any) -> bytes:
    data = encode_line({"type": name, **members})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _block_of(event: _Piece) -> int | str:
    match event:
        case TextDelta():
            return "text"
        case ReasoningDelta():
            return "thinking"
        case ToolCallDelta():
            return event.index
        case ExtraDelta():
            return {"text": "text", "reasoning": "thinking"}.get(event.at, "part")


# What has its own deltas; everything else is in a block's start.
_IN_DELTAS = frozenset({"signature", "citations"})


def _deltas_of(members: Mapping[str, Any]) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = []
    if signature := members.get("signature"):
        deltas.append({"type": "signature_delta", "signature": signature})
    citations = members.get("citations")
    given = citations if isinstance(citations, list) else []
    return [*deltas, *({"type": "citations_delta", "citation": one} for one in given)]
