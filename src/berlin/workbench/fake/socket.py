"""The part of a fake that answers chats over a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from berlin.errors import ConnectionLostError
from berlin.language.tables.socket import SocketMap
from berlin.language.values.template import Template
from berlin.wire.pointer import parse_pointer, set_at
from berlin.wire.sockets import SUBPROTOCOLS
from berlin.wire.sockets.server import SERVERS
from berlin.workbench.fake.issued import IssuedValues

MAX_MESSAGE_BYTES = 4 * 1024 * 1024


class FakeSocket:
    """One socket of a fake."""

    def __init__(self, described: SocketMap, issued: IssuedValues) -> None:
        self._described = described
        self._handed = issued
        self._codec = SERVERS[described.protocol]()
        names = tuple(described.subprotocols) or SUBPROTOCOLS.get(described.protocol, ())
        self.response = web.WebSocketResponse(protocols=names, max_msg_size=MAX_MESSAGE_BYTES)
        self._only: dict[str, Any] = {}
        # Other protocols open with a message of the client.
        self._is_greeted = described.protocol in ("json", "text")

    async def question(self, request: web.Request) -> bytes:
        """Open the socket, exchange the messages that come first, and return the one with the
        question.

        Raises:
            ConnectionLostError: if the client leaves.
            InvalidRequestError: if a message does not match the description.
        """
        await self.response.prepare(request)
        for frame in self._codec.hello():
            await self.response.send_str(frame)
        for step in self._described.before:
            if step.when:
                document: dict[str, Any] = {}
                taken = self._handed.give(step.take, {})
                places = {**step.when, **{step.take[name]: v for name, v in taken.items()}}
                for pointer, value in places.items():
                    set_at(document, parse_pointer(pointer), value)
                while not self._is_greeted:
                    await self._received()
                await self.response.send_str(self._codec.encode(document))
            if step.send is not None:
                await self._next()
        return msgspec.json.encode(await self._next())

    def narrow(self, values: Mapping[str, Any]) -> None:
        """Mark all documents from now on as belonging to the question with these values."""
        only = Template(self._described.only, frozenset(values))
        self._only = only.render(values) if only.names <= values.keys() else {}

    async def write(self, lines: bytes) -> None:
        """Send lines of JSON, each as one message."""
        for line in lines.splitlines():
            if line.strip():
                document = msgspec.json.decode(line)
                for pointer, value in self._only.items():
                    set_at(document, parse_pointer(pointer), value)
                await self.response.send_str(self._codec.encode(document))

    async def _next(self) -> Any:
        while (message := await self._received()) is None:
            pass
        return message

    async def _received(self) -> Any:
        """Return the message in the next frame; `None` for one of the protocol, after replying."""
        frame = await self.response.receive()
        if frame.type != WSMsgType.TEXT:
            raise ConnectionLostError("the client left")
        message, replies = self._codec.decode(frame.data)
        for reply in replies:
            await self.response.send_str(reply)
            self._is_greeted = True
        return message
