"""Collects the events of an answer into a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self, assert_never

import msgspec

from berlin.errors import ProtocolError, TruncatedStreamError
from berlin.types.events import (
    ExtraDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
    UsageReport,
)
from berlin.types.extra import Extra, MaybeExtra, merge_extra
from berlin.types.messages import OpaquePart, Part, ReasoningPart, TextPart, ToolCallPart
from berlin.types.usage import Usage


class ChatResponse(msgspec.Struct, frozen=True):
    """A whole answer.

    Attributes:
        parts: text, reasoning and tool calls in the order in which they arrived, with the
            dialect-specific members of each.
        finish_reason: why it ended.
        usage: the tokens it took, or `None` if the service does not say.
        conversation_id: the service's own id of the conversation, where it keeps conversations.
        message_id: its id of the answer.
        stop_sequence: the stop sequence that ended it, where the service names it.
        started: who answered, if known.
        extra: the dialect-specific members of the answer as a whole.
        choice_extra: about its choice.
        message_extra: about its message.
        finish_extra: about its end.
        parsed: the value of the type given as `response_format`; `None` without one.
    """

    parts: tuple[Part, ...]
    finish_reason: FinishReason = "stop"
    usage: Usage | None = None
    conversation_id: str = ""
    message_id: str = ""
    stop_sequence: str | None = None
    started: Started | None = None
    extra: MaybeExtra = None
    choice_extra: MaybeExtra = None
    message_extra: MaybeExtra = None
    finish_extra: MaybeExtra = None
    parsed: Any = None

    @classmethod
    def of(
        cls,
        text: str,
        finish_reason: FinishReason = "stop",
        usage: Usage | None = None,
        reasoning: str = "",
        tool_calls: tuple[ToolCallPart, ...] = (),
    ) -> Self:
        """Return an answer made of reasoning, text and tool calls, in this order."""
        thought = (ReasoningPart(reasoning),) if reasoning else ()
        said = (TextPart(text),) if text else ()
        return cls((*thought, *said, *tool_calls), finish_reason, usage)

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join([part.text for part in self.parts if isinstance(part, TextPart)])

    @property
    def reasoning(self) -> str:
        """The reasoning that the model showed."""
        return "".join([part.text for part in self.parts if isinstance(part, ReasoningPart)])

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls that the model asks for."""
        return tuple(part for part in self.parts if isinstance(part, ToolCallPart))


class _Open:
    """A part of text or reasoning while it is being built."""

    def __init__(self, kind: type[TextPart | ReasoningPart]) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.extra: MaybeExtra = None

    def part(self) -> Part | None:
        text = "".join(self.pieces)
        return self.kind(text, self.extra) if text or self.extra is not None else None


class _OpenCall:
    """A tool call while it is being built."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []
        self.extra: MaybeExtra = None

    def add(self, event: ToolCallDelta) -> None:
        self.id = self.id or event.id
        self.name = self.name or event.name
        self.arguments.append(event.arguments)
        if event.extra is not None:
            self.extra = merge_extra(self.extra, event.extra)

    def part(self) -> Part:
        return ToolCallPart(self.id, self.name, "".join(self.arguments) or "{}", self.extra)


class _Whole:
    """A part that arrived whole."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def part(self) -> Part:
        return self._part


MAX_ANSWER_BYTES = 16 * 1024 * 1024
# The overhead besides the text: of an event, and of a part or a call of its own.
EVENT_BYTES = 16
PART_BYTES = 512


class AnswerLimit:
    """Counts the bytes of an answer held as a whole: a service may never stop.

    Args:
        limit: the most bytes.
        what: what is held, for the error.
    """

    def __init__(self, limit: int = MAX_ANSWER_BYTES, what: str = "the whole answer") -> None:
        self._limit = limit
        self._what = what
        self._size = 0

    def count(self, event: StreamEvent) -> None:
        """Count an event. Raises ProtocolError if the answer is longer than the limit."""
        size = EVENT_BYTES
        match event:
            case TextDelta() | ReasoningDelta() | TextReplaced():
                size += len(event.text)
            case ToolCallDelta():
                size += len(event.arguments) + len(event.name) + len(event.id)
            case ExtraDelta():
                own = event.opens or event.at == "part"
                size += len(str(event.extra.members)) + PART_BYTES * own
            case _:
                pass
        self.take(size)

    def take(self, size: int) -> None:
        """Count bytes. Raises ProtocolError if the answer is longer than the limit."""
        self._size += size
        if self._size > self._limit:
            raise ProtocolError(f"{self._what} is longer than {self._limit} bytes and does not end")


class Accumulator:
    """Folds the events of an answer, one after the other.

    Args:
        limit: the most bytes of a whole answer: a service may never stop.
    """

    def __init__(self, limit: int = MAX_ANSWER_BYTES) -> None:
        self._limit = AnswerLimit(limit)
        self._parts: list[_Open | _OpenCall | _Whole] = []
        self._last: _Open | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._started: Started | None = None
        self._extras: dict[str, MaybeExtra] = {}

    def add(self, event: StreamEvent) -> None:
        """Take the next event. Raises ProtocolError."""
        if type(event) is not TextReplaced:  # it takes the place of what was counted
            self._limit.count(event)
        match event:
            case TextDelta():
                self._open(TextPart).pieces.append(event.text)
            case TextReplaced():
                self._parts = [
                    part
                    for part in self._parts
                    if not (isinstance(part, _Open) and part.kind is TextPart)
                ]
                self._open(TextPart, restart=True).pieces.append(event.text)
            case ReasoningDelta():
                self._open(ReasoningPart).pieces.append(event.text)
            case ToolCallDelta():
                self._add_call(event)
            case UsageReport():
                self._usage = event.usage
            case Started():
                self._started = event
            case ExtraDelta():
                self._add_extra(event)
            case Finished():
                self._finished = event
            case _:
                assert_never(event)

    def response(self) -> ChatResponse:
        """Return the whole answer. Raises TruncatedStreamError."""
        end = self._finished
        if end is None:
            raise TruncatedStreamError("the stream ended without saying that it was finished")
        # Calls keep the order of their indexes, in the positions where calls arrived.
        calls = iter([call for _, call in sorted(self._calls.items())])
        built = [next(calls) if isinstance(part, _OpenCall) else part for part in self._parts]
        return ChatResponse(
            tuple(part for each in built if (part := each.part()) is not None),
            end.reason,
            self._usage,
            end.conversation_id,
            end.message_id,
            end.stop_sequence,
            self._started,
            self._extras.get("answer"),
            self._extras.get("choice"),
            self._extras.get("message"),
            end.extra,
        )

    def _open(self, kind: type[TextPart | ReasoningPart], *, restart: bool = False) -> _Open:
        last = self._last
        if last is None or last.kind is not kind or restart:
            last = self._last = _Open(kind)
            self._parts.append(last)
        return last

    def _add_call(self, event: ToolCallDelta) -> None:
        call = self._calls.get(event.index)
        if call is None:
            self._limit.take(PART_BYTES)
            call = self._calls[event.index] = _OpenCall()
            self._parts.append(call)
            self._last = None
        call.add(event)

    def _add_extra(self, event: ExtraDelta) -> None:
        match event.at:
            case "text" | "reasoning":
                kind = TextPart if event.at == "text" else ReasoningPart
                part = self._open(kind, restart=event.opens)
                if event.extra.members:
                    part.extra = merge_extra(part.extra, event.extra)
            case "part":
                self._parts.append(_Whole(OpaquePart(event.extra)))
                self._last = None
            case "answer":
                self._extras["answer"] = _replace(self._extras.get("answer"), event.extra)
            case _:
                self._extras[event.at] = merge_extra(self._extras.get(event.at), event.extra)


def _replace(known: MaybeExtra, more: Extra) -> Extra:
    if known is None or known.dialect != more.dialect:
        return more
    return Extra(more.dialect, {**known.members, **more.members})


async def accumulate(stream: AsyncIterator[StreamEvent]) -> ChatResponse:
    """Read a stream to its end and return the whole answer. Raises TruncatedStreamError."""
    answer = Accumulator()
    async for event in stream:
        answer.add(event)
    return answer.response()
