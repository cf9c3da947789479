"""The interface of a WebSocket protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

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


class Codec(Protocol):
    """One side of one socket.

    Attributes:
        is_ready: whether messages may be sent: the protocol's handshake is done.
    """

    is_ready: bool

    def hello(self) -> list[str]:
        """Return the frames that a client sends first."""
        ...

    def decode(self, frame: str) -> Decoded:
        """Take a frame.

        Raises:
            ProtocolError: if the frame does not belong to this protocol.
        """
        ...

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the frame of a message that the recipe describes."""
        ...

    def goodbye(self) -> list[str]:
        """Return the frames that a client sends last."""
        ...


def decode_json(text: str) -> Any:
    """Return the JSON in a frame. Raises ProtocolError."""
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        raise ProtocolError(f"a message is not JSON: {snippet(text)!r}") from error


def encode_json(value: Any) -> str:
    """Return JSON as text."""
    return msgspec.json.encode(value).decode()
