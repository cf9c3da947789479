"""Events: the pieces of a streamed answer."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from berlin.errors import FailedAttempt
from berlin.types.extra import Extra, MaybeExtra
from berlin.types.usage import Usage

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
Place: TypeAlias = Literal["answer", "choice", "message", "text", "reasoning", "part"]


class Started(msgspec.Struct, frozen=True, gc=False):
    """Names the provider and model that answer: an optional first event.

    Attributes:
        provider: the name of the provider that answers.
        model: its own name of the model.
        attempts: how many requests were sent, including failed ones.
        dropped: members of the request that this service's dialect cannot express.
        failed: the attempts that failed before this one, in order.
        age_s: how old the answer is, if it comes from a cache; `None` if it is new.
        began_at: when the attempt that succeeded began, in seconds on the monotonic clock; 0 if it
            is the only one, or unknown.
    """

    provider: str = ""
    model: str = ""
    attempts: int = 1
    dropped: tuple[str, ...] = ()
    failed: tuple[FailedAttempt, ...] = ()
    age_s: float | None = None
    began_at: float = 0.0


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """The next piece of the answer's text; never empty."""

    text: str


class TextReplaced(msgspec.Struct, frozen=True, gc=False):
    """Replaces all text so far: the service has rewritten its answer.

    A whole answer has the last text. What a stream has shown cannot be taken back, so it ends with
    `RewrittenError`.
    """

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
        extra: its dialect-specific members, such as a thought signature.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: MaybeExtra = None


class ExtraDelta(msgspec.Struct, frozen=True, gc=False):
    """Dialect-specific members, between the events common to all dialects.

    Attributes:
        extra: the members, verbatim; pieces of one value may arrive one after the other.
        at: where they belong: to the answer as a whole (a later value replaces an earlier one),
            to its choice or its message, to the text or the reasoning part that is being built
            (or begins with the next event), or they are a whole part of their own.
        opens: whether a new part begins here, for `text` and `reasoning`.
    """

    extra: Extra
    at: Place = "message"
    opens: bool = False


class UsageReport(msgspec.Struct, frozen=True):
    """The tokens used so far; a later report replaces an earlier one."""

    usage: Usage


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The end: exactly one in a stream, and its last event.

    Attributes:
        reason: why the answer ended.
        conversation_id: the service's own id of the conversation, where it keeps conversations.
        message_id: its id of the answer.
        stop_sequence: the stop sequence that ended the answer, if the service names it.
        extra: the dialect-specific members of the end, such as its own finish reason.
    """

    reason: FinishReason = "stop"
    conversation_id: str = ""
    message_id: str = ""
    stop_sequence: str | None = None
    extra: MaybeExtra = None


StreamEvent: TypeAlias = (
    Started
    | TextDelta
    | TextReplaced
    | ReasoningDelta
    | ToolCallDelta
    | ExtraDelta
    | UsageReport
    | Finished
)
