"""Writes the streamed answer of a described format: its recipe in reverse."""

from __future__ import annotations

from typing import Any

from berlin.errors import BerlinError
from berlin.formats.encoding import EventEncoder
from berlin.language.tables.stream import CompiledStream, Meaning
from berlin.types import Finished, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from berlin.wire.framings import FRAMINGS
from berlin.wire.framings.decoded import EncodedWriter
from berlin.wire.json import encode_line
from berlin.wire.pointer import set_at


class MappedEncoder(EventEncoder):
    """Writes one answer as a `StreamMap` describes it; see `EventEncoder`."""

    def __init__(self, stream: CompiledStream) -> None:
        self._stream = stream
        described = stream.described
        self._words = {ours: theirs for theirs, ours in described.finish_reasons.items()}
        self._kinds = {meaning: kind for kind, meaning in reversed(described.kinds.items())}
        self._framing = FRAMINGS[described.framing]
        self._writer = self._framing.writer(described.done.encode())
        if stream.encoded:
            self._writer = EncodedWriter(self._writer, stream.encoded)
        self._is_whole = (
            described.text_is == "cumulative"
            or self._framing.is_single
            or ("replace" in self._kinds and "text" not in self._kinds)
        )
        self._repeats = "final" in self._kinds and "end" not in self._kinds
        keeps = self._is_whole or self._repeats
        self._around = None if keeps else self._around_text()
        self._text: list[str] = []
        self._usage: Usage | None = None

    @property
    def _has_many(self) -> bool:
        """Whether an answer has more than its text in one document."""
        return not (self._framing.is_single or self._framing.has_text_only)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the bytes that end an answer with an error."""
        stream = self._stream
        document: dict[str, Any] = {}
        self._set_kind(document, "error")
        pointers = stream.error or stream.error_message
        if pointers:
            set_at(document, pointers[0], error.message)
        return b"" if self._framing.has_text_only else self._writer.write(document)

    def keep_alive(self) -> bytes:
        """Return the bytes of a keep-alive, if the framing has one."""
        return self._framing.keep_alive

    def _encode_text(self, event: TextDelta) -> bytes:
        if self._around is not None:
            before, behind = self._around
            return b"%b%b%b" % (before, encode_line(event.text), behind)
        self._text.append(event.text)
        if self._framing.is_single:
            return b""
        text = "".join(self._text) if self._is_whole else event.text
        return self._writer.write(self._document("text", text))

    def _encode_reasoning(self, event: ReasoningDelta) -> bytes:
        if self._stream.reasoning and self._has_many:
            document: dict[str, Any] = {}
            self._set_kind(document, "text")
            set_at(document, self._stream.reasoning[0], event.text)
            return self._writer.write(document)
        if "reasoning" in self._kinds:
            return self._writer.write(self._document("reasoning", event.text))
        return b""

    def _encode_call(self, event: ToolCallDelta) -> bytes:
        if not self._stream.tool_calls or not self._has_many:
            return b""
        call: dict[str, Any] = {}
        values = (event.index, event.id, event.name, event.arguments)
        for pointer, value in zip(self._stream.tool_call, values, strict=True):
            if value != "":
                set_at(call, pointer, value)
        document = self._document("text", "")
        set_at(document, self._stream.tool_calls[0], [call])
        return self._writer.write(document)

    def _encode_end(self, event: Finished) -> bytes:
        stream = self._stream
        if self._framing.has_text_only:
            return b""
        # With empty text, for clients that look only for text; in an object of another kind
        # than `replace`, whole text would be read as more of it.
        ends = "end" in self._kinds
        is_more = ends and not self._framing.is_single and stream.described.text_is == "delta"
        whole = "".join(self._text) if self._is_whole and not is_more else ""
        document = self._document("text", "".join(self._text) if self._repeats else whole)
        if ends or self._repeats:
            self._set_kind(document, "end" if ends else "final")
        if (usage := self._usage) is not None:
            for pointers, count in (
                (stream.input_tokens, usage.input_tokens),
                (stream.output_tokens, usage.output_tokens),
            ):
                if pointers:
                    set_at(document, pointers[0], count)
        if stream.finish_reason:
            word = self._words.get(event.reason, event.reason)
            set_at(document, stream.finish_reason[0], word)
        for pointers, value in (
            (stream.conversation_id, event.conversation_id),
            (stream.message_id, event.message_id),
        ):
            if pointers and value:
                set_at(document, pointers[0], value)
        return self._writer.write(document) + self._writer.end()

    def _report(self, usage: Usage) -> None:
        self._usage = usage

    def _around_text(self) -> tuple[bytes, bytes] | None:
        """Return the bytes around a piece of text, if they are always the same."""
        if not self._framing.is_plain or self._stream.encoded:
            return None
        mark = "\x00text\x00"
        before, _, behind = self._writer.write(self._document("text", mark)).partition(
            encode_line(mark)
        )
        return before, behind

    def _document(self, meaning: Meaning, text: str) -> dict[str, Any]:
        document: dict[str, Any] = {}
        self._set_kind(document, meaning)
        set_at(document, self._stream.text[0], text)
        return document

    def _set_kind(self, document: dict[str, Any], meaning: Meaning) -> None:
        if self._stream.kind is None:
            return
        kind = self._kinds.get(meaning) or (self._kinds.get("replace") if meaning == "text" else "")
        set_at(document, self._stream.kind, kind or meaning)
