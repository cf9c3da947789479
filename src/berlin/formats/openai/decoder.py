"""Reads answers in OpenAI's chat completions format: chunks of a stream, and whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import ProtocolError
from berlin.formats.decoding import KEY, DialectDecoder
from berlin.formats.finish import is_finish_word
from berlin.formats.loose import as_id, as_index, as_list, as_object, as_text, others, read_usage
from berlin.formats.openai.table import DIALECT, DONE, ONCE, REASONING
from berlin.types import (
    Extra,
    ExtraDelta,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Usage,
    make_extra,
)
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import encode_value
from berlin.wire.status import error_of_object

MAX_MEMBERS = 1000


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    error: str | None = None


_FAST = msgspec.json.Decoder(_Chunk)

_CHUNK = frozenset({"choices", "usage", "error", "object", "model", "obfuscation"})
_CHOICE = frozenset({"index", "delta", "message", "finish_reason"})
_DELTA = frozenset(
    {
        *("role", "content", "refusal", "tool_calls", "function_call"),
        *(*REASONING, "reasoning_details"),
    }
)
_CALL = frozenset({"index", "id", "type", "function"})
_SAYS = ("content", "refusal", "tool_calls", "function_call", *REASONING)

_ASKED = (("prompt_tokens",), ("input_tokens",))
_ANSWERED = (("completion_tokens",), ("output_tokens",))
# After the usual place: DeepSeek's, Moonshot's, and those of gateways to Anthropic's models.
_DETAILS = {
    "cached_tokens": (
        ("prompt_tokens_details", "cached_tokens"),
        ("prompt_cache_hit_tokens",),
        ("cached_tokens",),
        ("cache_read_input_tokens",),
    ),
    "cache_write_tokens": (
        ("prompt_tokens_details", "cache_write_tokens"),
        ("prompt_tokens_details", "cache_creation_tokens"),
        ("prompt_tokens_details", "cached_creation_tokens"),
        ("cache_creation_input_tokens",),
    ),
    "reasoning_tokens": (("completion_tokens_details", "reasoning_tokens"), ("reasoning_tokens",)),
}


class OpenAIDecoder(DialectDecoder):
    """Decodes one answer, streamed or whole; see `EventDecoder`."""

    def __init__(self) -> None:
        super().__init__(FRAMINGS["sse"].framer(DONE), _FAST)
        self._said: dict[str, Any] = {}
        self._refuses = False
        self._has_deltas = False

    def _take_fast(
        self, documents: list[bytes], decoded: list[Any], events: list[StreamEvent]
    ) -> None:
        plain = self._plain
        for document, chunk in zip(documents, decoded, strict=True):
            choices = chunk.choices
            if (
                len(choices) == 1
                and (delta := choices[0].delta) is not None
                and (text := delta.content)
                and document.count(KEY) in plain
                and choices[0].finish_reason is None
                and chunk.usage is None
                and chunk.error is None
                and delta.tool_calls is None
                and delta.reasoning_content is None
                and delta.reasoning is None
                and delta.refusal is None
                and choices[0].index == 0
                and not self._early
            ):
                events.append(TextDelta(text))  # of a delta like one that was looked at
            elif not self._look_at(document, events):
                return

    def _take_object(self, document: dict[str, Any], events: list[StreamEvent]) -> bool:
        if document.get("error"):
            self.failure = error_of_object(document)
            return False
        if (status := as_object(document.get("base_resp"))).get("status_code"):  # MiniMax's
            said = as_text(status.get("status_msg"))
            code = status["status_code"]
            self.failure = error_of_object({"message": said, "code": code, "type": said})
            return False
        usage = _read_usage(document)
        self._usage = usage or self._usage
        choices = document.get("choices")
        if "choices" not in document and usage is None and not _is_filler(document):
            self._fail(document)
            return False
        if choices is not None and not isinstance(choices, list):
            self.failure = ProtocolError("choices is not a list")
            return False
        self._take_members(document)
        is_whole = document.get("object") == "chat.completion"
        return all(self._take_choice(choice, events, is_whole) for choice in choices or ())

    def _take_members(self, document: Mapping[str, Any]) -> None:
        """Keep a chunk's members about the answer as a whole, if they are new."""
        new = {}
        for name, value in document.items():
            if name in _CHUNK or value is None or self._said.get(name) == value:
                continue
            if name in ONCE and (
                name in self._said or not value or not isinstance(value, ONCE[name])
            ):
                continue
            new[name] = self._said[name] = value
        if len(self._said) > MAX_MEMBERS:
            raise ProtocolError(f"the answer has more than {MAX_MEMBERS} members of its own")
        if new:
            self._early.append(ExtraDelta(Extra(DIALECT, new), "answer"))

    def _take_choice(self, choice: Any, events: list[StreamEvent], is_whole: bool) -> bool:
        if not isinstance(choice, dict):
            self.failure = ProtocolError("a choice is not an object")
            return False
        if as_index(choice.get("index")) not in (0, None):
            return True
        if more := others(choice, _CHOICE):
            # Moonshot says there what an answer has cost.
            self._usage = self._usage or _read_usage(more)
            self._early.append(ExtraDelta(Extra(DIALECT, more), "choice"))
            for name in ("stop_reason", "matched_stop"):  # vLLM's and SGLang's
                text = as_text(more.get(name))
                if text and not is_finish_word(text):
                    self._stop_sequence = text
        delta = as_object(choice.get("delta"))
        if not delta and not self._has_deltas:
            # Some services repeat the whole message at the end of a stream.
            delta = as_object(choice.get("message"))
        self._has_deltas |= any(delta.get(name) for name in _SAYS)
        if delta and not self._take_delta(delta, events):
            return False
        if isinstance(choice.get("error"), dict):
            self.failure = error_of_object({"error": choice["error"]})
            return False
        word = as_text(choice.get("finish_reason"))
        if not word and is_whole and "message" in choice and "delta" not in choice:
            word = "stop"  # a whole answer was not cut off, also where it gives no reason
        if word and word != "null":
            if not self._end_with(word):
                return False
            if self._refuses:
                self._refuse(_STOP)
        return True

    def _take_delta(self, delta: Mapping[str, Any], events: list[StreamEvent]) -> bool:
        self._take_reasoning(delta, events)
        content = delta.get("content")
        match content:
            case None | []:
                pass
            case dict() if not content:
                pass  # PHP's empty object
            case str():
                self._add_text(content, events)
            case list():
                for part in content:
                    self._take_part(part, events)
            case _:
                kind = type(content).__name__
                self.failure = ProtocolError(f"the content of a chunk is not text but {kind}")
                return False
        if refusal := as_text(delta.get("refusal")):
            if not self._refuses:
                self._refuses = True
                events.append(ExtraDelta(_REFUSAL, "text", opens=True))
            events.append(TextDelta(refusal))
        for call in as_list(delta.get("tool_calls")):
            self._take_call(as_object(call), events)
        if not delta.get("tool_calls") and (older := as_object(delta.get("function_call"))):
            self._take_call({"index": 0, "function": older}, events)
        more = {
            name: value
            for name, value in delta.items()
            if name not in _DELTA and value not in (None, [], {}, "", False)
        }
        if more:
            events.append(ExtraDelta(Extra(DIALECT, more), "message"))
        return True

    def _add_text(self, text: str, events: list[StreamEvent]) -> None:
        if text:
            events.append(TextDelta(text))
        else:
            self._answered = True

    def _take_part(self, part: Any, events: list[StreamEvent]) -> None:
        """Take a part of content, which some services send instead of text."""
        if isinstance(part, str) and part:
            events.append(TextDelta(part))
            return
        fields = as_object(part)
        thought = fields.get("thinking")
        if isinstance(thought, list):
            texts = [as_text(as_object(piece).get("text")) for piece in thought]
            events.extend(ReasoningDelta(text) for text in texts if text)
        elif isinstance(thought, str) and thought:
            events.append(ReasoningDelta(thought))
        elif text := as_text(fields.get("text")):
            events.append(TextDelta(text))

    def _take_reasoning(self, delta: Mapping[str, Any], events: list[StreamEvent]) -> None:
        said = {name: value for name in REASONING if (value := as_text(delta.get(name)))}
        text = next(iter(said.values()), "")
        # Under any of its other names; most services use the first one.
        more: dict[str, Any] = {name: said[name] for name in said if name != REASONING[0]}
        details = delta.get("reasoning_details")
        if isinstance(details, list) and details:
            more["reasoning_details"] = details
            text = text or _text_of(details)
        if more:
            events.append(ExtraDelta(Extra(DIALECT, more), "reasoning"))
        if text:
            events.append(ReasoningDelta(text))

    def _take_call(self, call: Mapping[str, Any], events: list[StreamEvent]) -> None:
        function = as_object(call.get("function"))
        if not function and "name" in call:
            function, call = call, {n: v for n, v in call.items() if n in _CALL}
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = encode_value(arguments).decode()
        more = others(call, _CALL)
        name = as_text(function.get("name"))
        if call.get("type") == "custom":
            # A custom tool takes text: the hub only knows function calls.
            name = name or as_text(as_object(call.get("custom")).get("name"))
            more["type"] = "custom"
        self._calls.add(
            events,
            as_index(call.get("index")),
            as_id(call.get("id")),
            name,
            as_text(arguments),
            make_extra(DIALECT, more),
        )

    def _fail(self, document: Mapping[str, Any]) -> None:
        listed = as_list(document.get("errors"))
        if any(document.get(name) is not None for name in ("message", "detail", "msg", "code")):
            self.failure = error_of_object(document)
        elif listed:
            self.failure = error_of_object({"error": listed[0]})
        else:
            self.failure = ProtocolError("a chunk has neither choices nor an error")


_REFUSAL = Extra(DIALECT, {"type": "refusal"})
_STOP = Extra(DIALECT, {"finish_reason": "stop"})


def _read_usage(holder: Mapping[str, Any]) -> Usage | None:
    return read_usage(holder.get("usage"), DIALECT, _ASKED, _ANSWERED, _DETAILS)


def _is_filler(document: Mapping[str, Any]) -> bool:
    """Whether an object is empty by design: a ping, or a chunk without choices."""
    kind = document.get("object")
    if isinstance(kind, str):
        return kind.startswith("chat.completion")
    return not document or document.get("type") in ("ping", "heartbeat", "keepalive")


def _text_of(details: list[Any]) -> str:
    """Return the readable text in OpenRouter's details of reasoning."""
    items = [as_object(item) for item in details]
    return "".join([as_text(item.get("text")) or as_text(item.get("summary")) for item in items])
