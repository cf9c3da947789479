"""The base of all decoders: decodes documents one read at a time, and ends answers in order.

A subclass says what a document means. What came before an invalid document is always delivered, at
any chunk boundaries.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from berlin.errors import (
    BerlinError,
    EmptyResponseError,
    ProtocolError,
    ServiceUnavailableError,
    TruncatedStreamError,
)
from berlin.formats.finish import BROKEN_OFF, finish_reason_of, normalize_word
from berlin.formats.loose import JsonRepairer
from berlin.formats.tool_calls import ToolCallAssembler
from berlin.language.tables.stream import Ends
from berlin.types import (
    Extra,
    ExtraDelta,
    Finished,
    FinishReason,
    MaybeExtra,
    StreamEvent,
    TextDelta,
    Usage,
    UsageReport,
)
from berlin.wire.around import AroundText
from berlin.wire.framings import FRAMINGS, Framer
from berlin.wire.json import DECODE_ERRORS, MAX_VALUES, encode_value, has_many_values
from berlin.wire.snippet import snippet


class EventDecoder(ABC):
    """Turns the bytes of one answer into events, at any chunk boundaries.

    Args:
        framer: cuts the bytes into documents.
        decoder: decodes a document into what `_take` knows.
        ends: what ends a complete answer.
        document_end: the bytes after each document, if the meaning of a text does not depend on
            what came before it.

    Attributes:
        failure: why the answer failed, once known. The events returned before are valid.
        done: whether the answer is complete; what follows is not read.
    """

    def __init__(
        self,
        framer: Framer,
        decoder: msgspec.json.Decoder[Any],
        ends: Ends,
        document_end: bytes = b"",
    ) -> None:
        self.failure: BerlinError | None = None
        self.done = False
        self._framer = framer
        self._decode_one = self._decode_fast = decoder.decode
        self._decode_lines = decoder.decode_lines
        self._ends = ends
        self._around = AroundText(document_end)
        self._answered = False
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._conversation_id = ""
        self._message_id = ""
        self._stop_sequence: str | None = None
        self._finish_extra: MaybeExtra = None
        self._calls = ToolCallAssembler()

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete."""
        if self.failure is not None or self.done:
            return []
        if text := self._around.text(data):
            return [TextDelta(text)]
        try:
            documents = self._framer.feed(data)
        except ProtocolError as error:
            self.failure = error
            return []
        if not documents:
            events = []
        elif len(documents[0]) > MAX_VALUES or len(data) > MAX_VALUES:
            events = self._decode_large(documents)
        else:
            events = self._decode(documents)
        only = events[0] if len(events) == 1 and self.failure is None else None
        self._around.learn(data, documents, only.text if type(only) is TextDelta else "")
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
        events = self._decode_large(rest) if rest else []
        self._end_after(rest, events)
        return events

    @abstractmethod
    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        """Add a document's events; return whether the answer continues.

        If it does not, `failure` says why, or `done` is set. May raise one of DECODE_ERRORS.
        """

    def _decode_loosely(self, document: bytes) -> Any:
        """Decode a document that the strict decoder refuses; `None` if it cannot be understood."""
        return None

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
        """Add the last events, if the answer is complete."""
        self._calls.flush(events)
        reason = self._reason
        if reason is None and not self._answered and not self._calls.count:
            self.failure = EmptyResponseError("the service sent an empty answer")
            return
        is_marked = self.done or self._framer.done
        if reason is None and self._ends == "finish_reason" and not is_marked:
            self.failure = TruncatedStreamError("the answer ended without a finish reason")
            return
        if self._calls.nameless:
            self.failure = ProtocolError("the service asks for a tool without naming it")
            return
        if self._calls.count and reason in (None, "stop"):
            reason = "tool_calls"
        if self._usage is not None:
            events.append(UsageReport(self._usage))
        events.append(
            Finished(
                reason or "stop",
                self._conversation_id,
                self._message_id,
                self._stop_sequence,
                self._finish_extra,
            )
        )
        self.done = True

    def _decode_large(self, documents: list[bytes]) -> list[StreamEvent]:
        """Decode documents, up to one that has too many values."""
        large = next((n for n, each in enumerate(documents) if has_many_values(each)), None)
        events = self._decode(documents[:large])
        if large is not None and self.failure is None and not self.done:
            self.failure = ProtocolError(
                f"a document of the answer has more than {MAX_VALUES} values"
            )
        return events

    def _decode(self, documents: list[bytes]) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        decoded: list[Any] | None
        try:
            decoded = list(map(self._decode_fast, documents))
        except DECODE_ERRORS:
            decoded = None
        if decoded is not None:
            self._take_fast(documents, decoded, events)
        else:
            # Something is odd (or there is a blank line): one by one, so that whatever
            # comes before a bad document is delivered, wherever the reads were cut. Not within an
            # `except`: the first error, which holds the documents, would be the next one's context.
            self._decode_one_by_one(documents, events)
        if events:
            self._answered = True
        return events

    def _take_fast(
        self, documents: list[bytes], decoded: list[Any], events: list[StreamEvent]
    ) -> None:
        """Take the documents of a read, all of which could be decoded."""
        self._take_block(decoded, events)

    def _decode_one_by_one(self, documents: list[bytes], events: list[StreamEvent]) -> None:
        for document in documents:
            if not document or document.isspace():
                continue
            try:
                # Two objects on one line are both taken.
                several = b"\n" not in document
                decoded = self._decode_lines(document) if several else [self._decode_one(document)]
            except DECODE_ERRORS as error:
                if (value := self._decode_loosely(document)) is not None:
                    self._take_block([value], events)
                    if self.failure is not None or self.done:
                        return
                    continue
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


_PINGS = frozenset({b"ping", b"pong", b"heartbeat", b"keepalive", b"keep-alive"})


class DialectDecoder(EventDecoder):
    """Decodes one answer of a built-in dialect; see `EventDecoder`.

    Text-only documents, nearly all of a stream, are decoded into a struct of the few
    members that matter. All others are examined as objects, so that no member is lost and a wrongly
    typed one does not cost the text. The number of keys shows whether a document has the same
    members as one examined before. `_take_fast` of a subclass leaves documents that are not just
    text to `_look_at`.

    Args:
        framer: cuts the bytes into documents.
        fast: decodes a text-only document.
    """

    def __init__(self, framer: Framer, fast: msgspec.json.Decoder[Any]) -> None:
        super().__init__(framer, _OBJECTS, "finish_reason", FRAMINGS["sse"].document_end)
        self._decode_fast = fast.decode
        self._plain: set[int] = set()
        self._repairer: JsonRepairer | None = None  # made for the first document that needs it
        # Sent with the first real event: before it, an error can still be a status.
        self._early: list[ExtraDelta] = []

    def _take_odd(self, line: bytes) -> bool:
        """Skip what only keeps the connection alive, and take odd marks of the end."""
        word = line.removeprefix(b"data:").strip(b' \t\r\n"[]').lower()
        self.done |= word == b"done"
        return self.done or word in _PINGS

    @abstractmethod
    def _take_object(self, document: dict[str, Any], events: list[StreamEvent]) -> bool:
        """Add an object's events; return whether the answer continues."""

    def _end_with(self, word: str) -> bool:
        """Take a finish reason; return whether the answer is whole."""
        if normalize_word(word) in BROKEN_OFF:
            self.failure = ServiceUnavailableError(f"the answer was broken off: {word[:40]}")
            return False
        self._reason = finish_reason_of(word)
        return True

    def _refuse(self, extra: Extra) -> None:
        """Report a refusal in the finish reason, as other dialects do, if nothing else ended it."""
        if self._reason == "stop":
            self._reason, self._finish_extra = "content_filter", extra

    def _look_at(self, document: bytes, events: list[StreamEvent]) -> bool:
        """Process a document as an object; return whether the answer continues."""
        before = len(events)
        self._decode_one_by_one([document], events)
        if len(events) == before + 1 and type(events[before]) is TextDelta and not self._early:
            self._plain.add(document.count(KEY))
        return self.failure is None and not self.done

    def _decode_loosely(self, document: bytes) -> Any:
        if b"\n" in document:
            # Lines of JSON, where one document or a stream of events was due.
            with contextlib.suppress(*DECODE_ERRORS):
                return self._decode_lines(document)
        self._repairer = self._repairer or JsonRepairer()
        return self._repairer.repair(document)

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        if isinstance(document, list) and document and all(isinstance(x, dict) for x in document):
            # Some services send errors, or all chunks at once, in a list.
            return all(self._take(item, events) for item in document)
        if not isinstance(document, dict):
            if document is None:
                return True
            if isinstance(document, str) and self._take_odd(document.encode()):
                return not self.done
            said = snippet(encode_value(document))
            self.failure = ProtocolError(f"an object was expected in the answer, not {said!r}")
            return False
        before = len(events)
        goes_on = self._take_object(document, events)
        if self._early and len(events) > before:
            events[before:before] = self._early
            self._early = []
        return goes_on

    def _end(self, events: list[StreamEvent]) -> None:
        if self._repairer is not None and self._repairer.holds_half:
            events.append(TextDelta("\ufffd"))
        before = len(events)
        super()._end(events)
        if self.failure is None:
            events[before:before] = self._early
            self._early = []


KEY = b'":'
"""The text after each key of an object, which is rare elsewhere."""

_OBJECTS: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def _is_cut(rest: bytes) -> bool:
    """Whether this is the beginning of an object, not a complete invalid one."""
    if not rest.lstrip().startswith(b"{") or has_many_values(rest):
        return False
    try:
        msgspec.json.decode(rest)
    except DECODE_ERRORS:
        return True
    return False


def _why(line: bytes, error: Exception) -> str:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return f"{snippet(reason, 80)} in {snippet(line)!r}"
