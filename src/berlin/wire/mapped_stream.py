"""The streamed answer of a described format: which values to take from each object, what ends
the stream, and what is an error inside a 200.
"""

from __future__ import annotations

import re
from typing import Any, Literal, assert_never

import msgspec
from msgspec import UNSET

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    EmptyResponseError,
    ProtocolError,
    ServiceError,
    TruncatedStreamError,
    error_class_for_status,
)
from berlin.types import (
    Finished,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from berlin.wire.compile import Accessor, CompiledDocument, Pointer
from berlin.wire.format import snippet
from berlin.wire.json import DECODE_ERRORS, encode_body
from berlin.wire.ndjson import LineFramer
from berlin.wire.pointer import parse_pointer, set_at
from berlin.wire.status import describe_error


class StreamMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.stream]` of a recipe. Of several pointers the first that finds something
    counts.

    Attributes:
        framing: how the objects stand in the answer.
        text: pointers to the next piece of text.
        finish_reason: pointers to the reason why the answer ended.
        finish_reasons: the service's words for `stop`, `length`, `tool_calls`, `content_filter`;
            what is not listed is `stop`.
        input_tokens: pointers to the size of the request.
        output_tokens: pointers to the size of the answer.
        error: pointers to an error; whatever is there and not empty ends the answer.
        error_message: pointers to the explanation in an object that carries nothing else.
        error_code: pointers to its code; from 400 to 599 it means what the HTTP status means.
        unauthorized: codes that mean: the token is no longer good.
        ends: `body`, if the end of the body is the end of the answer; `finish_reason`, if an
            answer without one was cut off.
    """

    framing: Literal["ndjson"]
    text: str | list[str]
    finish_reason: str | list[str] = []
    finish_reasons: dict[str, FinishReason] = {}
    input_tokens: str | list[str] = []
    output_tokens: str | list[str] = []
    error: str | list[str] = []
    error_message: str | list[str] = []
    error_code: str | list[str] = []
    unauthorized: tuple[int | str, ...] = (401, "401")
    ends: Literal["body", "finish_reason"] = "body"


class CompiledStream:
    """A `StreamMap`, ready for use by any number of answers.

    Raises:
        ConfigurationError: if a pointer is none.
    """

    def __init__(self, stream: StreamMap) -> None:
        self.described = stream
        self.text = _pointers(stream.text)
        if not self.text:
            raise ConfigurationError("[chat.stream] text names no pointer: where is the text?")
        self.finish_reason = _pointers(stream.finish_reason)
        self.input_tokens = _pointers(stream.input_tokens)
        self.output_tokens = _pointers(stream.output_tokens)
        self.error = _pointers(stream.error)
        self.error_message = _pointers(stream.error_message)
        self.error_code = _pointers(stream.error_code)
        endings = {
            *self.finish_reason,
            *self.input_tokens,
            *self.output_tokens,
            *self.error,
        }
        explanations = {*self.error_message, *self.error_code}
        document = CompiledDocument(self.text, sorted(endings | explanations))
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(document.type)
        self.decode_lines = decoder.decode_lines
        self.read_text = _first([document.reader(pointer) for pointer in self.text])
        self.holds_more = document.watcher(sorted(endings))
        self._readers = {p: document.reader(p) for p in endings | explanations}

    def read(self, document: Any, pointers: tuple[Pointer, ...]) -> Any:
        """Return the first value of a decoded object that is present and not null, or `UNSET`."""
        for pointer in pointers:
            value = self._readers[pointer](document)
            if value is not UNSET and value is not None:
                return value
        return UNSET

    def describe_error(self, body: bytes) -> str:
        """Return the message in an error answer, or its beginning; at most 300 characters."""
        return describe_error(body, (*self.error, *self.error_message))


def _pointers(value: str | list[str]) -> tuple[Pointer, ...]:
    return tuple(parse_pointer(p) for p in ([value] if isinstance(value, str) else value))


def _first(readers: list[Accessor]) -> Accessor:
    if len(readers) == 1:
        return readers[0]

    def read(document: Any) -> Any:
        found: Any = UNSET
        for reader in readers:
            value = reader(document)
            if value:
                return value
            found = value if found is UNSET else found
        return found

    return read


class MappedDecoder:
    """Decodes one answer; see `EventDecoder`."""

    def __init__(self, stream: CompiledStream) -> None:
        self._stream = stream
        self._framer = LineFramer()
        self._answered = False
        self._reason: FinishReason | None = None
        self._usage: dict[str, int] = {}
        self.failure: BerlinError | None = None

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take the next bytes and return the events that they complete."""
        if self.failure is not None:
            return []
        try:
            block = self._framer.feed(data)
        except ProtocolError as error:
            self.failure = error
            return []
        # Blank lines are keep-alives, and may come by the million.
        return self._decode(block) if block and not block.isspace() else []

    def finish(self) -> list[StreamEvent]:
        """Take the end of the answer and return the last events."""
        return [] if self.failure is not None else self._end()

    def _end(self) -> list[StreamEvent]:
        rest = self._framer.finish()
        events = [] if not rest or rest.isspace() else self._decode(rest)
        if isinstance(self.failure, ProtocolError) and _is_cut(rest):
            self.failure = TruncatedStreamError(
                f"the answer was cut off in the middle of a line: {snippet(rest)!r}"
            )
        if self.failure is not None:
            return events
        if self._reason is None and not self._answered:
            self.failure = EmptyResponseError("the service sent an empty answer")
        elif self._reason is None and self._stream.described.ends == "finish_reason":
            self.failure = TruncatedStreamError("the answer ended without a finish reason")
        else:
            if self._usage:
                usage = Usage(
                    self._usage.get("input_tokens", 0), self._usage.get("output_tokens", 0)
                )
                events.append(UsageReport(usage))
            events.append(Finished(self._reason or "stop"))
        return events

    def _decode(self, block: bytes) -> list[StreamEvent]:
        stream = self._stream
        documents: list[Any] | None
        try:
            documents = stream.decode_lines(block)
        except DECODE_ERRORS:
            documents = None
        if documents is None or not _is_one_a_line(block, len(documents)):
            # Something is odd (or a blank line stands between): line by line, so that whatever
            # comes before a bad line is delivered, wherever the reads were cut.
            return self._decode_one_by_one(block)
        events: list[StreamEvent] = []
        for document in documents:
            text = stream.read_text(document)
            if text:
                events.append(TextDelta(text))
            if (not text or stream.holds_more(document)) and not self._take(document, text):
                return events
        self._answered |= bool(events)
        return events

    def _decode_one_by_one(self, block: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for line in block.split(b"\n"):
            if not line or line.isspace():
                continue
            try:
                documents = self._stream.decode_lines(line)
            except DECODE_ERRORS as error:
                self.failure = ProtocolError(f"a line is not as described: {_why(line, error)}")
                self.failure.__cause__ = error.with_traceback(None)
                return events
            for document in documents:
                text = self._stream.read_text(document)
                if text:
                    events.append(TextDelta(text))
                    self._answered = True
                if not self._take(document, text):
                    return events
        return events

    def _take(self, document: Any, text: Any) -> bool:
        """Take what an object carries besides text; return whether the answer goes on."""
        stream = self._stream
        try:
            error = stream.read(document, stream.error)
            if error is not UNSET and error:
                self._fail(document, error)
                return False
            described = self._take_ending(document)
            if text is not UNSET and text is not None:
                self._answered = True
            elif text is UNSET and not described:
                self._fail(document, UNSET)
                return False
        except DECODE_ERRORS as error:
            self.failure = ProtocolError(f"a line is not as described: {error}")
            return False
        return True

    def _take_ending(self, document: Any) -> bool:
        stream = self._stream
        described = False
        reason = stream.read(document, stream.finish_reason)
        if reason is not UNSET:
            described = True
            if isinstance(reason, str) and reason:
                self._reason = stream.described.finish_reasons.get(reason, "stop")
            elif reason is True:
                self._reason = self._reason or "stop"
        for name, pointers in (
            ("input_tokens", stream.input_tokens),
            ("output_tokens", stream.output_tokens),
        ):
            count = stream.read(document, pointers)
            if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
                described = True
                self._usage[name] = count
        return described

    def _fail(self, document: Any, error: Any) -> None:
        """Tell what an object without text means: an error of the service, or nothing known."""
        stream = self._stream
        message = stream.read(document, stream.error_message)
        code = stream.read(document, stream.error_code)
        if error is UNSET and message is UNSET and code is UNSET:
            self.failure = ProtocolError(
                "a line has neither text nor anything else that the recipe describes"
            )
            return
        said = next((v for v in (error, message) if isinstance(v, str)), None)
        known = {"error": error, "message": message, "code": code}
        told = {name: value for name, value in known.items() if value is not UNSET}
        text = snippet(said if said is not None else encode_body(told))
        if code in stream.described.unauthorized:
            self.failure = AuthenticationError(f"the service refuses the token: {text}", status=401)
            return
        is_status = isinstance(code, int | str) and re.fullmatch("[45][0-9]{2}", str(code))
        status = int(code) if is_status else 0
        kind = error_class_for_status(status) if is_status else ServiceError
        self.failure = kind(f"the service reports an error: {text}", status=status or None)


def _is_cut(rest: bytes) -> bool:
    """Whether this is the beginning of an object, not a whole one that is wrong."""
    if not rest.lstrip().startswith(b"{"):
        return False
    try:
        msgspec.json.decode(rest)
    except DECODE_ERRORS:
        return True
    return False


def _is_one_a_line(block: bytes, objects: int) -> bool:
    """Whether each line is one whole object: then no cut of the reads makes a difference."""
    return (
        block.startswith(b"{")
        and block.count(b"\n") == objects
        and block.count(b"\n{") == objects - 1
        and block.count(b"}\n") + block.count(b"}\r\n") == objects
    )


def _why(line: bytes, error: Exception) -> str:
    reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
    return f"{snippet(reason, 80)} in {snippet(line)!r}"


class MappedEncoder:
    """Writes one answer as the lines that a `StreamMap` describes; see `EventEncoder`."""

    def __init__(self, stream: CompiledStream) -> None:
        self._stream = stream
        self._words = {ours: theirs for theirs, ours in stream.described.finish_reasons.items()}

    def encode_event(self, event: StreamEvent) -> bytes:
        """Return the line of one event; nothing for what this wire cannot say."""
        stream = self._stream
        document: dict[str, Any] = {}
        match event:
            case TextDelta():
                set_at(document, stream.text[0], event.text)
            case Finished():
                # With empty text, for clients that look for nothing else.
                set_at(document, stream.text[0], "")
                if stream.finish_reason:
                    word = self._words.get(event.reason, event.reason)
                    set_at(document, stream.finish_reason[0], word)
            case UsageReport():
                set_at(document, stream.text[0], "")
                for pointers, count in (
                    (stream.input_tokens, event.usage.input_tokens),
                    (stream.output_tokens, event.usage.output_tokens),
                ):
                    if pointers:
                        set_at(document, pointers[0], count)
            case ReasoningDelta() | ToolCallDelta():
                return b""
            case _:
                assert_never(event)
        return encode_body(document) + b"\n"

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the line that ends an answer with an error."""
        document: dict[str, Any] = {}
        pointers = self._stream.error or self._stream.error_message
        if pointers:
            set_at(document, pointers[0], error.message)
        return encode_body(document) + b"\n"
