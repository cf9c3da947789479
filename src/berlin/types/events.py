"""Events: what an answer is made of while it streams in."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from berlin.types.usage import Usage

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the answer's text; never empty."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the model's reasoning; never empty."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call.

    Attributes:
        index: which call, counted from 0 over tool calls only.
        id: the call's id, in its first piece.
        name: the tool's name, in its first piece.
        arguments: the next piece of the arguments, as JSON text.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class UsageReport(msgspec.Struct, frozen=True):
    """What the answer has cost so far; a later report replaces an earlier one."""

    usage: Usage


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The end: exactly one in a stream, and its last event.

    Attributes:
        reason: why the answer ended.
        conversation_id: the service's own id of the conversation, where it keeps them.
        message_id: its id of the answer.
    """

    reason: FinishReason = "stop"
    conversation_id: str = ""
    message_id: str = ""


StreamEvent: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta | UsageReport | Finished
