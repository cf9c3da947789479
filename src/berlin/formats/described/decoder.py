"""Reads the streamed answer of a described format."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET

from berlin.errors import ProtocolError
from berlin.formats.decoding import EventDecoder
from berlin.formats.finish import finish_reason_of
from berlin.formats.loose import as_id, as_index, as_text, bounded_or_none, finite_or_none
from berlin.language.tables.stream import CompiledStream, Meaning
from berlin.types import ReasoningDelta, StreamEvent, TextDelta, TextReplaced, Usage
from berlin.types.usage import HALVES, half_without
from berlin.wire.framings import FRAMINGS
from berlin.wire.framings.decoded import DecodedFramer
from berlin.wire.framings.events import event_of_text
from berlin.wire.framings.prefixed import Prefixed
from berlin.wire.json import DECODE_ERRORS, encode_body, encode_value
from berlin.wire.pointer import MISSING, first_at, get_at
from berlin.wire.snippet import snippet

MAX_MESSAGES = 10_000


class MappedDecoder(EventDecoder):
    """Decodes one answer; see `EventDecoder`."""

    def __init__(self, stream: CompiledStream) -> None:
        described = stream.described
        framing = FRAMINGS["ndjson" if stream.is_polled else described.framing]
        framer = framing.framer(described.done.encode())
        if described.prefix:
            framer = Prefixed(framer, described.prefix.encode())
        if stream.encoded:
            framer = DecodedFramer(framer, stream.encoded)
        is_plain = stream.take_plain is not None and not stream.encoded
        if described.done.startswith("{"):
            is_plain = False  # a document ends the answer, perhaps by its text
        end = framing.document_end if is_plain else b""
        super().__init__(framer, stream.decoder, described.ends, end)
        self._stream = stream
        self._cumulative = described.text_is == "cumulative"
        # The text passed on for each message, if the service may rewrite it.
        self._texts: dict[str, list[str]] = {}
        self._keeps = self._cumulative or bool({"replace", "final"} & {*described.kinds.values()})
        self._message = ""
        self._tokens: dict[str, int] = {}

    def _decode_loosely(self, document: bytes) -> Any:
        # A number that no type holds is unknown. Nothing else is guessed at: not what bytes that
        # are not UTF-8 may mean, nor half of a surrogate pair, and NaN is not JSON.
        try:
            value = json.loads(
                document.decode(),
                parse_float=finite_or_none,
                parse_int=bounded_or_none,
                parse_constant=_refuse,
            )
            return self._decode_one(encode_value(value))
        except (ValueError, RecursionError):  # and all that msgspec raises
            return None

    def _take_all(self, documents: list[Any], events: list[StreamEvent]) -> None:
        if (take_plain := self._stream.take_plain) is None:
            super()._take_all(documents, events)
        else:
            take_plain(documents, events, self._take)

    def _take(self, document: Any, events: list[StreamEvent]) -> bool:
        stream = self._stream
        if stream.read_kind is not None:
            kind = stream.read_kind(document)
            if type(kind) is int:
                kind = str(kind)
            if not isinstance(kind, str) and stream.described.others == "skip":
                return self._take_more(document, UNSET, events)
            meaning = stream.described.kinds.get(kind, "skip") if isinstance(kind, str) else "error"
            text = UNSET if meaning == "skip" else self._text_of(document, meaning)
            return self._take_kind(meaning, document, text, events)
        text = stream.read_text(document)
        self._add_text("text", text, events, document)
        return self._take_more(document, text, events)

    def _text_of(self, document: Any, meaning: Meaning) -> Any:
        try:
            return self._stream.read_text(document)
        except msgspec.ValidationError:
            if meaning not in ("end", "error"):
                raise
            return UNSET  # an end or an error may have anything else where a text is

    def _take_kind(
        self, meaning: Meaning, document: Any, text: Any, events: list[StreamEvent]
    ) -> bool:
        match meaning:
            case "skip":
                return True
            case "error":
                self._fail(document, self._stream.read(document, self._stream.error))
                return False
            case "end" | "final":
                meaning = "replace" if meaning == "final" else "text"
                self._add_text(meaning, text, events, document)
                self._answered = True
                if not self._take_more(document, "", events):
                    return False
                self._reason = self._reason or "stop"
                self.done = True
                return False
            case _:
                self._add_text(meaning, text, events, document)
                return self._take_more(document, text or "", events)

    def _add_text(
        self, meaning: Meaning, text: Any, events: list[StreamEvent], document: Any
    ) -> None:
        if not text:
            return
        if meaning == "reasoning":
            events.append(ReasoningDelta(text))
            return
        message = str(self._stream.read(document, self._stream.text_of))
        if (self._cumulative or meaning == "replace") and len(self._texts) <= MAX_MESSAGES:
            known = "".join(self._texts.get(message, ()))
            self._answered = True
            grows = text.startswith(known)
            if not grows and known.startswith(text.rstrip()):
                return  # a part of it repeated, or without its trailing blanks
            self._texts[message] = [text]
            if not grows:
                whole = "\n\n".join(map("".join, self._texts.values()))
                events.append(TextReplaced(whole))
                return
            text = text[len(known) :]
        elif self._keeps and text:
            self._texts.setdefault(message, []).append(text)
        if text and self._message not in ("", message):
            text = f"\n\n{text}"
        self._message = message if text else self._message
        self._answered = True
        if text:
            events.append(TextDelta(text))

    def _take_more(self, document: Any, text: Any, events: list[StreamEvent]) -> bool:
        """Take what an object carries besides text; return whether the answer continues."""
        stream = self._stream
        error = stream.read(document, stream.error)
        if error is not UNSET and error:
            self._fail(document, error)
            return False
        described = self._take_parts(document, events)
        described |= self._take_ending(document)
        if text is not UNSET and text is not None:
            self._answered = True
        elif not described and self._is_error(document, text):
            self._fail(document, UNSET)
            return False
        return not self.done

    def _is_error(self, document: Any, text: Any) -> bool:
        """Whether an object without anything described is an error rather than to be skipped."""
        stream = self._stream
        if text is UNSET and stream.described.others == "error":
            return True
        return stream.is_error_code(stream.read(document, stream.error_code))

    def _take_parts(self, document: Any, events: list[StreamEvent]) -> bool:
        stream = self._stream
        described = False
        reasoning = stream.read(document, stream.reasoning)
        if isinstance(reasoning, str):
            described = True
            if reasoning:
                events.append(ReasoningDelta(reasoning))
        calls = stream.read(document, stream.tool_calls)
        for call in calls if isinstance(calls, list) else ():
            described = True
            self._take_call(call, events)
        for name in ("conversation_id", "message_id"):
            value = stream.read(document, getattr(stream, name))
            if isinstance(value, str | int) and not isinstance(value, bool):
                described = True
                setattr(self, f"_{name}", str(value))
        return described

    def _take_call(self, call: Any, events: list[StreamEvent]) -> None:
        index, id_, name, arguments = (
            None if value is MISSING else value
            for value in (get_at(call, pointer) for pointer in self._stream.tool_call)
        )
        if isinstance(arguments, dict):
            arguments = encode_body(arguments).decode()
        self._calls.add(events, as_index(index), as_id(id_), as_text(name), as_text(arguments))

    def _take_ending(self, document: Any) -> bool:
        stream = self._stream
        described = False
        reason = stream.read(document, stream.finish_reason)
        if reason is not UNSET:
            described = True
            if isinstance(reason, str) and reason and reason not in stream.described.unfinished:
                known = stream.described.finish_reasons
                # A recipe names its finish reason for calls; those for cut answers are known.
                meant = finish_reason_of(reason)
                meant = "stop" if meant == "tool_calls" else meant
                self._reason = known.get(reason, meant)
            elif reason is True:
                self._reason = self._reason or "stop"
        for name in HALVES:
            count = _count(stream.read(document, getattr(stream, name)))
            if count is not None:
                described = True
                self._tokens[name] = count
                sent, made = map(self._tokens.get, HALVES)
                self._usage = Usage(sent or 0, made or 0, lacks=half_without(sent, made))
        if self._reason is not None and stream.stops_at_reason:
            self.done = True
        return described

    def _fail(self, document: Any, error: Any) -> None:
        """Interpret an object without text: an error of the service, or unknown."""
        stream = self._stream
        message = stream.read(document, stream.error_message)
        code = stream.read(document, stream.error_code)
        if error is UNSET and message is UNSET and code is UNSET and stream.read_kind is None:
            self.failure = ProtocolError(
                "a line has neither text nor anything else that the recipe describes; "
                "`berlin recipe try FILE` shows what came"
            )
            return
        self.failure = stream.failure(error, message, code)

    def _take_odd(self, line: bytes) -> bool:
        """Take an object that is of no use for the described pointers, by its kind alone.

        The data of an event of another kind may have any type.
        """
        stream = self._stream
        if stream.kind is None:
            return False
        try:
            document = msgspec.json.decode(line)
        except DECODE_ERRORS:
            # The data of a server-sent event that is not JSON: plain words.
            if stream.described.framing != "sse-events":
                return False
            document = event_of_text(line)
        kind = get_at(document, stream.kind)
        kind = str(kind) if type(kind) is int else kind
        meaning = stream.described.kinds.get(kind, "skip") if isinstance(kind, str) else None
        if meaning == "error":
            said = first_at(document, (*stream.error, *stream.error_message))
            data = document.get("data") if isinstance(document, dict) else None
            words = next((v for v in (said, data) if isinstance(v, str)), None)
            code = first_at(document, stream.error_code)
            text = snippet(line if words is None else words)
            self.failure = stream.failure(text, UNSET, UNSET if code is MISSING else code)
        elif meaning in ("end", "final"):
            self._reason = self._reason or "stop"
            self.done = True
        return meaning in ("error", "end", "final", "skip")


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
