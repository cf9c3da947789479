"""SignalR's JSON hub protocol.

Source: the SignalR hub protocol specification of ASP.NET Core. Messages end with the record
separator; types: 1 invocation, 2 stream item, 3 completion, 4 stream invocation, 6 ping, 7 close.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import ConnectionLostError, ProtocolError
from berlin.wire.snippet import snippet
from berlin.wire.sockets.contract import Codec, Decoded, decode_json, encode_json

END = "\x1e"
_PING, _CLOSE = 6, 7


class SignalR(Codec):
    """The protocol; see `Codec`. A message is `{"target": name, "arguments": […]}`."""

    def __init__(self) -> None:
        self.is_ready = False
        self._rest = ""

    def hello(self) -> list[str]:
        """Return the handshake."""
        return [encode_json({"protocol": "json", "version": 1}) + END]

    def decode(self, frame: str) -> Decoded:
        """Take a frame: several messages, or a piece of one."""
        *texts, self._rest = (self._rest + frame).split(END)
        result = Decoded([], [])
        for text in texts:
            message = decode_json(text)
            if not isinstance(message, dict):
                raise ProtocolError(f"a message is not valid SignalR: {snippet(text)!r}")
            said = message.get("error")
            if not self.is_ready:
                if said:
                    raise ProtocolError(f"the service refuses the handshake: {snippet(str(said))}")
                self.is_ready = True
                continue
            match message.get("type"):
                case 6:
                    result.replies.append(encode_json({"type": _PING}) + END)
                case 7:
                    words = f": {snippet(str(said))}" if said else ""
                    result.failure = ConnectionLostError(f"the service closes the hub{words}")
                    break
                case _:
                    result.documents.append(message)
        return result

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return an invocation, unless the message has another type."""
        return encode_json({"type": 1, **message}) + END

    def goodbye(self) -> list[str]:
        """Return the close message."""
        return [encode_json({"type": _CLOSE}) + END] if self.is_ready else []
