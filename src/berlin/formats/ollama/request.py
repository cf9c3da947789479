"""What clients of Ollama's API send.

Options that say how a model is loaded (`num_ctx`, `num_gpu` … and `keep_alive`) are left out:
that is not the business of a client here, and other services would refuse them. Options that
nobody knows are ignored, as Ollama does.
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
    decode_typed,
)
from berlin.formats.contract import ClientCall
from berlin.formats.function_tools import decode_tools
from berlin.formats.ollama.images import decode_image
from berlin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.json import encode_body

# `num_predict` without a limit: until the model stops, or until its context is full.
UNLIMITED = (-1, -2)

LEVELS = ("low", "medium", "high")


class _Options(msgspec.Struct):
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    typical_p: float | None = None
    stop: str | list[str] | None = None
    num_predict: int | None = None


class _Body(msgspec.Struct):
    """What a chat and generate have in common. What is not listed is ignored."""

    model: str
    stream: bool | None = None
    options: _Options | None = None
    format: Raw | UnsetType = UNSET
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


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


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


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


def decode_chat(body: bytes) -> ClientCall:
    """Return what a client sent to `/api/chat`. Raises InvalidRequestError."""
    sent = _decode(body, _CHAT)
    if not sent.messages:
        raise InvalidRequestError.about("messages", "is empty: give at least one message")
    conversation = _Conversation()
    messages = tuple(
        conversation.decode(_convert(message, f"messages[{n}]"), f"messages[{n}]")
        for n, message in enumerate(decode_messages(sent.messages))
    )
    return _call(sent, messages, sent.tools)


def decode_generate(body: bytes) -> ClientCall:
    """Return what a client sent to `/api/generate`. Raises InvalidRequestError."""
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
    return _call(sent, (*system, asked), None)


def _decode(body: bytes, decoder: msgspec.json.Decoder[_BodyT]) -> _BodyT:
    sent = decode_typed(body, decoder)
    if not check_model(sent.model):
        raise InvalidRequestError.about("model", "is empty: name a model")
    for param in ("logprobs", "top_logprobs"):
        if getattr(sent, param):
            raise InvalidRequestError.about(param, "is not supported here; leave it out")
    return sent


def _call(sent: _Body, messages: tuple[Message, ...], tools: list[Raw] | None) -> ClientCall:
    request = ChatRequest(
        messages,
        check_model(sent.model),
        _decode_options(sent),
        decode_tools(tools),
        response_format=_decode_format(sent.format),
    )
    return ClientCall(request, stream=sent.stream is not False, include_usage=True)


def _decode_options(sent: _Body) -> dict[str, Any]:
    options = msgspec.structs.asdict(sent.options or _Options())
    limit = options.pop("num_predict")
    if limit not in UNLIMITED:
        options["max_tokens"] = check_count("options.num_predict", limit)
    match sent.think:
        case False:
            options["reasoning_effort"] = "none"
        case str(level) if level in LEVELS:
            options["reasoning_effort"] = level
        case str():
            raise InvalidRequestError.about("think", "must be true, false, low, medium or high")
    return check_numbers(options)


def _decode_format(raw: Raw | UnsetType) -> ResponseFormat | None:
    match None if raw is UNSET else decode_member(raw, "format"):
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

    def decode(self, message: _Message, param: str) -> Message:
        """Return a message. Raises InvalidRequestError."""
        role = _ROLES.get(message.role.lower())
        if role is None:
            shown = repr(message.role)[:40]
            raise InvalidRequestError.about(
                f"{param}.role", f"is {shown}; expected one of {', '.join(_ROLES)}"
            )
        text = message.content or ""
        if role == "tool":
            id = self._answered(message)
            return Message(role, (ToolResultPart(id, text) if id else TextPart(text),))
        if role == "user":
            # A tool that did not answer until now will not: later calls may have its name.
            self._unanswered.clear()
        calls = self._calls(message.tool_calls or [])
        parts: list[Part] = [*_images(message.images, f"{param}.images"), *calls]
        if text or not parts:
            parts.insert(0, TextPart(text))
        return Message(role, tuple(parts))

    def _calls(self, calls: list[_Call]) -> list[ToolCallPart]:
        parts = []
        for call in calls:
            arguments = call.function.arguments or {}
            if isinstance(arguments, dict):
                arguments = encode_body(arguments).decode()
            parts.append(
                ToolCallPart(call.id or f"call_{self._count}", call.function.name, arguments)
            )
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
    return [ImagePart(decode_image(data, f"{param}[{n}]")) for n, data in enumerate(images or ())]
