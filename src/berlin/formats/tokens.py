"""The usage of an answer: as reported by the service, or an estimate marked as one."""

from __future__ import annotations

from functools import cached_property

from berlin.types import (
    AnswerLimit,
    ChatRequest,
    ChatResponse,
    ExtraDelta,
    Part,
    ReasoningDelta,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from berlin.types.accumulate import PART_BYTES
from berlin.types.usage import estimate_tokens, usage_with


class TokenCount:
    """Counts while an answer is written.

    Attributes:
        chars: length of the answer so far.
    """

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self.chars = 0
        self._reported: Usage | None = None
        self._held = AnswerLimit(what="what has to be held of the stream")

    def add(self, text: str) -> None:
        """Count a piece of the answer."""
        self.chars += len(text)

    def hold(self, event: TextDelta | ReasoningDelta | ToolCallDelta | ExtraDelta) -> None:
        """Count a piece of the answer that stays in memory until the end.

        Raises:
            ProtocolError: if that is too much.
        """
        match event:
            case TextDelta(text) | ReasoningDelta(text) | ToolCallDelta(arguments=text):
                self.chars += len(text)
        self._held.count(event)

    def take_parts(self, count: int) -> None:
        """Count parts that are written one by one. Raises ProtocolError if there are too many."""
        self._held.take(count * PART_BYTES)

    def report(self, usage: Usage | None) -> None:
        """Take the service's own report, which takes precedence over any estimate."""
        self._reported = usage or self._reported

    @cached_property
    def input_tokens(self) -> int:
        """An estimate of the prompt tokens, including tools and their results."""
        return prompt_tokens(self._request)

    @property
    def usage(self) -> Usage:
        """The usage so far."""
        if self._reported is not None and self._reported.lacks is None:
            return self._reported
        return usage_with(self._reported, self.input_tokens, self.chars)


def prompt_tokens(request: ChatRequest) -> int:
    """Return an estimate of the tokens of a prompt, including tools and their results."""
    chars = 0
    for tool in request.tools:
        chars += len(tool.name) + len(tool.description) + len(tool.parameters)
    for message in request.messages:
        for part in message.parts:
            chars += len(part.text) if type(part) is TextPart else _chars(part)
    return estimate_tokens(chars)


def usage_of(request: ChatRequest, response: ChatResponse) -> Usage:
    """Return the usage of a whole answer."""
    count = TokenCount(request)
    count.add(response.text + response.reasoning)
    count.add("".join(part.arguments for part in response.tool_calls))
    count.report(response.usage)
    return count.usage


def _chars(part: Part) -> int:
    match part:
        case ToolCallPart():
            return len(part.name) + len(part.arguments)
        case ToolResultPart():
            return len(part.content)
        case _:
            return 0
