"""The format of Ollama's own API: `/api/chat`, and the serving side of `/api/generate`.

Source: Ollama's API reference and the types of its server. Ids of tool calls are there since its
version 0.12.10; from those who send none, a tool's answer belongs to the next call of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.formats.contract import ClientCall, Exchange
from berlin.formats.function_tools import encode_tool
from berlin.formats.ollama import encoder as ollama_encoder
from berlin.formats.ollama import request as ollama_request
from berlin.formats.ollama.decoder import OllamaDecoder
from berlin.formats.ollama.encoder import (
    OllamaEncoder,
    arguments_object,
    chat_shape,
    generate_shape,
)
from berlin.formats.ollama.images import encode_image
from berlin.types import (
    ChatRequest,
    ChatResponse,
    HttpRequest,
    ImagePart,
    Message,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.json import encode_body, loads
from berlin.wire.status import EXPLANATIONS, describe_error

CHAT_PATH = "/api/chat"

# What the format itself fills.
RESERVED = frozenset(
    {"messages", "model", "stream", "options", "tools", "tool_choice", "format", "response_format"}
)

# What this API has no word for.
REFUSED = frozenset({"logit_bias", "parallel_tool_calls", "verbosity"})

# Members beside `options`, not in it.
TOP_LEVEL = frozenset({"think", "keep_alive"})

RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}

EFFORTS: dict[str, str | bool] = {"none": False, "low": "low", "medium": "medium", "high": "high"}


class OllamaChatFormat:
    """The format, both ways.

    Args:
        default_model: for requests that name none.
        path: where the chat is posted, below the endpoint's URL.
        defaults: members of the body that a request may override; `options` one by one.
        rename: the service's names of options.

    Raises:
        ConfigurationError: if the default options are no table.
    """

    content_type = "application/x-ndjson"
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
        options = self._defaults.pop("options", {})
        if not isinstance(options, Mapping):
            raise ConfigurationError("defaults.options must be a table of options")
        self._default_options = dict(options)
        self._rename = {**RENAMED, **(rename or {})}

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return what is sent; see `Format`."""
        yield from ()  # nothing prepares it
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": _encode_messages(request.messages),
            "stream": True,
        }
        options = dict(self._default_options)
        for name, value in request.options.items():
            self._place_option(name, value, document, options)
        if options:
            document["options"] = options
        if request.tools and request.tool_choice != "none":
            if request.tool_choice != "auto":
                raise InvalidRequestError.about("tool_choice", "this service knows auto and none")
            document["tools"] = [encode_tool(tool) for tool in request.tools]
        if request.response_format is not None:
            schema = request.response_format.schema
            document["format"] = loads(schema) if schema else "json"
        headers = {"Content-Type": "application/json", "Accept": self.content_type}
        return HttpRequest("POST", self._path, headers, body=encode_body(document))

    def decoder(self) -> OllamaDecoder:
        """Return a decoder for one answer."""
        return OllamaDecoder()

    def describe_error(self, body: bytes) -> str:
        """Return what the body of an error answer says."""
        return describe_error(body, EXPLANATIONS)

    def decode_request(self, body: bytes) -> ClientCall:
        """Return what a client sent; see `Format`."""
        return ollama_request.decode_chat(body)

    def encoder(self, call: ClientCall) -> OllamaEncoder:
        """Return an encoder for the streamed answer to a call."""
        return OllamaEncoder(call, chat_shape)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return ollama_encoder.encode_response(call, response, chat_shape)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an answer that is an error."""
        return ollama_encoder.encode_error(error)

    def _place_option(
        self, name: str, value: Any, document: dict[str, Any], options: dict[str, Any]
    ) -> None:
        if name in RESERVED:
            raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        if name in REFUSED:
            raise InvalidRequestError.about(name, "this service does not know it; leave it out")
        if name in TOP_LEVEL:
            document[name] = value
        elif name == "reasoning_effort":
            if not isinstance(value, str) or value not in EFFORTS:
                raise InvalidRequestError.about(name, f"must be one of {', '.join(EFFORTS)}")
            document["think"] = EFFORTS[value]
        elif name == "stop" and isinstance(value, str):
            options[self._rename.get(name, name)] = [value]
        else:
            options[self._rename.get(name, name)] = value


class OllamaGenerateFormat(OllamaChatFormat):
    """The format of `/api/generate` for those who serve it.

    As a client it is the chat's: whatever generate can be asked, the chat can be.
    """

    def decode_request(self, body: bytes) -> ClientCall:
        """Return what a client sent; see `Format`."""
        return ollama_request.decode_generate(body)

    def encoder(self, call: ClientCall) -> OllamaEncoder:
        """Return an encoder for the streamed answer to a call."""
        return OllamaEncoder(call, generate_shape)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return ollama_encoder.encode_response(call, response, generate_shape)


def _encode_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    encoded: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for n, message in enumerate(messages):
        calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
        names.update((call.id, call.name) for call in calls)
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        if results:
            encoded += [_encode_result(part, names.get(part.id, "")) for part in results]
            continue
        role = "system" if message.role == "developer" else message.role
        item: dict[str, Any] = {"role": role, "content": message.text}
        images = [part.url for part in message.parts if isinstance(part, ImagePart)]
        if images:
            item["images"] = [encode_image(url, f"messages[{n}]") for url in images]
        if calls:
            item["tool_calls"] = [_encode_call(call) for call in calls]
        encoded.append(item)
    return encoded


def _encode_result(result: ToolResultPart, name: str) -> dict[str, Any]:
    encoded = {"role": "tool", "content": result.content, "tool_call_id": result.id}
    return {**encoded, "tool_name": name} if name else encoded


def _encode_call(call: ToolCallPart) -> dict[str, Any]:
    arguments = msgspec.json.decode(arguments_object(call.arguments))
    return {"id": call.id, "function": {"name": call.name, "arguments": arguments}}
