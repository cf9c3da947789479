"""The table `[chat.stream]` of a recipe, and its compiled form."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    ContextLengthError,
    PermissionDeniedError,
    RateLimitError,
    RequestRejectedError,
    ServiceUnavailableError,
)
from berlin.language.values.typed import (
    Accessor,
    AnyDocument,
    CompiledDocument,
    Pointer,
)
from berlin.types import FinishReason
from berlin.wire.framings import FramingName
from berlin.wire.framings.decoded import Encoded, Encoding
from berlin.wire.pointer import MISSING, first_at, is_index, is_special, parse_pointer
from berlin.wire.status import describe_error, error_in_answer, is_error_status

Meaning: TypeAlias = Literal["text", "replace", "reasoning", "end", "final", "error", "skip"]
"""The meaning of a kind of object. `replace`: its text is the whole answer so far; `final`: the
same, and the answer ends with it."""

Ends: TypeAlias = Literal["body", "finish_reason"]
"""The end of a complete answer: `body`, its end; `finish_reason`, that or the framing's marker."""

ErrorWord: TypeAlias = Literal[
    "authentication", "permission", "rate_limit", "unavailable", "rejected", "context_length"
]

ERROR_CLASSES: dict[ErrorWord, type[BerlinError]] = {
    "authentication": AuthenticationError,
    "permission": PermissionDeniedError,
    "rate_limit": RateLimitError,
    "unavailable": ServiceUnavailableError,
    "rejected": RequestRejectedError,
    "context_length": ContextLengthError,
}


class ToolCallMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.stream.tool_call]`: pointers into one item of the list of tool calls.

    Attributes:
        id: the call's id.
        name: the tool's name.
        arguments: the next piece of its arguments as text, or all of them as an object.
        index: the index of the call this piece belongs to.
    """

    id: str = "/id"
    name: str = "/function/name"
    arguments: str = "/function/arguments"
    index: str = "/index"


class StreamMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.stream]` of a recipe. Of several pointers the first that finds a value
    counts.

    Attributes:
        framing: how the answer is cut: `ndjson`, one object per line; `sse`, server-sent events
            whose data are objects; `sse-events`, objects `{"event": name, "data": …}` made of
            server-sent events; `sse-text`, the same with data that is plain text; `json`, the
            whole body is one object; `json-array`, a streamed list of objects; `text`,
            plain text, as objects `{"data": …}`; `aws-events`, Amazon's binary event stream;
            `connect`, messages of the Connect protocol, whose requests are in an envelope too;
            `length-prefixed`, documents after lines with their lengths; `multipart`, parts of
            `multipart/mixed`; `tagged-lines`, lines such as `0:"text"`, as objects
            `{"event": tag, "data": …}`.
        text: pointers to the next piece of text; `/data` for `text` and `sse-text`.
        text_is: `delta`, if each piece is new; `cumulative`, if each is the whole answer so far.
        reasoning: pointers to the next piece of the model's reasoning, never cumulative.
        kind: pointer to the kind of the object: text, or a number.
        kinds: the meaning of each kind: `text`, `replace` (the whole answer so far), `reasoning`
            (at the pointers of `text`), `end` (it may contain text too), `final` (the whole answer,
            and its end), `error` or `skip`; kinds that are not listed are skipped.
        others: what to do with an object in which nothing described is found: `error` or `skip`.
        done: the data of the server-sent event that ends the answer.
        finish_reason: pointers to the reason why the answer ended.
        finish_reasons: the service's words for `stop`, `length`, `tool_calls`, `content_filter`;
            what is not listed is `stop`.
        unfinished: values at `finish_reason` that mean the answer continues.
        input_tokens: pointers to the number of prompt tokens.
        output_tokens: pointers to the number of completion tokens.
        tool_calls: pointers to a list of tool calls.
        tool_call: pointers into one of them.
        conversation_id: pointers to the service's id of the conversation.
        message_id: pointers to its id of the answer.
        error: pointers to an error; any non-empty value there ends the answer.
        error_message: pointers to the explanation in an object that carries nothing else.
        error_code: pointers to its code; from 400 to 599 it means what the HTTP status means.
        error_codes: what other codes mean: `authentication`, `permission`, `rate_limit`,
            `unavailable`, `rejected` or `context_length`.
        unauthorized: codes that mean the token is no longer valid.
        ends: `body`, if the end of the body is the end of the answer; `finish_reason`, if an
            answer without one (or without `done`, or an object of the kind `end`) was cut off.
        settle_s: for a service that rewrites its text while it streams (a spinner, a draft):
            seconds without a rewrite after which the text is shown. Only what is rewritten later
            ends the stream with an error.
        text_of: pointers to an id of the message that the text belongs to, where an answer has
            several: cumulative text starts over with each, and they are separated by a blank line.
        prefix: what a service puts before its JSON to prevent script inclusion, such as `)]}'`;
            it is taken off, from the answer or from each object.
        padding: characters that the service adds to its text to hide its length, such as
            `"\\u0000"`; they are removed.
        decode: pointers to members that are encoded, and how: `json` (JSON in a text), `base64`, or
            a list of these from the outside in. All other pointers see them decoded.
    """

    framing: FramingName
    text: str | list[str] = []
    text_is: Literal["delta", "cumulative"] = "delta"
    reasoning: str | list[str] = []
    kind: str | None = None
    kinds: dict[str, Meaning] = {}
    others: Literal["error", "skip"] = "error"
    done: str = "[DONE]"
    finish_reason: str | list[str] = []
    finish_reasons: dict[str, FinishReason] = {}
    unfinished: list[str] = []
    input_tokens: str | list[str] = []
    output_tokens: str | list[str] = []
    tool_calls: str | list[str] = []
    tool_call: ToolCallMap = ToolCallMap()
    conversation_id: str | list[str] = []
    message_id: str | list[str] = []
    error: str | list[str] = []
    error_message: str | list[str] = []
    error_code: str | list[str] = []
    error_codes: dict[str, ErrorWord] = {}
    unauthorized: tuple[int | str, ...] = (401, "401")
    ends: Ends = "body"
    settle_s: float | None = None
    text_of: str | list[str] = []
    prefix: str = ""
    padding: str = ""
    decode: dict[str, Encoding | tuple[Encoding, ...]] = {}


class CompiledStream:
    """A `StreamMap`, ready for use by any number of answers. Raises ConfigurationError.

    Args:
        is_polled: whether the service is asked again and again until there is a finish reason.
        is_open_ended: whether a finish reason ends the answer, as on a WebSocket that stays open.
    """

    def __init__(
        self, stream: StreamMap, *, is_polled: bool = False, is_open_ended: bool = False
    ) -> None:
        self.described = stream
        # Nothing else ends the answer: the next question's answer would follow on the same socket.
        self.stops_at_reason = is_polled or is_open_ended
        self.is_polled = is_polled
        self.text = _pointers(stream.text)
        if not self.text and stream.framing in ("text", "sse-text"):
            self.text = (("data",),)
        if not self.text:
            raise ConfigurationError("[chat.stream] text names no pointer: where is the text?")
        if stream.framing == "text" and (
            self.text != (("data",),) or stream.text_is != "delta" or stream.kind
        ):
            raise ConfigurationError(
                'framing = "text" has nothing but text: leave text, text_is and kind out'
            )
        if is_polled and not (stream.finish_reason and stream.framing == "json"):
            raise ConfigurationError(
                'poll_s needs framing = "json" and a finish_reason that says when to stop'
            )
        if stream.settle_s is not None:
            _check_settle(stream)
        if bool(stream.kind) != bool(stream.kinds):
            raise ConfigurationError("kind and kinds belong together: give both, or none")
        self.reasoning = _pointers(stream.reasoning)
        self.kind = parse_pointer(stream.kind) if stream.kind else None
        self.finish_reason = _pointers(stream.finish_reason)
        self.input_tokens = _pointers(stream.input_tokens)
        self.output_tokens = _pointers(stream.output_tokens)
        self.tool_calls = _pointers(stream.tool_calls)
        call = stream.tool_call
        self.tool_call = tuple(
            parse_pointer(p) for p in (call.index, call.id, call.name, call.arguments)
        )
        self.conversation_id = _pointers(stream.conversation_id)
        self.message_id = _pointers(stream.message_id)
        self.error = _pointers(stream.error)
        self.error_message = _pointers(stream.error_message)
        self.error_code = _pointers(stream.error_code)
        self.encoded: Encoded = {
            parse_pointer(pointer): (how,) if isinstance(how, str) else how
            for pointer, how in stream.decode.items()
        }
        if any(map(is_special, self.encoded)):
            raise ConfigurationError("decode: a pointer names one member, without * or conditions")
        self._compile()

    def _compile(self) -> None:
        """Compile the readers of all pointers."""
        # What is looked for in every object, and what only in objects without text.
        more = {
            *self.reasoning,
            *self.finish_reason,
            *self.input_tokens,
            *self.output_tokens,
            *self.tool_calls,
            *self.conversation_id,
            *self.message_id,
            *self.error,
        }
        texts = [*self.text, *((self.kind,) if self.kind else ())]
        # Where the text is in a list, an object there has no type: it is examined by hand.
        explanations = {
            pointer
            for pointer in (*self.error_message, *self.error_code)
            if not any(_is_other_form(pointer, text) for text in texts)
        }
        self.text_of = _pointers(self.described.text_of)
        more |= set(self.text_of)
        document: CompiledDocument | AnyDocument
        special = any(map(is_special, (*texts, *more, *self.error_message, *self.error_code)))
        nested = any(a != b and b[: len(a)] == a for a in self.text for b in self.text)
        # Kinds may be numbers, and a value may be a text or hold one: neither has one type.
        if special or nested or any(map(str.isdecimal, self.described.kinds)):
            explanations = {*self.error_message, *self.error_code}
            document = AnyDocument(self.text)
        else:
            document = CompiledDocument(texts, sorted((more | explanations) - set(texts)))
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(document.type)
        self.read_text = _first([document.reader(pointer) for pointer in self.text])
        self.read_kind = document.reader(self.kind) if self.kind else None
        if self.described.padding:
            self.read_text = _without(self.described.padding, self.read_text)
        # There is none where text and kind need more than a look.
        self.take_plain = (
            document.plain_taker(self.text[0], sorted(more - set(texts)))
            if isinstance(document, CompiledDocument)
            and len(texts) == 1
            and not (
                self.described.padding or self.text_of or self.described.text_is == "cumulative"
            )
            else None
        )
        self._readers = {p: document.reader(p) for p in more | explanations}

    def read(self, document: Any, pointers: tuple[Pointer, ...]) -> Any:
        """Return the first value of a decoded object that is present and not null, or `UNSET`."""
        for pointer in pointers:
            reader = self._readers.get(pointer)
            value = UNSET if reader is None else reader(document)
            if value is not UNSET and value is not None:
                return value
        return UNSET

    def is_error_code(self, code: Any) -> bool:
        """Return whether a code alone means an error."""
        described = self.described
        return code is not UNSET and (
            code in described.unauthorized
            or str(code) in described.error_codes
            or (isinstance(code, int | str) and is_error_status(code))
        )

    def failure(self, error: Any, message: Any, code: Any) -> BerlinError:
        """Return the error that an object of an answer is; `UNSET` for what it lacks."""
        word = self.described.error_codes.get(str(code))
        failure = error_in_answer(error, message, code, self.described.unauthorized)
        if word is not None and not isinstance(failure, AuthenticationError):
            failure = ERROR_CLASSES[word](failure.message, status=failure.status)
        return failure

    def failure_in(self, document: Any) -> BerlinError | None:
        """Return the error in any JSON of the service, if there is one."""
        error, message, code = (
            UNSET if value is MISSING else value
            for value in (
                first_at(document, pointers)
                for pointers in (self.error, self.error_message, self.error_code)
            )
        )
        is_failure = (error is not UNSET and error) or self.is_error_code(code)
        return self.failure(error, message, code) if is_failure else None

    def describe_error(self, body: bytes) -> str:
        """Return the message in an error answer, or its beginning; at most 300 characters."""
        return describe_error(body, (*self.error, *self.error_message))


def _check_settle(stream: StreamMap) -> None:
    if not (stream.settle_s and 0 < stream.settle_s < math.inf):
        raise ConfigurationError("settle_s must be a positive number of seconds")
    if stream.text_is != "cumulative" and "replace" not in stream.kinds.values():
        raise ConfigurationError(
            "settle_s is for text that is rewritten: it needs "
            'text_is = "cumulative" or a kind "replace"'
        )


def _pointers(value: str | list[str]) -> tuple[Pointer, ...]:
    return tuple(parse_pointer(p) for p in ([value] if isinstance(value, str) else value))


def _is_other_form(pointer: Pointer, text: Pointer) -> bool:
    """Return whether one goes through a list where the other goes through an object or ends."""
    for mine, theirs in zip(pointer, text, strict=False):
        if mine != theirs:
            return is_index(mine) != is_index(theirs)
    return len(pointer) < len(text)


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


def _without(padding: str, read: Accessor) -> Accessor:
    def read_text(document: Any) -> Any:
        text = read(document)
        return text.replace(padding, "") if isinstance(text, str) else text

    return read_text
