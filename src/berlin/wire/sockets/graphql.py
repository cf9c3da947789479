"""The protocol `graphql-transport-ws`: subscriptions over a WebSocket.

Source: the protocol document of the library graphql-ws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import ProtocolError
from berlin.wire.snippet import snippet
from berlin.wire.sockets.contract import Codec, Decoded, decode_json, encode_json

_ID = "1"


class GraphQL(Codec):
    """The protocol; see `Codec`. A message is `{"query": text, "variables": {…}}`.

    Args:
        auth: the payload of `connection_init`.
    """

    def __init__(self, auth: Mapping[str, Any]) -> None:
        self.is_ready = False
        self._auth = auth

    def hello(self) -> list[str]:
        """Return the opening message."""
        begin: dict[str, Any] = {"type": "connection_init"}
        return [encode_json({**begin, "payload": self._auth} if self._auth else begin)]

    def decode(self, frame: str) -> Decoded:
        """Take a frame."""
        message = decode_json(frame)
        if not isinstance(message, dict):
            raise ProtocolError(f"a message is not valid graphql-transport-ws: {snippet(frame)!r}")
        match message.get("type"):
            case "connection_ack":
                self.is_ready = True
                return Decoded()
            case "ping":
                return Decoded(replies=[encode_json({"type": "pong"})])
            case "pong":
                return Decoded()
            case _:
                return Decoded([message])

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return a subscription."""
        return encode_json({"id": _ID, "type": "subscribe", "payload": message})

    def goodbye(self) -> list[str]:
        """Return the message that ends the subscription."""
        return [encode_json({"id": _ID, "type": "complete"})] if self.is_ready else []
