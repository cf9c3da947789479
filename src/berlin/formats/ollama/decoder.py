"""Reads answers in the format of Ollama's API: lines of JSON, and whole ones.

`/api/chat` has its text in `message.content`, `/api/generate` in `response`; all else is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.formats.decoding import KEY, DialectDecoder
from berlin.formats.loose import as_count, as_id, as_list, as_object, as_text, others
from berlin.formats.ollama.framing import PatientLineFramer
from berlin.formats.ollama.table import DIALECT
from berlin.types import (
    Extra,
    ExtraDelta,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Usage,
    make_extra,
)
from berlin.types.usage import half_without
from berlin.wire.json import encode_value
from berlin.wire.status import error_of_object


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Any] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    error: str | None = None


_FAST = msgspec.json.Decoder(_Line)

_LINE = frozenset(
    {
        *("model", "created_at", "message", "response", "thinking", "tool_calls", "done"),
        *("done_reason", "prompt_eval_count", "eval_count", "error"),
    }
)
_MESSAGE = frozenset({"role", "content", "thinking", "tool_calls"})
_CALL = frozenset({"id", "type", "function", "name", "arguments"})
# What belongs to the piece in the same line.
_OF_PIECES = frozenset({"logprobs"})


class OllamaDecoder(DialectDecoder):
    """Decodes one answer, streamed or whole, of a chat or of generate; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(PatientLineFramer(), _FAST)

    def _take_fast(
        self, documents: list[bytes], decoded: list[Any], events: list[StreamEvent]
    ) -> None:
        plain = self._plain
        for document, line in zip(documents, decoded, strict=True):
            message = line.message
            if (
                message is not None
                and (text := message.content)
                and document.count(KEY) in plain
                and not line.done
                and line.error is None
                and not message.thinking
                and message.tool_calls is None
            ):
                events.append(TextDelta(text))
            elif not self._look_at(document, events):
                return

    def _take_object(self, line: dict[str, Any], events: list[StreamEvent]) -> bool:
        message, done = line.get("message"), line.get("done") in (True, "true")
        if line.get("error") or isinstance(message, str):
            self.failure = error_of_object(line)
            return False
        if message is None and line.get("response") is not None:
            said = {"content": line["response"]}
            message = said | {n: line[n] for n in ("thinking", "tool_calls") if n in line}
        if message is None and not done and line and line.keys().isdisjoint(("message", "done")):
            self.failure = ProtocolError("a line has neither a message nor an error")
            return False
        self._take_members(line, done=done)
        if not self._take_message(as_object(message), events):
            return False
        return not done or self._take_end(line)

    def _take_members(self, line: Mapping[str, Any], *, done: bool) -> None:
        more = others(line, _LINE)
        of_piece = {} if done else {n: more.pop(n) for n in _OF_PIECES & more.keys()}
        for members, at in ((of_piece, "choice"), (more, "answer")):
            if members:
                self._early.append(ExtraDelta(Extra(DIALECT, members), at))  # type: ignore[arg-type]  # literals above

    def _take_message(self, message: Mapping[str, Any], events: list[StreamEvent]) -> bool:
        if thinking := as_text(message.get("thinking")):
            events.append(ReasoningDelta(thinking))
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            kind = type(content).__name__
            self.failure = ProtocolError(f"the content of a line is not text but {kind}")
            return False
        if content:
            events.append(TextDelta(content))
        for call in as_list(message.get("tool_calls")):
            self._take_call(as_object(call), events)
            if self.failure is not None:
                return False
        more = {
            name: value
            for name, value in message.items()
            if name not in _MESSAGE and value not in (None, "", [], {})
        }
        if more:
            events.append(ExtraDelta(Extra(DIALECT, more), "message"))
        return True

    def _take_call(self, call: Mapping[str, Any], events: list[StreamEvent]) -> None:
        function = as_object(call.get("function")) or call
        match function.get("arguments"):
            case None | "" | []:
                arguments = "{}"
            case str(text):
                arguments = text
            case dict(given):
                arguments = encode_value(given).decode()
            case _:
                self.failure = ProtocolError("the arguments of a tool call are not an object")
                return
        more: dict[str, Any] = {n: v for n, v in call.items() if n not in _CALL}
        inner = {n: v for n, v in function.items() if n not in _CALL}
        if inner:
            more["function"] = inner
        id, name = as_id(call.get("id")), as_text(function.get("name"))
        self._calls.add_whole(events, id, name, arguments, make_extra(DIALECT, more))

    def _take_end(self, line: Mapping[str, Any]) -> bool:
        word = as_text(line.get("done_reason"))
        if not self._end_with(word):
            return False
        if word in ("load", "unload"):
            self._finish_extra = Extra(DIALECT, {"done_reason": word})
        self._stop_sequence = as_text(line.get("stop_sequence")) or None
        asked, answered = (as_count(line.get(n)) for n in ("prompt_eval_count", "eval_count"))
        if asked is not None or answered is not None:
            # A count of zero is left out by this API, and that of a prompt it had in its cache.
            self._usage = Usage(asked or 0, answered or 0, lacks=half_without(asked, 0))
        self.done = True
        return False
