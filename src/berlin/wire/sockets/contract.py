"""The interface of a WebSocket protocol, and messages without a protocol around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import BerlinError, ProtocolError
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.snippet import snippet


class Decoded(msgspec.Struct):
    """A decoded frame.

    Attributes:
        documents: JSON documents for the recipe.
        replies: frames to send back, which the protocol asks for.
        failure: why the conversation ended, if it did.
    """

    documents: list[Any] = []
    replies: list[str] = []
    failure: BerlinError | None = None


def decode_json(text: str) -> Any:
    """Return the JSON in a frame. Raises ProtocolError."""
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        raise ProtocolError(f"a message is not JSON: {snippet(text)!r}") from error


def encode_json(value: Any) -> str:
    """Return JSON as text."""
    return msgspec.json.encode(value).decode()


class Codec:
    """One side of one socket: here, each frame is JSON, and a list is several messages.

    Attributes:
        is_ready: whether messages may be sent: the protocol's handshake is done.
    """

    is_ready = True

    def hello(self) -> list[str]:
        """Return the frames that a client sends first."""
        return []

    def decode(self, frame: str) -> Decoded:
        """Take a frame; a blank one is a keep-alive. Raises ProtocolError."""
        if not frame.strip():
            return Decoded()
        document = decode_json(frame)
        return Decoded(document if isinstance(document, list) else [document])

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the frame of a message that the recipe describes."""
        return encode_json(message)

    def goodbye(self) -> list[str]:
        """Return the frames that a client sends last."""
        return []


class TextMessages(Codec):
    """Each frame is text, read as `{"data": text}`."""

    def decode(self, frame: str) -> Decoded:
        """Take a frame."""
        return Decoded([{"data": frame}])

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the text at `data`."""
        return str(message.get("data", ""))
