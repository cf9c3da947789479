"""What all decoders share: documents are decoded a read at a time, and an answer ends in order.

A subclass says what a document means. What came before a bad document is always delivered,
wherever the reads were cut.
"""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.errors import BerlinError, EmptyResponseError, ProtocolError, TruncatedStreamError
from berlin.language.stream import Ends
from berlin.types import Finished, FinishReason, StreamEvent, ToolCallDelta, Usage, UsageReport
from berlin.wire.framings import Framer
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.snippet import snippet


class DocumentDecoder:
    """Decodes one answer; see `EventDecoder`.

    Args:
        framer: cuts the bytes into documents.
        decoder: decodes a document into what `_take` knows.
        ends: what a good answer ends with.

    Attributes:
        failure: why the answer is bad, once that is known.
        done: whether the answer is whole; what follows is not read.
    """

    def __init__(self, framer: Framer, decoder: msgspec.json.Decoder[Any], ends: Ends) -> None:
        self.failure: BerlinError | None = None
        self.done = False
        self._framer = framer
        self._decode_one = decoder.decode
        self._decode_lines = decoder.decode_lines
        self._ends = ends
        self._answered = False
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._conversation_id = ""
        self._message_id = ""
        self._calls = ToolCallIndex()

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete."""
        if self.failure is not None or self.done:
            return []
        try:
            documents = self._framer.feed(data)
        except ProtocolError as error:
            self.failure = error
            return []
        events = self._decode(documents) if documents else []
        if self.failure is None and (self._framer.done or self.done):
            self._end(events)
        return events

    def finish(self) -> list[StreamEvent]:
        """Take the end of the answer and return the last events."""
        if self.failure is not None or self.done:
            return []
        try:
            rest = self._framer.finish()
        except ProtocolError as error:
            self.failure = error
            return []
        events = self._decode(rest) if rest else []
        self._end_after(rest, events)
        return events

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        """Add what a document says to the events; return whether the answer goes on.

        If it does not, `failure` says why, or `done` is set. May raise one of DECODE_ERRORS.
        """
        raise NotImplementedError

    def _take_odd(self, line: bytes) -> bool:
        """Take a document that cannot be decoded; return whether that was possible."""
        return False

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        """Take the documents of a read, until one of them ends the answer."""
        take = self._take
        for document in documents:
            if not take(document, events):
                return

    def _end_after(self, rest: list[bytes], events: list[StreamEvent]) -> None:
        if isinstance(self.failure, ProtocolError) and rest and _is_cut(rest[-1]):
            self.failure = TruncatedStreamError(
                f"the answer was cut off in the middle of a line: {snippet(rest[-1])!r}"
            )
        if self.failure is None:
            self._end(events)

    def _end(self, events: list[StreamEvent]) -> None:
        """Add the last events, if the answer is whole."""
        reason = self._reason
        if reason is None and not self._answered:
            self.failure = EmptyResponseError("the service sent an empty answer")
            return
        if reason is None and self._ends == "finish_reason" and not self._is_marked:
            self.failure = TruncatedStreamError("the answer ended without a finish reason")
            return
        if self._calls.count and reason in (None, "stop"):
            reason = "tool_calls"
        if self._usage is not None:
            events.append(UsageReport(self._usage))
        events.append(Finished(reason or "stop", self._conversation_id, self._message_id))
        self.done = True

    @property
    def _is_marked(self) -> bool:
        return self.done or self._framer.done

    def _decode(self, documents: list[bytes]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        decoded: list[Any] | None
        try:
            decoded = list(map(self._decode_one, documents))
        except DECODE_ERRORS:
            decoded = None
        if decoded is not None:
            self._take_block(decoded, events)
        else:
            # Something is odd (or a blank line stands between): one by one, so that whatever
            # comes before a bad document is delivered, wherever the reads were cut. Not within an
            # `except`: the first error, which holds the documents, would be the next one's context.
            self._decode_one_by_one(documents, events)
        return events

    def _decode_one_by_one(self, documents: list[bytes], events: list[StreamEvent]) -> None:
        for document in documents:
            if not document or document.isspace():
                continue
            try:
                # Two objects on one line are both taken.
                several = b"\n" not in document
                decoded = self._decode_lines(document) if several else [self._decode_one(document)]
            except DECODE_ERRORS as error:
                if self._take_odd(document):
                    if self.failure is not None or self.done:
                        return
                    continue
                why = _why(document, error)
                self.failure = ProtocolError(f"a line is not as described: {why}")
                self.failure.__cause__ = error.with_traceback(None)
                return
            self._take_block(decoded, events)
            if self.failure is not None or self.done:
                return

    def _take_block(self, documents: list[Any], events: list[StreamEvent]) -> None:
        try:
            self._take_all(documents, events)
        except DECODE_ERRORS as error:
            self.failure = ProtocolError(f"a line is not as described: {error}")
        if events:
            self._answered = True


class ToolCallIndex:
    """Numbers the tool calls of an answer from 0, whatever numbers and ids the service gives.

    Attributes:
        count: how many calls there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int, int] = {}
        self._last = 0

    def delta(
        self, index: int | None, id: str | None, name: str | None, arguments: str | None
    ) -> ToolCallDelta:
        """Return the event for a piece of a call.

        A piece belongs to the call with its id; without one, to the call with its index; without
        either, to the last call, unless it names a tool: then it is a new one. An id that is
        missing is made up.
        """
        known = self._find(index, id, name)
        if known is None:
            known = self.count
            self.count += 1
            id = id or f"call_{known}"
            self._by_id[id] = known
        else:
            id, name = "", ""
        if index is not None:
            self._by_index[index] = known
        self._last = known
        return ToolCallDelta(known, id, name or "", arguments or "")

    def _find(self, index: int | None, id: str | None, name: str | None) -> int | None:
        if id:
            return self._by_id.get(id)
        if index is not None:
            return self._by_index.get(index)
        return self._last if self.count and not name else None


def _is_cut(rest: bytes) -> bool:
    """Whether this is the beginning of an object, not a whole one that is wrong."""
    if not rest.lstrip().startswith(b"{"):
        return False
    try:
        msgspec.json.decode(rest)
    except DECODE_ERRORS:
        return True
    return False


def _why(line: bytes, error: Exception) -> str:
    reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
    return f"{snippet(reason, 80)} in {snippet(line)!r}"
