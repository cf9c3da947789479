"""The format of Anthropic's messages API, which its own service and others speak.

Source: Anthropic's API reference, and what its clients really send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.anthropic import encoder as anthropic_encoder
from berlin.formats.anthropic import request as anthropic_request
from berlin.formats.anthropic.conversation import encode_messages, encode_system
from berlin.formats.anthropic.decoder import AnthropicDecoder
from berlin.formats.anthropic.encoder import AnthropicEncoder
from berlin.formats.contract import ClientCall, Exchange
from berlin.types import ChatRequest, ChatResponse, HttpRequest, Tool
from berlin.wire.json import encode_body, loads
from berlin.wire.status import EXPLANATIONS, describe_error

MESSAGES_PATH = "/v1/messages"
VERSION = "2023-06-01"

DEFAULT_MAX_TOKENS = 4096
"""This API wants a limit in each request."""

# What the format itself fills.
RESERVED = frozenset(
    {"messages", "model", "stream", "system", "tools", "tool_choice", "response_format"}
)

# What this API has no word for.
REFUSED = frozenset(
    {
        *("presence_penalty", "frequency_penalty", "seed", "logit_bias"),
        *("reasoning_effort", "verbosity", "min_p"),
    }
)

RENAMED = {"stop": "stop_sequences", "max_completion_tokens": "max_tokens"}


class AnthropicMessagesFormat:
    """The format, both ways.

    Args:
        default_model: for requests that name none.
        path: where the chat is posted, below the endpoint's URL.
        defaults: members of the body that a request may override.
        rename: the service's names of options.
    """

    content_type = "text/event-stream"
    poll_s: float | None = None

    def __init__(
        self,
        default_model: str = "",
        path: str = MESSAGES_PATH,
        defaults: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self._default_model = default_model
        self._path = path
        self._rename = {**RENAMED, **(rename or {})}
        limit = self._rename.get("max_tokens", "max_tokens")
        self._defaults = {limit: DEFAULT_MAX_TOKENS, **(defaults or {})}

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return what is sent; see `Format`."""
        yield from ()  # nothing has to be prepared
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": encode_messages(request.messages),
            "stream": True,
        }
        if system := encode_system(request.messages):
            document["system"] = system
        options = dict(request.options)
        parallel = options.pop("parallel_tool_calls", True)
        for name, value in options.items():
            if name not in request.unasked or name not in REFUSED:
                self._place_option(name, value, document)
        if request.tools:
            document["tools"] = [_encode_tool(tool) for tool in request.tools]
            if request.tool_choice != "auto" or parallel is False:
                choice = _encode_choice(request.tool_choice, one=parallel is False)
                document["tool_choice"] = choice
        if request.response_format is not None:
            config = document.get("output_config")
            chosen = _encode_format(request.response_format.schema)
            known = config if isinstance(config, Mapping) else {}
            document["output_config"] = {**known, "format": chosen}
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "anthropic-version": VERSION,
        }
        return HttpRequest("POST", self._path, headers, body=encode_body(document))

    def decoder(self) -> AnthropicDecoder:
        """Return a decoder for one answer."""
        return AnthropicDecoder()

    def describe_error(self, body: bytes) -> str:
        """Return what the body of an error answer says."""
        return describe_error(body, EXPLANATIONS)

    def decode_request(self, body: bytes) -> ClientCall:
        """Return what a client sent, also to count its tokens; see `Format`."""
        return anthropic_request.decode_request(body)

    def encoder(self, call: ClientCall) -> AnthropicEncoder:
        """Return an encoder for the streamed answer to a call."""
        return AnthropicEncoder(call)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return anthropic_encoder.encode_response(call, response)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an answer that is an error."""
        return anthropic_encoder.encode_error(error)

    def _place_option(self, name: str, value: Any, document: dict[str, Any]) -> None:
        if name in RESERVED:
            raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        if name in REFUSED and name not in self._rename:
            raise InvalidRequestError.about(
                name, "this service has no option of that name; leave it out"
            )
        if name == "stop" and isinstance(value, str):
            value = [value]
        document[self._rename.get(name, name)] = value


def _encode_tool(tool: Tool) -> dict[str, Any]:
    schema = loads(tool.parameters)
    if not isinstance(schema, dict):
        raise InvalidRequestError.about("tools", f"the parameters of {tool.name!r} are no object")
    # This API wants the type, also where a tool takes nothing.
    schema = schema if "type" in schema else {"type": "object", **schema}
    encoded: dict[str, Any] = {"name": tool.name, "input_schema": schema}
    if tool.description:
        encoded["description"] = tool.description
    return encoded


def _encode_choice(choice: str, *, one: bool) -> dict[str, Any]:
    if choice == "none":
        return {"type": "none"}
    encoded: dict[str, Any] = {"type": "tool", "name": choice}
    if choice in ("auto", "required"):
        encoded = {"type": "auto" if choice == "auto" else "any"}
    return {**encoded, "disable_parallel_tool_use": True} if one else encoded


def _encode_format(schema: str) -> dict[str, Any]:
    parsed = loads(schema) if schema else {"type": "object"}
    if not isinstance(parsed, dict) or parsed == {"type": "object"}:
        raise InvalidRequestError.about(
            "response_format", "this service wants a JSON Schema that says what the members are"
        )
    return {"type": "json_schema", "schema": parsed}
