"""The format of OpenAI's Responses, and of Open Responses: both ways.

Source: OpenAI's API reference, the Open Responses specification, and what Codex sends.
"""

from __future__ import annotations

import copy
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.contract import ClientCall
from berlin.formats.dialect import DialectFormat
from berlin.formats.openai.encoder import encode_error
from berlin.formats.reasoning import effort_of, reasoning_of
from berlin.formats.responses import encoder as responses_encoder
from berlin.formats.responses.decoder import ResponsesDecoder
from berlin.formats.responses.encoder import Keep, ResponsesEncoder
from berlin.formats.responses.messages import encode_messages
from berlin.formats.responses.request import ResponsesCall, build_call, read_request
from berlin.formats.responses.resource import Claim
from berlin.formats.responses.table import DIALECT, TABLE
from berlin.formats.responses.tools import encode_choice, encode_tools
from berlin.formats.table import Carrier
from berlin.types import ChatRequest, ChatResponse, ResponseFormat
from berlin.wire.json import loads

# Members that the format itself sets.
RESERVED = frozenset(
    {*("input", "instructions", "messages", "model", "stream", "tools", "tool_choice", "text")}
)

RENAMED = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}


class ResponsesFormat(DialectFormat):
    """The format, both ways; see `DialectFormat`."""

    chat_path = "/responses"
    table = TABLE
    renamed = RENAMED
    reserved = RESERVED
    decoder = staticmethod(ResponsesDecoder)
    read_request = staticmethod(read_request)
    encode_error = staticmethod(encode_error)

    _keep: Keep | None = None
    _claim: Claim | None = None

    def storing(self, keep: Keep, claim: Claim) -> ResponsesFormat:
        """Return this format, for an answer that is stored.

        Args:
            keep: takes the whole response before its client sees the end.
            claim: returns whether a service's id of a response may be used.
        """
        twin = copy.copy(self)
        twin._keep, twin._claim = keep, claim
        return twin

    def decode_request(self, body: bytes) -> ResponsesCall:
        """Decode a client's request without access to stored items."""
        sent = read_request(body)
        if sent.previous:
            raise InvalidRequestError.about("previous_response_id", "no answers are stored here")
        return build_call(sent)

    def encoder(self, call: ClientCall) -> ResponsesEncoder:
        """Return an encoder for the streamed answer to a call."""
        return ResponsesEncoder(call, self._keep, self._claim)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return responses_encoder.encode_response(call, response, self._keep, self._claim)

    def _document(
        self, request: ChatRequest, carrier: Carrier, headers: dict[str, str], *, streams: bool
    ) -> dict[str, Any]:
        instructions, items = encode_messages(request.messages, request.tools, carrier)
        document: dict[str, Any] = {
            # This API stores requests by default: only its own clients expect that.
            **({} if _is_ours(request) else {"store": False}),
            **self._defaults,
            **carrier.own(request.extra),
            "model": request.model or self._default_model,
            "input": items,
            "stream": streams,
        }
        if instructions:
            document["instructions"] = "\n\n".join(instructions)
        for name, value in request.options.items():
            if carrier.takes(name, value):
                self._place_option(name, value, document)
        if request.tools:
            document["tools"] = encode_tools(request.tools, carrier)
            document["tool_choice"] = encode_choice(request.tool_choice, request.tools)
        if request.parallel_tool_calls is not None:
            document["parallel_tool_calls"] = request.parallel_tool_calls
        if request.response_format is not None:
            chosen = _encode_format(request.response_format)
            carrier.own(request.response_format.extra, "response_format.")
            document["text"] = {**document.get("text", {}), "format": chosen}
        _place_reasoning(request, document, carrier)
        return document

    def _place_option(self, name: str, value: Any, document: dict[str, Any]) -> None:
        match name:
            case "verbosity":
                document["text"] = {**document.get("text", {}), "verbosity": value}
            case "reasoning_effort":
                pass  # with the other words for reasoning
            case _:
                document[self._rename.get(name, name)] = value


def _is_ours(request: ChatRequest) -> bool:
    return request.extra is not None and request.extra.dialect == DIALECT


def _encode_format(wanted: ResponseFormat) -> dict[str, Any]:
    if not wanted.schema:
        return {"type": "json_object"}
    encoded: dict[str, Any] = {
        "type": "json_schema",
        "name": wanted.name or "answer",
        "schema": loads(wanted.schema),
    }
    if wanted.strict is not None:
        encoded["strict"] = wanted.strict
    return {**encoded, "description": wanted.description} if wanted.description else encoded


def _place_reasoning(request: ChatRequest, document: dict[str, Any], carrier: Carrier) -> None:
    wanted = reasoning_of(request)
    if wanted is None:
        return
    reasoning = {**document.get("reasoning", {}), **carrier.own(wanted.extra)}
    if effort := effort_of(wanted):
        reasoning["effort"] = effort
    if reasoning:
        document["reasoning"] = reasoning
    if reasoning.get("effort") not in (None, "none") and not _is_ours(request):
        # Nothing is stored there, so the next turn needs it. Models without reasoning refuse it.
        document.setdefault("include", ["reasoning.encrypted_content"])
