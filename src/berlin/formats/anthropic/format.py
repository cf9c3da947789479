"""Anthropic's messages API, as used by its own service and others.

Source: Anthropic's API reference, and what its clients actually send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.answer import encode_error, encode_response
from berlin.formats.anthropic.decoder import AnthropicDecoder
from berlin.formats.anthropic.encoder import AnthropicEncoder
from berlin.formats.anthropic.outgoing import ConversationWriter
from berlin.formats.anthropic.request import decode_request
from berlin.formats.anthropic.table import BETA, DIALECT, TABLE
from berlin.formats.dialect import DialectFormat
from berlin.formats.reasoning import budget_of, reasoning_of
from berlin.formats.table import Carrier
from berlin.types import ChatRequest, Message, Tool, extra_of
from berlin.wire.json import loads

VERSION = "2023-06-01"

DEFAULT_MAX_TOKENS = 4096
"""This API requires a limit in each request."""

MIN_BUDGET_TOKENS = 1024
"""Of thinking, says this API's reference."""

# Members that the format itself sets.
RESERVED = frozenset(
    {"messages", "model", "stream", "system", "tools", "tool_choice", "response_format"}
)

RENAMED = {"stop": "stop_sequences", "max_completion_tokens": "max_tokens"}


class AnthropicMessagesFormat(DialectFormat):
    """The format, both ways; see `DialectFormat`. It also decodes requests to count tokens."""

    content_type = "text/event-stream"
    chat_path = "/v1/messages"
    table = TABLE
    renamed = RENAMED
    reserved = RESERVED
    decoder = staticmethod(AnthropicDecoder)
    decode_request = staticmethod(decode_request)
    encoder = staticmethod(AnthropicEncoder)
    encode_response = staticmethod(encode_response)
    encode_error = staticmethod(encode_error)

    def _prepare(self) -> None:
        limit = self._rename.get("max_tokens", "max_tokens")
        self._defaults = {limit: DEFAULT_MAX_TOKENS, **self._defaults}

    def _document(
        self, request: ChatRequest, carrier: Carrier, headers: dict[str, str], *, streams: bool
    ) -> dict[str, Any]:
        is_own = request.extra is not None and request.extra.dialect == DIALECT
        own = dict(carrier.own(request.extra))
        writer = ConversationWriter(carrier, is_own=is_own)
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": writer.messages(request.messages),
            "stream": streams,
        }
        if system := writer.system(request.messages):
            document["system"] = system
        for name, value in request.options.items():
            self._place_option(name, value, document, carrier)
        self._place_tools(request, document, carrier)
        headers["anthropic-version"] = VERSION
        if beta := own.pop(BETA, ""):
            headers[BETA] = beta
        document |= {n: v for n, v in own.items() if n != "output_config"}
        _place_config(request, own, document)
        if request.extra is not None and not is_own:
            _fit(request, document, carrier)
        _place_thinking(request, document, carrier)
        return document

    def _place_option(
        self, name: str, value: Any, document: dict[str, Any], carrier: Carrier
    ) -> None:
        if name == "reasoning_effort" and name not in self._rename:
            return
        if name == "parallel_tool_calls":
            return
        if name not in self._rename and not carrier.takes(name, value):
            return
        if name == "user":
            document.setdefault("metadata", {"user_id": value})
            return
        if name == "stop":
            # This API refuses sequences of white space.
            given = [value] if isinstance(value, str) else value
            value = [text for text in given if text.strip()]
            if not value:
                return
        document[self._rename.get(name, name)] = value

    def _place_tools(
        self, request: ChatRequest, document: dict[str, Any], carrier: Carrier
    ) -> None:
        if not request.tools:
            return
        document["tools"] = [_encode_tool(tool, carrier) for tool in carrier.tools(request.tools)]
        parallel = request.parallel_tool_calls
        if parallel is None:
            parallel = request.options.get("parallel_tool_calls")
        if request.tool_choice != "auto" or parallel is False:
            choice = _encode_choice(request.tool_choice, one=parallel is False)
            document["tool_choice"] = choice


def _fit(request: ChatRequest, document: dict[str, Any], carrier: Carrier) -> None:
    """Drop one of two options that newer models refuse together; other clients send both."""
    both = "temperature" in document and "top_p" in request.options and "top_p" in document
    if both and document.pop("top_p") != 1:
        carrier.drop("top_p")


def _place_config(request: ChatRequest, own: Mapping[str, Any], document: dict[str, Any]) -> None:
    """Add the settings of the answer: its format, and the client's other settings."""
    config = {**_as_table(document.get("output_config")), **_as_table(own.get("output_config"))}
    wanted = request.response_format
    if wanted is not None:
        own = dict(extra_of(wanted.extra, DIALECT))
        is_beta = own.pop("output_format", False)
        encoded = {**_encode_format(wanted.schema), **own}
        (document if is_beta else config)["output_format" if is_beta else "format"] = encoded
    if config:
        document["output_config"] = config


def _as_table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _place_thinking(request: ChatRequest, document: dict[str, Any], carrier: Carrier) -> None:
    """Add the thinking budget, if the request has one and this API supports it.

    A budget has to be smaller than the limit of the answer, at least 1024 tokens, and goes with
    neither a forced tool nor other temperatures; a tool turn can only continue thinking if it
    contains the model's signed reasoning.
    """
    reasoning = reasoning_of(request)
    if reasoning is None:
        return
    if reasoning.extra is not None and reasoning.extra.dialect == DIALECT:
        document.update(reasoning.extra.members)
        return
    carrier.own(reasoning.extra)
    budget = budget_of(reasoning)
    if not budget:
        return
    limit = document.get("max_tokens")
    if isinstance(limit, int) and "max_tokens" in request.options:
        budget = min(budget, limit - 1)
    elif isinstance(limit, int):
        document["max_tokens"] = limit + budget
    forced = document.get("tool_choice", {}).get("type") in ("any", "tool")
    if budget < MIN_BUDGET_TOKENS or forced or _is_in_unsigned_turn(request.messages):
        carrier.drop("reasoning_effort")
        return
    document["thinking"] = {"type": "enabled", "budget_tokens": budget}
    for name in ("temperature", "top_k"):
        if document.get(name) not in (None, 1):
            document.pop(name)
            carrier.drop(name)


def _is_in_unsigned_turn(messages: tuple[Message, ...]) -> bool:
    """Whether tool results follow a turn without signed thinking."""
    turn: list[Message] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        turn.append(message)
    signed = any(extra_of(p.extra, DIALECT).get("signature") for m in turn for p in m.parts)
    return any(message.role == "tool" for message in turn) and not signed


def _encode_tool(tool: Tool, carrier: Carrier) -> dict[str, Any]:
    extra = carrier.own(tool.extra, "tools.")
    if tool.hosted:
        return dict(extra)
    schema = loads(tool.parameters)
    if not isinstance(schema, dict):
        raise InvalidRequestError.about(
            "tools", f"the schema of {tool.name!r} is not a JSON object"
        )
    # This API requires the type, even if a tool takes no arguments.
    schema = schema if "type" in schema else {"type": "object", **schema}
    encoded: dict[str, Any] = {"name": tool.name}
    if tool.description:
        encoded["description"] = tool.description
    encoded["input_schema"] = schema
    if tool.strict is not None:
        encoded["strict"] = tool.strict
    return {**encoded, **extra}


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
