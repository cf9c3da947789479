"""Messages without a protocol around them: JSON, or text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.wire.sockets.contract import Decoded, decode_json, encode_json


class JsonMessages:
    """Each frame is JSON; see `Codec`. A list is several messages."""

    is_ready = True

    def hello(self) -> list[str]:
        """Return nothing: the recipe's messages come first."""
        return []

    def decode(self, frame: str) -> Decoded:
        """Take a frame; a blank one is a keep-alive."""
        if not frame.strip():
            return Decoded()
        document = decode_json(frame)
        return Decoded(document if isinstance(document, list) else [document])

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the message as JSON."""
        return encode_json(message)

    def goodbye(self) -> list[str]:
        """Return nothing."""
        return []


class TextMessages(JsonMessages):
    """Each frame is text, read as `{"data": text}`."""

    def decode(self, frame: str) -> Decoded:
        """Take a frame."""
        return Decoded([{"data": frame}])

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the text at `data`."""
        return str(message.get("data", ""))
