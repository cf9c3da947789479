"""Reads what clients of Ollama's API send.

Options that only Ollama knows (`num_ctx`, `mirostat` …) and `keep_alive` travel beside the
request: they reach an Ollama, and no other service.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import InvalidRequestError
from berlin.formats.client_request import (
    check_count,
    check_model,
    check_numbers,
    decode_member,
    decode_messages,
    decode_rest,
    decode_typed,
)
from berlin.formats.contract import ClientCall
from berlin.formats.function_tools import decode_tools
from berlin.formats.loose import others
from berlin.formats.ollama.table import DIALECT
from berlin.types import (
    ChatRequest,
    Extra,
    ImagePart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    make_extra,
)
from berlin.wire.data_urls import clean_base64, make_data_url, media_type_of, parse_data_url
from berlin.wire.json import encode_body

# `num_predict` without a limit: until the model stops, or until its context is full.
UNLIMITED = (-1, -2)

LEVELS = ("low", "medium", "high")


class _Options(msgspec.Struct):
    temperature: int | float | None = None
    top_p: int | float | None = None
    top_k: int | float | None = None
    min_p: int | float | None = None
    seed: int | float | None = None
    presence_penalty: int | float | None = None
    frequency_penalty: int | float | None = None
    stop: str | list[str] | None = None
    num_predict: int | float | None = None


class _Body(msgspec.Struct):
    """The members common to chat and generate. Unlisted members travel beside it."""

    model: str
    stream: bool | None = None
    options: _Options | None = None
    format: Raw | UnsetType = UNSET
    think: bool | str | None = None


class _ChatBody(_Body):
    messages: list[Raw] | None = None
    tools: list[Raw] | None = None


class _GenerateBody(_Body):
    prompt: str = ""
    system: str = ""
    images: list[str] | None = None
    suffix: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[int] | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str | None = None
    index: int | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    thinking: str | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


_KNOWN = frozenset({*_ChatBody.__struct_fields__, *_GenerateBody.__struct_fields__, "options"})
_MESSAGE = frozenset(_Message.__struct_fields__)
_CHAT = msgspec.json.Decoder(_ChatBody)
_GENERATE = msgspec.json.Decoder(_GenerateBody)
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}

_BodyT = TypeVar("_BodyT", bound=_Body)


class _Asked(msgspec.Struct):
    """The members that show whether there is anything to answer."""

    model: str = ""
    messages: list[Raw] | None = None
    prompt: str | None = None
    images: list[Raw] | None = None
    keep_alive: float | str | None = None


_ASKED = msgspec.json.Decoder(_Asked)


def load_reason(body: bytes, *, chat: bool) -> tuple[str, str] | None:
    """Return the model and `load` or `unload`, if a request only loads or unloads a model.

    By this API, that is a chat without messages, or generate with an empty prompt.

    Raises:
        InvalidRequestError: if the body is invalid.
    """
    asked = decode_typed(body, _ASKED)
    if asked.messages if chat else (asked.prompt or asked.images):
        return None
    ends = asked.keep_alive in (0, "0", "0s")
    return check_model(asked.model), "unload" if ends else "load"


def decode_chat(body: bytes) -> ClientCall:
    """Decode a client's request to `/api/chat`. Raises InvalidRequestError."""
    sent = _decode(body, _CHAT)
    if not sent.messages:
        raise InvalidRequestError.about("messages", "is empty: give at least one message")
    conversation = _Conversation()
    messages = tuple(
        conversation.decode(message, f"messages[{n}]")
        for n, message in enumerate(decode_messages(sent.messages))
    )
    return _call(sent, body, messages, sent.tools)


def decode_generate(body: bytes) -> ClientCall:
    """Decode a client's request to `/api/generate`. Raises InvalidRequestError."""
    sent = _decode(body, _GENERATE)
    for param in ("suffix", "template", "raw", "context"):
        if getattr(sent, param):
            raise InvalidRequestError.about(param, "is not supported here; leave it out")
    images = _images(sent.images, "images")
    if not sent.prompt and not images:
        raise InvalidRequestError.about("prompt", "is empty: give one")
    system = (Message.of("system", sent.system),) if sent.system else ()
    text = (TextPart(sent.prompt),) if sent.prompt else ()
    asked = Message("user", (*text, *images))
    return _call(sent, body, (*system, asked), None)


def _decode(body: bytes, decoder: msgspec.json.Decoder[_BodyT]) -> _BodyT:
    sent = decode_typed(body, decoder)
    if not check_model(sent.model):
        raise InvalidRequestError.about("model", "is empty: name a model")
    return sent


def _call(
    sent: _Body, body: bytes, messages: tuple[Message, ...], tools: list[Raw] | None
) -> ClientCall:
    rest = decode_rest(body, _KNOWN)
    if more := _options_of(body):
        rest["options"] = more
    request = ChatRequest(
        messages,
        check_model(sent.model),
        _decode_options(sent),
        decode_tools(tools, DIALECT),
        response_format=_decode_format(sent.format),
        reasoning=_decode_think(sent.think),
        stream=sent.stream is not False,
        extra=Extra(DIALECT, rest),
    )
    return ClientCall(request, stream=sent.stream is not False, include_usage=True)


class _WithOptions(msgspec.Struct):
    options: dict[str, Any] | None = None


_WITH_OPTIONS = msgspec.json.Decoder(_WithOptions)


def _options_of(body: bytes) -> dict[str, Any]:
    """Return the options that only this dialect has a word for."""
    options = decode_typed(body, _WITH_OPTIONS).options or {}
    limit = options.get("num_predict")
    known = set(_Options.__struct_fields__) - ({"num_predict"} if limit in UNLIMITED else set())
    return {name: value for name, value in options.items() if name not in known}


def _decode_options(sent: _Body) -> dict[str, Any]:
    options = msgspec.structs.asdict(sent.options or _Options())
    for name in ("top_k", "seed", "num_predict"):
        value = options[name]
        if isinstance(value, float):  # Ollama takes `40.0` too: some clients have only floats
            if not value.is_integer():
                raise InvalidRequestError.about(f"options.{name}", "must be a whole number")
            options[name] = int(value)
    limit = options.pop("num_predict")
    if limit not in UNLIMITED:
        options["max_tokens"] = check_count("options.num_predict", limit)
    return check_numbers(options)


def _decode_think(think: bool | str | None) -> Reasoning | None:
    extra = Extra(DIALECT, {"think": think})
    match think:
        case None:
            return None
        case True:
            return Reasoning("medium", extra=extra)
        case False:
            return Reasoning("none", extra=extra)
        case str() if think in LEVELS:
            return Reasoning(think, extra=extra)
    raise InvalidRequestError.about("think", "must be true, false, low, medium or high")


def _decode_format(raw: Raw | UnsetType) -> ResponseFormat | None:
    match decode_member(raw, "format"):
        case None | "":
            return None
        case "json":
            return ResponseFormat()
        case dict(schema):
            return ResponseFormat(encode_body(schema).decode())
    raise InvalidRequestError.about("format", 'must be "json" or a JSON Schema')


class _Conversation:
    """Decodes messages in their order, and finds the call that each tool answers."""

    def __init__(self) -> None:
        self._count = 0
        self._unanswered: list[ToolCallPart] = []

    def decode(self, value: Any, param: str) -> Message:
        """Return a message. Raises InvalidRequestError."""
        message = _convert(value, param)
        extra = make_extra(DIALECT, others(value, _MESSAGE))
        role = _ROLES.get(message.role.lower())
        if role is None:
            shown = repr(message.role)[:40]
            raise InvalidRequestError.about(
                f"{param}.role", f"is {shown}; expected one of {', '.join(_ROLES)}"
            )
        text = message.content or ""
        if role == "tool":
            return Message(role, self._result(message, text, param), extra)
        if role == "user":
            # A tool without a result by now will not get one: later calls may have its name.
            self._unanswered.clear()
        calls = self._calls(message.tool_calls or [])
        parts: list[Part] = [*_images(message.images, f"{param}.images"), *calls]
        if text or not parts:
            parts.insert(0, TextPart(text))
        if message.thinking:
            parts.insert(0, ReasoningPart(message.thinking))
        return Message(role, tuple(parts), extra)

    def _result(self, message: _Message, text: str, param: str) -> tuple[Part, ...]:
        id = self._answered(message)
        images = _images(message.images, f"{param}.images")
        if not id:
            return (TextPart(text), *images)
        more: dict[str, Any] = {} if message.tool_call_id else {"made_id": True}
        if message.tool_name:
            more["tool_name"] = message.tool_name
        parts: tuple[TextPart | ImagePart, ...] = (TextPart(text), *images) if images else ()
        return (ToolResultPart(id, text, parts=parts, extra=make_extra(DIALECT, more)),)

    def _calls(self, calls: list[_Call]) -> list[ToolCallPart]:
        parts = []
        for call in calls:
            arguments = call.function.arguments or {}
            if isinstance(arguments, dict):
                arguments = encode_body(arguments).decode()
            more: dict[str, Any] = {} if call.id else {"made_id": True}
            if call.function.index is not None:
                more["function"] = {"index": call.function.index}
            id = call.id or f"call_{self._count}"
            extra = make_extra(DIALECT, more)
            parts.append(ToolCallPart(id, call.function.name, arguments, extra))
            self._count += 1
        self._unanswered += parts
        return parts

    def _answered(self, message: _Message) -> str:
        """Return the id of the call that a tool's message answers; `""` if there is none."""
        id, name = message.tool_call_id, message.tool_name
        calls = self._unanswered
        found = next((c for c in calls if c.id == id), None) if id else None
        if found is None and not id:
            found = next((c for c in calls if not name or c.name == name), None)
        if found is not None:
            calls.remove(found)
        return id or (found.id if found else "")


def _convert(value: Any, param: str) -> _Message:
    try:
        return msgspec.convert(value, _Message)
    except msgspec.ValidationError as error:
        raise InvalidRequestError.about(param, str(error)) from error


def _images(images: list[str] | None, param: str) -> list[ImagePart]:
    return [ImagePart(_decode_image(data, f"{param}[{n}]")) for n, data in enumerate(images or ())]


def _decode_image(given: str, param: str) -> str:
    """Return the URL that contains an image; some programs send a whole `data:` URL.

    Raises:
        InvalidRequestError: if it is not base64, or of an unknown media type.
    """
    whole = parse_data_url(given)
    data = whole.base64 if whole is not None else clean_base64(given)
    kind = media_type_of(data)
    if not kind.startswith("image/"):
        raise InvalidRequestError.about(param, "must be the base64 of a PNG, JPEG, GIF or WebP")
    return make_data_url(kind, data)
