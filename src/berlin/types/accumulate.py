"""A whole answer is a fold over its events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_never

import msgspec

from berlin.errors import TruncatedStreamError
from berlin.types.events import (
    Finished,
    FinishReason,
    ReasoningDelta,
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
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()


async def accumulate(stream: AsyncIterator[StreamEvent]) -> ChatResponse:
    """Read a stream to its end and return the whole answer.

    Raises:
        TruncatedStreamError: if the stream ends without a `Finished`.
    """
    text: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, list[str]] = {}
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    async for event in stream:
        match event:
            case TextDelta():
                text.append(event.text)
            case ReasoningDelta():
                reasoning.append(event.text)
            case ToolCallDelta():
                call = calls.setdefault(event.index, ["", "", ""])
                call[0] = call[0] or event.id
                call[1] = call[1] or event.name
                call[2] += event.arguments
            case UsageReport():
                usage = event.usage
            case Finished():
                finish_reason = event.reason
            case _:
                assert_never(event)
    if finish_reason is None:
        raise TruncatedStreamError("the stream ended without saying that it was finished")
    return ChatResponse(
        "".join(text),
        finish_reason,
        usage,
        "".join(reasoning),
        tuple(ToolCallPart(*calls[index]) for index in sorted(calls)),
    )
