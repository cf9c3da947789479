"""OpenAI's chat completions, as used by many services.

Source: OpenAI's API reference, and what its servers and clients actually send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.formats.dialect import DialectFormat
from berlin.formats.openai.decoder import OpenAIDecoder
from berlin.formats.openai.encoder import OpenAIEncoder, encode_error, encode_response
from berlin.formats.openai.outgoing import RESERVED, encode_asked, encode_messages, place_options
from berlin.formats.openai.request import decode_request
from berlin.formats.openai.table import TABLE
from berlin.formats.table import Carrier
from berlin.types import ChatRequest


class OpenAIChatFormat(DialectFormat):
    """The format, both ways; see `DialectFormat`."""

    chat_path = "/chat/completions"
    table = TABLE
    reserved = RESERVED
    decoder = staticmethod(OpenAIDecoder)
    decode_request = staticmethod(decode_request)
    encoder = staticmethod(OpenAIEncoder)
    encode_response = staticmethod(encode_response)
    encode_error = staticmethod(encode_error)

    def _document(
        self, request: ChatRequest, carrier: Carrier, headers: dict[str, str], *, streams: bool
    ) -> dict[str, Any]:
        document: dict[str, Any] = {
            **self._defaults,
            "model": request.model or self._default_model,
            "messages": encode_messages(request, self._chat, carrier),
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
        return document
