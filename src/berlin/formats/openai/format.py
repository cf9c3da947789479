"""OpenAI's chat completions, as used by many services.

Source: OpenAI's API reference, and what its servers and clients actually send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall, Exchange
from berlin.formats.habits import NO_HABITS, Habits
from berlin.formats.openai import encoder as openai_encoder
from berlin.formats.openai import request as openai_request
from berlin.formats.openai.decoder import OpenAIDecoder
from berlin.formats.openai.encoder import OpenAIEncoder
from berlin.formats.openai.outgoing import encode_asked, encode_messages, place_options
from berlin.formats.openai.table import TABLE
from berlin.formats.table import Carrier
from berlin.types import ChatRequest, ChatResponse, HttpRequest
from berlin.wire.json import encode_body
from berlin.wire.status import EXPLANATIONS, describe_error

CHAT_PATH = "/chat/completions"


class OpenAIChatFormat:
    """The format, both ways.

    Args:
        default_model: the model of requests that name none.
        path: where the chat is posted, below the endpoint's URL.
        defaults: members of the body that a request may override.
        rename: the service's names of options.
        habits: in other differences of the service.
    """

    content_type = "text/event-stream; charset=utf-8"
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
        self._path = path
        self._defaults = dict(defaults or {})
        self._rename = dict(rename or {})
        self._habits = habits

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests; see `Format`."""
        yield from ()  # no preparation is needed
        carrier = Carrier(TABLE)
        streams = self._habits.streams(request.stream)
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": encode_messages(request, self._habits, carrier),
            "stream": streams,
        }
        place_options(request, self._rename, document, carrier)
        asked = encode_asked(request, carrier)
        known, given = document.get("stream_options"), asked.get("stream_options")
        if isinstance(known, Mapping) and isinstance(given, Mapping):
            asked["stream_options"] = {**known, **given}
        document |= asked
        if not streams:
            document.pop("stream_options", None)
        accept = "text/event-stream" if streams else "application/json"
        headers = {"Content-Type": "application/json", "Accept": accept}
        body = encode_body(document)
        return HttpRequest("POST", self._path, headers, body=body, dropped=carrier.dropped)

    def decoder(self) -> OpenAIDecoder:
        """Return a decoder for one answer."""
        return OpenAIDecoder()

    def describe_error(self, body: bytes) -> str:
        """Return the message in the body of an error response."""
        return describe_error(body, EXPLANATIONS)

    def decode_request(self, body: bytes) -> ClientCall:
        """Decode a client's request; see `Format`."""
        return openai_request.decode_request(body)

    def encoder(self, call: ClientCall) -> OpenAIEncoder:
        """Return an encoder for the streamed answer to a call."""
        return OpenAIEncoder(call)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        return openai_encoder.encode_response(call, response)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an answer that is an error."""
        return openai_encoder.encode_error(error)
