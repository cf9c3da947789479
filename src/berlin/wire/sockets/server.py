"""The server side of the WebSocket protocols: for fakes, and to read what a client has sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any

from berlin.wire.sockets import ProtocolName
from berlin.wire.sockets.contract import decode_json, encode_json
from berlin.wire.sockets.signalr import END
from berlin.wire.sockets.socketio import split_packet


class ServerCodec:
    """The server side of one socket: here, each frame is JSON."""

    def hello(self) -> list[str]:
        """Return the frames that a server sends first."""
        return []

    def decode(self, frame: str) -> tuple[Any, list[str]]:
        """Return the message in a client's frame, or `None`, and the frames that answer it.

        Raises:
            ProtocolError: if the frame does not belong to this protocol.
        """
        return decode_json(frame), []

    def encode(self, document: dict[str, Any]) -> str:
        """Return the frame of a document."""
        return encode_json(document)

    def opening(self, frame: str) -> Any:
        """Return the values of a frame that connects (`auth` of a recipe); `None` for others."""
        return None


class _Text(ServerCodec):
    def decode(self, frame: str) -> tuple[Any, list[str]]:
        return {"data": frame}, []

    def encode(self, document: dict[str, Any]) -> str:
        return str(document.get("data", ""))


class _SocketIO(ServerCodec):
    def hello(self) -> list[str]:
        opened = {"sid": token_hex(8), "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000}
        return [f"0{encode_json(opened)}"]

    def decode(self, frame: str) -> tuple[Any, list[str]]:
        if frame.startswith("40"):
            return None, [f'40{{"sid":"{token_hex(8)}"}}']
        if not frame.startswith("42"):
            return None, []
        _, payload = split_packet(frame[2:])
        name, *args = decode_json(payload)
        return {"event": name, "args": args, "data": args[0] if args else None}, []

    def encode(self, document: dict[str, Any]) -> str:
        args = document["args"] if "args" in document else [document.get("data")]
        return f"42{encode_json([document.get('event', 'message'), *args])}"

    def opening(self, frame: str) -> Any:
        payload = split_packet(frame[2:])[1] if frame.startswith("40") else ""
        return decode_json(payload) if payload else None


class _SignalR(ServerCodec):
    def __init__(self) -> None:
        self._is_ready = False

    def decode(self, frame: str) -> tuple[Any, list[str]]:
        message = decode_json(frame.removesuffix(END))
        if not self._is_ready:
            self._is_ready = True
            return None, [f"{{}}{END}"]
        return (None if message.get("type") in (6, 7) else message), []

    def encode(self, document: dict[str, Any]) -> str:
        return encode_json({"type": 1, **document}) + END


class _GraphQL(ServerCodec):
    def decode(self, frame: str) -> tuple[Any, list[str]]:
        message = decode_json(frame)
        if message.get("type") == "connection_init":
            return None, [encode_json({"type": "connection_ack"})]
        return message.get("payload") if message.get("type") == "subscribe" else None, []

    def encode(self, document: dict[str, Any]) -> str:
        return encode_json({"id": "1", "type": "next", **document})

    def opening(self, frame: str) -> Any:
        message = decode_json(frame)
        return message.get("payload") if message.get("type") == "connection_init" else None


SERVERS: Mapping[ProtocolName, Callable[[], ServerCodec]] = {
    "json": ServerCodec,
    "text": _Text,
    "socket.io": _SocketIO,
    "signalr": _SignalR,
    "graphql": _GraphQL,
}
"""Makes the server side of one socket."""
