"""Socket.IO 5 on Engine.IO 4, as used by Chainlit and many others.

Source: the Socket.IO and Engine.IO protocol specifications. Frames begin with a digit of Engine.IO
(0 open, 1 close, 2 ping, 3 pong, 4 message), messages with one of Socket.IO (0 connect, 1
disconnect, 2 event, 3 acknowledgement, 4 connect error, 5 and 6 the binary forms).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from berlin.errors import AuthenticationError, ConnectionLostError, ProtocolError
from berlin.wire.snippet import snippet
from berlin.wire.sockets.contract import Codec, Decoded, decode_json, encode_json

# Namespace, then the number of an acknowledgement, both optional, then JSON.
_PACKET = re.compile(r"(?:(/[^,]{0,200}),)?([0-9]{0,10})(.*)", re.DOTALL)


def split_packet(text: str) -> tuple[str, str]:
    """Return the acknowledgement's number and the JSON of a packet, without its namespace."""
    found = _PACKET.fullmatch(text)
    return (found[2], found[3]) if found else ("", text)


class SocketIO(Codec):
    """The protocol; see `Codec`. A message is `{"event": name, "data": value}` or has `args`.

    Args:
        auth: the payload of the connect message.
    """

    def __init__(self, auth: Mapping[str, Any]) -> None:
        self.is_ready = False
        self._auth = auth

    def decode(self, frame: str) -> Decoded:
        """Take a frame."""
        kind, rest = frame[:1], frame[1:]
        match kind:
            case "0":
                return Decoded(replies=[f"40{encode_json(self._auth)}" if self._auth else "40"])
            case "1":
                return Decoded(failure=ConnectionLostError("the service closes the connection"))
            case "2":
                return Decoded(replies=[f"3{rest}"])
            case "3" | "6":
                return Decoded()
            case "4":
                return self._decode_message(rest)
            case _:
                raise ProtocolError(f"a message is not valid Socket.IO: {snippet(frame)!r}")

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the frame of an event."""
        args = message["args"] if "args" in message else [message.get("data")]
        if "args" not in message and "data" not in message:
            args = []
        return f"42{encode_json([message.get('event', 'message'), *args])}"

    def goodbye(self) -> list[str]:
        """Return the frame that disconnects."""
        return ["41"] if self.is_ready else []

    def _decode_message(self, text: str) -> Decoded:
        kind = text[:1]
        if not kind or kind not in "0123456":
            raise ProtocolError(f"a message is not valid Socket.IO: {snippet(text)!r}")
        number, payload = split_packet(text[1:])
        match kind:
            case "0":
                self.is_ready = True
                return Decoded()
            case "1":
                return Decoded(failure=ConnectionLostError("the service disconnects"))
            case "4":
                said = decode_json(payload) if payload else {}
                words = said.get("message", said) if isinstance(said, dict) else said
                return Decoded(
                    failure=AuthenticationError(f"the service refuses the connection: {words}")
                )
            case "2":
                items = decode_json(payload)
                if not isinstance(items, list) or not items or not isinstance(items[0], str):
                    raise ProtocolError(f"an event is not valid Socket.IO: {snippet(text)!r}")
                name, *args = items
                data = args[0] if args else None
                # A server that asks for an acknowledgement waits for it.
                replies = [f"43{number}[]"] if number else []
                return Decoded([{"event": name, "data": data, "args": args}], replies)
            case _:
                return Decoded()  # acknowledgements, and events with binary parts
