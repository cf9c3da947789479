"""Counts the tokens of an answer while it passes: as reported by the service, or estimated."""

from __future__ import annotations

from berlin.providers.contract import Burst
from berlin.types import ReasoningDelta, TextDelta, ToolCallDelta, Usage, UsageReport
from berlin.types.usage import usage_with


class Meter:
    """Counts the tokens of one request.

    Args:
        input_tokens: the request's tokens, estimated, if the service reports none.

    Attributes:
        began: whether anything was answered.
    """

    def __init__(self, input_tokens: int) -> None:
        self._input_tokens = input_tokens
        self._chars = 0
        self._reported: Usage | None = None
        self.began = False

    def note(self, burst: Burst) -> None:
        """Record a burst."""
        self.began = True
        for event in burst:
            if type(event) is TextDelta or type(event) is ReasoningDelta:
                self._chars += len(event.text)
            elif type(event) is UsageReport:
                self._reported = event.usage
            elif type(event) is ToolCallDelta:
                self._chars += len(event.name) + len(event.arguments)

    @property
    def usage(self) -> Usage:
        """The tokens of a complete answer."""
        return usage_with(self._reported, self._input_tokens, self._chars)

    @property
    def usage_so_far(self) -> Usage:
        """The tokens of an answer that was left or broke off."""
        return usage_with(self._reported, self._input_tokens, self._chars, whole=False)
