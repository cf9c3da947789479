"""Collects the events of an answer into a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
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
        self.extras: list[Extra] = []

    def part(self) -> Part | None:
        text, extra = "".join(self.pieces), merge_extra(*self.extras)
        return self.kind(text, extra) if text or extra is not None else None


class _OpenCall:
    """A tool call while it is being built."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.arguments: list[str] = []
        self.extras: list[MaybeExtra] = []

    def add(self, event: ToolCallDelta) -> None:
        self.id = self.id or event.id
        self.name = self.name or event.name
        self.arguments.append(event.arguments)
        self.extras.append(event.extra)

    def part(self) -> Part:
        arguments = "".join(self.arguments) or "{}"
        return ToolCallPart(self.id, self.name, arguments, merge_extra(*self.extras))


class _Whole:
    """A part that arrived whole."""

    def __init__(self, part: Part) -> None:
        self._part = part

    def part(self) -> Part:
        return self._part


MAX_ANSWER_BYTES = 16 * 1024 * 1024
# What an event, a switch between text and reasoning, and a part or a call of its own count besides
# their text. So an answer has at most 4,096 calls and parts: each costs work at its end.
EVENT_BYTES = 16
SWITCH_BYTES = 512
PART_BYTES = 4096


def _size_of(members: Mapping[str, Any]) -> int:
    try:
        return len(msgspec.json.encode(members))
    except (TypeError, ValueError):  # of a program's own provider
        return len(str(members))


class AnswerLimit:
    """Counts the bytes of an answer held as a whole: a service may never stop.

    Args:
        limit: the most bytes.
        what: what is held, for the error.

    Attributes:
        size: the bytes so far.
    """

    def __init__(self, limit: int = MAX_ANSWER_BYTES, what: str = "the whole answer") -> None:
        self._limit = limit
        self._what = what
        self.size = 0

    def count(self, event: StreamEvent) -> None:
        """Count an event. Raises ProtocolError if the answer is longer than the limit."""
        size = EVENT_BYTES
        match event:
            case TextDelta() | ReasoningDelta() | TextReplaced():
                size += len(event.text)
            case ToolCallDelta():
                size += len(event.arguments) + len(event.name) + len(event.id)
                size += PART_BYTES * bool(event.name)
            case ExtraDelta():
                own = event.opens or event.at == "part"
                size += _size_of(event.extra.members) + PART_BYTES * own
            case _:
                pass
        self.take(size)

    def take(self, size: int) -> None:
        """Count bytes. Raises ProtocolError if the answer is longer than the limit."""
        self.size += size
        if self.size > self._limit:
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
        self._texts = 0
        self._calls: dict[int, _OpenCall] = {}
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._started: Started | None = None
        self._extras: dict[str, list[Extra]] = {}

    def add_all(self, burst: list[StreamEvent]) -> None:
        """Take the events of a burst. Raises ProtocolError."""
        limit = self._limit
        for event in burst:
            last = self._last
            if type(event) is TextDelta and last is not None and last.kind is TextPart:
                limit.size += EVENT_BYTES + len(event.text)
                last.pieces.append(event.text)
            else:
                self.add(event)
        limit.take(0)

    def add(self, event: StreamEvent) -> None:
        """Take the next event. Raises ProtocolError."""
        if type(event) is not TextReplaced:  # it takes the place of what was counted
            self._limit.count(event)
        match event:
            case TextDelta():
                self._open(TextPart).pieces.append(event.text)
            case TextReplaced():
                self._replace_text(event.text)
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

    @property
    def size(self) -> int:
        """About how many bytes the answer has."""
        return self._limit.size

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
            _replace(self._extras.get("answer", ())),
            merge_extra(*self._extras.get("choice", ())),
            merge_extra(*self._extras.get("message", ())),
            end.extra,
        )

    def _open(self, kind: type[TextPart | ReasoningPart], *, restart: bool = False) -> _Open:
        last = self._last
        if last is None or last.kind is not kind or restart:
            self._limit.take(SWITCH_BYTES)
            last = self._last = _Open(kind)
            self._parts.append(last)
            self._texts += kind is TextPart
        return last

    def _replace_text(self, text: str) -> None:
        last = self._last
        if last is None or last.kind is not TextPart or self._texts > 1:
            self._parts = [
                part
                for part in self._parts
                if not (isinstance(part, _Open) and part.kind is TextPart)
            ]
            self._texts = 0
            last = self._open(TextPart, restart=True)
        last.pieces, last.extras = [text], []

    def _add_call(self, event: ToolCallDelta) -> None:
        call = self._calls.get(event.index)
        if call is None:
            self._limit.take(0 if event.name else PART_BYTES)
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
                    part.extras.append(event.extra)
            case "part":
                self._parts.append(_Whole(OpaquePart(event.extra)))
                self._last = None
            case _:
                self._extras.setdefault(event.at, []).append(event.extra)


def _replace(extras: Sequence[Extra]) -> MaybeExtra:
    """Return members of which later ones replace earlier ones."""
    if not extras:
        return None
    dialect = extras[-1].dialect
    members: dict[str, Any] = {}
    for extra in extras:
        if extra.dialect == dialect:
            members.update(extra.members)
    return Extra(dialect, members)


async def accumulate(stream: AsyncIterator[StreamEvent]) -> ChatResponse:
    """Read a stream to its end and return the whole answer. Raises TruncatedStreamError."""
    answer = Accumulator()
    async for event in stream:
        answer.add(event)
    return answer.response()
