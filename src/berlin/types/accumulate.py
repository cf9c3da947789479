"""A whole answer is a fold over its events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_never

import msgspec

from berlin.errors import TruncatedStreamError
from berlin.types.events import (
    ExtraDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from berlin.types.messages import ToolCallPart
from berlin.types.usage import Usage


class ChatResponse(msgspec.Struct, frozen=True):
    """A whole answer.

    Attributes:
        text: the answer.
        reasoning: what the model showed of its reasoning.
        tool_calls: the calls that it asks for.
        finish_reason: why it ended.
        usage: what it cost, or `None` where the service does not say.
        conversation_id: the service's own id of the conversation, where it keeps them.
        message_id: its id of the answer.
        started: who answered, where there is something to say of that.
        extras: what only the service's dialect has a word for.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    conversation_id: str = ""
    message_id: str = ""
    started: Started | None = None
    extras: tuple[ExtraDelta, ...] = ()


class Accumulator:
    """Folds the events of an answer, one after the other."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._started: Started | None = None
        self._extras: list[ExtraDelta] = []

    def add(self, event: StreamEvent) -> None:
        """Take the next event."""
        match event:
            case TextDelta():
                self._text.append(event.text)
            case ReasoningDelta():
                self._reasoning.append(event.text)
            case ToolCallDelta():
                ids, names, arguments = self._calls.setdefault(event.index, ([], [], []))
                ids += [event.id] if event.id else []
                names += [event.name] if event.name else []
                arguments.append(event.arguments)
            case UsageReport():
                self._usage = event.usage
            case Started():
                self._started = event
            case ExtraDelta():
                self._extras.append(event)
            case Finished():
                self._finished = event
            case _:
                assert_never(event)

    def response(self) -> ChatResponse:
        """Return the whole answer.

        Raises:
            TruncatedStreamError: if no event was a `Finished`.
        """
        if self._finished is None:
            raise TruncatedStreamError("the stream ended without saying that it was finished")
        calls = tuple(
            ToolCallPart("".join(ids[:1]), "".join(names[:1]), "".join(arguments) or "{}")
            for _, (ids, names, arguments) in sorted(self._calls.items())
        )
        return ChatResponse(
            "".join(self._text),
            self._finished.reason,
            self._usage,
            "".join(self._reasoning),
            calls,
            self._finished.conversation_id,
            self._finished.message_id,
            self._started,
            tuple(self._extras),
        )


async def accumulate(stream: AsyncIterator[StreamEvent]) -> ChatResponse:
    """Read a stream to its end and return the whole answer.

    Raises:
        TruncatedStreamError: if the stream ends without a `Finished`.
    """
    answer = Accumulator()
    async for event in stream:
        answer.add(event)
    return answer.response()
