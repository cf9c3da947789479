"""Counts the tokens of an answer while it passes: as reported by the service, or estimated."""

from __future__ import annotations

from berlin.providers.contract import Burst
from berlin.types import ReasoningDelta, TextDelta, Usage, UsageReport
from berlin.types.usage import estimate_tokens


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

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        if self._reported is not None:
            return self._reported
        return Usage(self._input_tokens, estimate_tokens(self._chars), estimated=True)
