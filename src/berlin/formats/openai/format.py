"""The format of OpenAI's chat completions, which many services speak.

Source: OpenAI's API reference, and what servers and clients of it really send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.client_request import (
    check_count,
    check_model,
    check_numbers,
    decode_member,
    decode_messages,
    decode_typed,
)
from berlin.formats.contract import ClientCall, Exchange
from berlin.formats.function_tools import decode_tools, encode_tool
from berlin.formats.openai import encoder as openai_encoder
from berlin.formats.openai.decoder import OpenAIDecoder
from berlin.formats.openai.encoder import OpenAIEncoder
from berlin.formats.openai.messages import parse_messages
from berlin.types import (
    ChatRequest,
    ChatResponse,
    HttpRequest,
    ImagePart,
    Message,
    Part,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.json import encode_body, loads
from berlin.wire.status import EXPLANATIONS, describe_error

CHAT_PATH = "/chat/completions"

# What the format itself fills.
RESERVED = frozenset({"messages", "model", "stream", "tools", "tool_choice", "response_format"})


class OpenAIChatFormat:
    """The format, both ways.

    Args:
        default_model: for requests that name none.
        path: where the chat is posted, below the endpoint's URL.
        defaults: members of the body that a request may override.
        rename: the service's names of options.
    """

    content_type = "text/event-stream; charset=utf-8"
    poll_s: float | None = None

    def __init__(
        self,
        default_model: str = "",
        path: str = CHAT_PATH,
        defaults: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self._default_model = default_model
        self._path = path
        self._defaults = dict(defaults or {})
        self._rename = dict(rename or {})

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return what is sent; see `Format`."""
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": [item for m in request.messages for item in encode_message(m)],
            "stream": True,
        }
        for name, value in request.options.items():
            if name in RESERVED:
                raise InvalidRequestError(f"{name} is part of the protocol, not an option")
            document[self._rename.get(name, name)] = value
        if request.tools:
            document["tools"] = [encode_tool(tool) for tool in request.tools]
            if request.tool_choice != "auto":
                document["tool_choice"] = _encode_choice(request.tool_choice)
        if request.response_format is not None:
            document["response_format"] = _encode_format(request.response_format)
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        yield from ()  # nothing has to be prepared
        return HttpRequest("POST", self._path, headers, body=encode_body(document))

    def decoder(self) -> OpenAIDecoder:
        """Return a decoder for one answer."""
        return OpenAIDecoder()

    def describe_error(self, body: bytes) -> str:
        """Return what the body of an error answer says."""
        return describe_error(body, EXPLANATIONS)

    def decode_request(self, body: bytes) -> ClientCall:
        """Return what a client sent; see `Format`."""
        sent = decode_typed(body, _DECODER)
        if sent.n not in (None, 1):
            raise InvalidRequestError.about("n", "only one answer at a time; leave it out, or 1")
        for param in ("logprobs", "top_logprobs", "audio", "functions", "function_call"):
            if getattr(sent, param):
                raise InvalidRequestError.about(param, "is not supported here; leave it out")
        if sent.modalities not in (None, ["text"]):
            raise InvalidRequestError.about("modalities", 'only ["text"]')
        limits = {
            name: check_count(name, getattr(sent, name))
            for name in ("max_completion_tokens", "max_tokens")
        }
        options = {n: value for n in _OPTIONS if (value := getattr(sent, n)) is not None}
        for limit in limits.values():
            if limit is not None:
                options.setdefault("max_tokens", limit)
        tools = decode_tools(sent.tools)
        request = ChatRequest(
            parse_messages(decode_messages(sent.messages)),
            check_model(sent.model),
            check_numbers(options),
            tools,
            _decode_choice(sent.tool_choice, tools),
            response_format=_decode_format(sent.response_format),
        )
        usage = sent.stream_options is not None and bool(sent.stream_options.include_usage)
        return ClientCall(request, bool(sent.stream), usage)

    def encoder(self, call: ClientCall) -> OpenAIEncoder:
        """Return an encoder for the streamed answer to a call."""
        return OpenAIEncoder(call)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return openai_encoder.encode_response(call, response)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an answer that is an error."""
        return openai_encoder.encode_error(error)


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """A request. What is not listed is ignored, as clients of this format expect."""

    messages: list[Raw]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[str, float] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    parallel_tool_calls: bool | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw | UnsetType = UNSET
    response_format: Raw | UnsetType = UNSET
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    audio: dict[str, Raw] | None = None
    functions: list[Raw] | None = None
    function_call: str | dict[str, Raw] | None = None


_OPTIONS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "parallel_tool_calls",
)

_DECODER = msgspec.json.Decoder(_Body)


def encode_message(message: Message) -> list[dict[str, Any]]:
    """Return the objects for a message: one, or one for each tool result in it."""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    if results:
        return [{"role": "tool", "tool_call_id": p.id, "content": p.content} for p in results]
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    said = [part for part in message.parts if isinstance(part, TextPart | ImagePart)]
    content: Any = message.text
    if any(isinstance(part, ImagePart) for part in said):
        content = [_encode_part(part) for part in said]
    encoded: dict[str, Any] = {"role": message.role, "content": content}
    if calls:
        encoded["content"] = content or None
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    return [encoded]


def _encode_part(part: Part) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        return {"type": "image_url", "image_url": {"url": part.url}}
    return {"type": "text", "text": part.text if isinstance(part, TextPart) else ""}


def _encode_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _encode_format(wanted: ResponseFormat) -> dict[str, Any]:
    parsed = loads(wanted.schema or '{"type":"object"}')
    if parsed == {"type": "object"}:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": parsed}}


def _decode_choice(raw: Raw | UnsetType, tools: tuple[Tool, ...]) -> str:
    choice = None if raw is UNSET else decode_member(raw, "tool_choice")
    if not tools:
        if choice in (None, "auto", "none"):
            return "auto"
        raise InvalidRequestError.about("tool_choice", "asks for a tool, but there are no tools")
    match choice:
        case None:
            return "auto"
        case "auto" | "none" | "required":
            return str(choice)
        case "any":
            return "required"
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            if name in {tool.name for tool in tools}:
                return name
            raise InvalidRequestError.about("tool_choice", "names a tool that is not in tools")
    raise InvalidRequestError.about(
        "tool_choice", "must be auto, none, required or one function by its name"
    )


def _decode_format(raw: Raw | UnsetType) -> ResponseFormat | None:
    match None if raw is UNSET else decode_member(raw, "response_format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ResponseFormat()
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return ResponseFormat(encode_body(schema).decode())
    raise InvalidRequestError.about(
        "response_format", "must be of type text, json_object or json_schema with a schema"
    )
