"""Ollama's own API: `/api/chat`, and the serving side of `/api/generate`.

Source: Ollama's API reference and the types of its server. Tool calls have ids since its version
0.12.10; from clients that send none, a tool's answer belongs to the next call of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.formats.contract import ClientCall
from berlin.formats.dialect import DialectFormat
from berlin.formats.function_tools import encode_tools
from berlin.formats.ollama import encoder as ollama_encoder
from berlin.formats.ollama import request as ollama_request
from berlin.formats.ollama.decoder import OllamaDecoder
from berlin.formats.ollama.encoder import OllamaEncoder, Shape, chat_shape, generate_shape
from berlin.formats.ollama.outgoing import encode_messages, encode_think
from berlin.formats.ollama.table import TABLE
from berlin.formats.table import Carrier
from berlin.types import ChatRequest, ChatResponse
from berlin.wire.json import loads

# Members that the format itself sets.
RESERVED = frozenset(
    {"messages", "model", "stream", "options", "tools", "tool_choice", "format", "response_format"}
)

# Members beside `options`, not in it.
TOP_LEVEL = frozenset({"think", "keep_alive"})

RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


class OllamaChatFormat(DialectFormat):
    """The format, both ways; see `DialectFormat`. The default `options` are merged one by one.

    Raises:
        ConfigurationError: if the default options are not a table.
    """

    content_type = "application/x-ndjson"
    chat_path = "/api/chat"
    table = TABLE
    renamed = RENAMED
    reserved = RESERVED
    decoder = staticmethod(OllamaDecoder)
    decode_request = staticmethod(ollama_request.decode_chat)
    encode_error = staticmethod(ollama_encoder.encode_error)
    shape: Shape = staticmethod(chat_shape)

    def _prepare(self) -> None:
        options = self._defaults.pop("options", {})
        if not isinstance(options, Mapping):
            raise ConfigurationError("json.options must be a table of options")
        self._default_options = dict(options)

    def encoder(self, call: ClientCall) -> OllamaEncoder:
        """Return an encoder for the streamed answer to a call."""
        return OllamaEncoder(call, self.shape)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return ollama_encoder.encode_response(call, response, self.shape)

    def _document(
        self, request: ChatRequest, carrier: Carrier, headers: dict[str, str], *, streams: bool
    ) -> dict[str, Any]:
        headers["Accept"] = self.content_type
        own = dict(carrier.own(request.extra))
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": encode_messages(request.messages, carrier),
            "stream": streams,
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
        return document

    def _place_option(
        self,
        name: str,
        value: Any,
        document: dict[str, Any],
        options: dict[str, Any],
        carrier: Carrier,
    ) -> None:
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

    decode_request = staticmethod(ollama_request.decode_generate)
    shape = staticmethod(generate_shape)
