"""Ollama's own API: `/api/chat`, and the serving side of `/api/generate`.

Source: Ollama's API reference and the types of its server. Tool calls have ids since its version
0.12.10; from clients that send none, a tool's answer belongs to the next call of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.formats.contract import ClientCall, Exchange
from berlin.formats.function_tools import encode_tools
from berlin.formats.habits import NO_HABITS, Habits
from berlin.formats.ollama import encoder as ollama_encoder
from berlin.formats.ollama import request as ollama_request
from berlin.formats.ollama.decoder import OllamaDecoder
from berlin.formats.ollama.encoder import OllamaEncoder, chat_shape, generate_shape
from berlin.formats.ollama.outgoing import encode_messages, encode_think
from berlin.formats.ollama.table import TABLE
from berlin.formats.table import Carrier
from berlin.types import ChatRequest, ChatResponse, HttpRequest
from berlin.wire.json import encode_body, loads
from berlin.wire.status import EXPLANATIONS, describe_error

CHAT_PATH = "/api/chat"

# Members that the format itself sets.
RESERVED = frozenset(
    {"messages", "model", "stream", "options", "tools", "tool_choice", "format", "response_format"}
)

# Members beside `options`, not in it.
TOP_LEVEL = frozenset({"think", "keep_alive"})

RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


class OllamaChatFormat:
    """The format, both ways.

    Args:
        default_model: the model of requests that name none.
        path: where the chat is posted, below the endpoint's URL.
        defaults: members of the body that a request may override; `options` one by one.
        rename: the service's names of options.
        habits: in other differences of the service.

    Raises:
        ConfigurationError: if the default options are not a table.
    """

    content_type = "application/x-ndjson"
    poll_s: float | None = None

    def __init__(
        self,
        default_model: str = "",
        path: str = CHAT_PATH,
        defaults: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
        habits: Habits = NO_HABITS,
    ) -> None:
        self._default_model = default_model
        self._habits = habits
        self._path = path
        self._defaults = dict(defaults or {})
        options = self._defaults.pop("options", {})
        if not isinstance(options, Mapping):
            raise ConfigurationError("defaults.options must be a table of options")
        self._default_options = dict(options)
        self._rename = {**RENAMED, **(rename or {})}

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests; see `Format`."""
        yield from ()  # no preparation is needed
        carrier = Carrier(TABLE)
        own = dict(carrier.own(request.extra))
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": encode_messages(request.messages, carrier),
            "stream": self._habits.streams(request.stream),
        }
        options = dict(self._default_options)
        for name, value in request.options.items():
            self._place_option(name, value, document, options, carrier)
        if isinstance(more := own.pop("options", None), Mapping):
            options |= more
        if options:
            document["options"] = options
        carrier.takes("parallel_tool_calls", request.parallel_tool_calls)
        if request.tools and request.tool_choice != "none":
            if request.tool_choice != "auto":
                raise InvalidRequestError.about("tool_choice", "this service knows auto and none")
            document["tools"] = encode_tools(request.tools, carrier)
        if request.response_format is not None:
            schema = request.response_format.schema
            document["format"] = loads(schema) if schema else "json"
        document |= {**encode_think(request, carrier), **own}
        headers = {"Content-Type": "application/json", "Accept": self.content_type}
        body = encode_body(document)
        return HttpRequest("POST", self._path, headers, body=body, dropped=carrier.dropped)

    def decoder(self) -> OllamaDecoder:
        """Return a decoder for one answer."""
        return OllamaDecoder()

    def describe_error(self, body: bytes) -> str:
        """Return the message in the body of an error response."""
        return describe_error(body, EXPLANATIONS)

    def decode_request(self, body: bytes) -> ClientCall:
        """Decode a client's request; see `Format`."""
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
        self,
        name: str,
        value: Any,
        document: dict[str, Any],
        options: dict[str, Any],
        carrier: Carrier,
    ) -> None:
        if name in RESERVED:
            raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        if name == "reasoning_effort" or not carrier.takes(name, value):
            return
        if name in TOP_LEVEL:
            document[name] = value
        elif name == "stop" and isinstance(value, str):
            options[self._rename.get(name, name)] = [value]
        else:
            options[self._rename.get(name, name)] = value


class OllamaGenerateFormat(OllamaChatFormat):
    """The format of `/api/generate` for serving only.

    As a client it is the chat's, which covers everything generate can do.
    """

    def decode_request(self, body: bytes) -> ClientCall:
        """Decode a client's request; see `Format`."""
        return ollama_request.decode_generate(body)

    def encoder(self, call: ClientCall) -> OllamaEncoder:
        """Return an encoder for the streamed answer to a call."""
        return OllamaEncoder(call, generate_shape)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return ollama_encoder.encode_response(call, response, generate_shape)
