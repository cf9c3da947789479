"""Measures an answer while it passes."""

from __future__ import annotations

from berlin.providers.contract import Burst
from berlin.types import ReasoningDelta, TextDelta, ToolCallDelta, Usage, UsageReport


class Meter:
    """Measures one answer.

    Attributes:
        chars: the length of its text, reasoning and tool calls so far.
        reported: the usage that the service reports.
    """

    __slots__ = ("chars", "reported")

    def __init__(self) -> None:
        self.chars = 0
        self.reported: Usage | None = None

    def note(self, burst: Burst) -> None:
        """Record a burst."""
        for event in burst:
            if type(event) is TextDelta or type(event) is ReasoningDelta:
                self.chars += len(event.text)
            elif type(event) is UsageReport:
                self.reported = event.usage
            elif type(event) is ToolCallDelta:
                self.chars += len(event.name) + len(event.arguments)
