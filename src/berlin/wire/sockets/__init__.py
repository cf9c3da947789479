"""WebSocket protocols: turn frames into JSON documents, and messages into frames.

Nothing here reads or writes a socket. A new protocol is a file, a line in `PROTOCOLS` and its name
in `ProtocolName`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from berlin.wire.sockets.contract import Codec, Decoded, TextMessages
from berlin.wire.sockets.graphql import GraphQL
from berlin.wire.sockets.signalr import SignalR
from berlin.wire.sockets.socketio import SocketIO

ProtocolName: TypeAlias = Literal["json", "text", "socket.io", "signalr", "graphql"]

PROTOCOLS: dict[ProtocolName, Callable[[Mapping[str, Any]], Codec]] = {
    "json": lambda auth: Codec(),
    "text": lambda auth: TextMessages(),
    "socket.io": SocketIO,
    "signalr": lambda auth: SignalR(),
    "graphql": GraphQL,
}
"""Makes the codec of one socket; the argument is the client's connect payload."""

IN_WORDS: dict[ProtocolName, str] = {
    "json": "each message is JSON",
    "text": 'each message is plain text, as an object {"data": text}',
    "socket.io": 'Socket.IO events, as objects {"event": name, "data": first of args, "args": […]}',
    "signalr": "SignalR's JSON protocol, as its messages",
    "graphql": "graphql-transport-ws, as its messages",
}

SUBPROTOCOLS: dict[ProtocolName, tuple[str, ...]] = {"graphql": ("graphql-transport-ws",)}

__all__ = ["IN_WORDS", "PROTOCOLS", "SUBPROTOCOLS", "Codec", "Decoded", "ProtocolName"]
