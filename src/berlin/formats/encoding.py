"""The base of all encoders: which event is written how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import assert_never

from berlin.errors import BerlinError, RewrittenError
from berlin.formats.tokens import TokenCount
from berlin.types import (
    ExtraDelta,
    Finished,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
    Usage,
    UsageReport,
)


class EventEncoder(ABC):
    """Turns the events of one answer into bytes. A subclass says how it writes each kind of event;
    what it does not write is left out.
    """

    _count: TokenCount

    def encode_burst(self, burst: Sequence[StreamEvent]) -> bytes:
        """Return the bytes of events that arrived together. Raises as `encode_event` does."""
        return b"".join(map(self.encode_event, burst))

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the bytes of one event, with those around the answer for the first and last.

        Raises:
            RewrittenError: if the event replaces text that was already written.
        """
        match event:
            case TextDelta():
                return self._encode_text(event)
            case ReasoningDelta():
                return self._encode_reasoning(event)
            case ToolCallDelta():
                return self._encode_call(event)
            case ExtraDelta():
                return self._encode_extra(event)
            case UsageReport():
                self._report(event.usage)
                return b""
            case Finished():
                return self._encode_end(event)
            case TextReplaced():
                raise RewrittenError.of_stream()
            case Started():
                return b""
            case _:
                assert_never(event)

    @abstractmethod
    def encode_error(self, error: BerlinError) -> bytes:
        """Return the bytes that tell of an error after the answer has begun."""

    @abstractmethod
    def keep_alive(self) -> bytes:
        """Return the bytes of a keep-alive; `b""` if the dialect has none."""

    @abstractmethod
    def _encode_text(self, event: TextDelta) -> bytes:
        """Return the bytes of a piece of text."""

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        return b""

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        return b""

    def _encode_extra(self, event: ExtraDelta) -> bytes:
        return b""

    @abstractmethod
    def _encode_end(self, event: Finished) -> bytes:
        """Return the bytes that end an answer."""

    def _report(self, usage: Usage) -> None:
        self._count.report(usage)
