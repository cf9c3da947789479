"""A WebSocket as a response: the service's messages arrive as lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType

from berlin.errors import BerlinError, ConnectionLostError, ProtocolError
from berlin.transport.sender import Answer
from berlin.transport.translate import LIBRARY_ERRORS, translate
from berlin.types import Endpoint
from berlin.types.socket import SocketDialog

CLOSE_S = 1.0
LIMITS = aiohttp.ClientWSTimeout(ws_close=CLOSE_S)


async def refuse_redirects(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Abort a redirected handshake: the credentials would be sent along."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info, (), status=response.status, headers=response.headers
        )
    return response


class RefusedSocket(Answer):
    """A handshake response that opens no socket: it has only a status and headers."""

    def __init__(self, error: aiohttp.WSServerHandshakeError) -> None:
        self.status = error.status
        self.headers = {name.lower(): value for name, value in (error.headers or {}).items()}

    async def read(self) -> bytes:
        """Return the end: the body was discarded with the handshake."""
        return b""


class SocketAnswer(Answer):
    """The messages on an open WebSocket, as a response.

    Attributes:
        status: 200: the answer has started.
        headers: none.
    """

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, dialog: SocketDialog, endpoint: Endpoint
    ) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self._socket = socket
        self._dialog = dialog
        self._endpoint = endpoint
        self._failure: BerlinError | None = None
        self._is_over = False
        self._in_a_row = 0

    async def begin(self) -> None:
        """Send the first frames of the dialog. Raises BerlinError."""
        await self._send(self._dialog.begin())

    async def read(self) -> bytes:
        """Return the lines of the messages that have arrived; `b""` is the end.

        Raises:
            BerlinError: if the connection breaks, or the service ends the conversation.
        """
        if self._failure is not None:
            raise self._failure
        parts: list[bytes] = []
        while not self._is_over and (not parts or (len(parts) < _AT_MOST and self._has_more())):
            if self._is_turn_due():
                await asyncio.sleep(0)
            try:
                lines = await self._receive()
            except BerlinError as error:
                if not parts:
                    raise
                self._failure = error  # what came before it is delivered first
                break
            if lines:
                parts.append(lines)
        return b"".join(parts)

    def _has_more(self) -> bool:
        return bool(self._socket._reader._buffer)

    def _is_turn_due(self) -> bool:
        """Return whether other tasks should run: receiving what came together never waits."""
        self._in_a_row = (self._in_a_row + 1) % _AT_MOST if self._has_more() else 1
        return self._in_a_row == 0

    async def _receive(self) -> bytes:
        message = await self._socket.receive()
        match message.type:
            case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                return await self._take(message.data)
            case aiohttp.WSMsgType.PING:
                with contextlib.suppress(*LIBRARY_ERRORS):  # the next message shows the loss
                    await self._socket.pong(message.data)
                return b""
            case aiohttp.WSMsgType.PONG:
                return b""
            case aiohttp.WSMsgType.CLOSE:
                self._is_over = True
                failure = self._dialog.closed(int(message.data or 1005), message.extra or "")
                if failure is not None:
                    raise failure
                return b""
            case aiohttp.WSMsgType.ERROR:
                self._is_over = True
                raise self._broken(message.data)
            case _:
                self._is_over = True
                raise ConnectionLostError("the connection broke off before it was closed")

    def close(self) -> None:
        """Send the closing frames and close, without waiting."""
        if self._socket.closed:
            return
        ending = asyncio.ensure_future(self._end())
        _ENDING.add(ending)
        ending.add_done_callback(_ENDING.discard)

    async def _take(self, data: str | bytes) -> bytes:
        if isinstance(data, bytes):
            try:
                data = data.decode()
            except UnicodeDecodeError as error:
                raise ProtocolError("a message is neither text nor UTF-8") from error
        lines, replies = self._dialog.receive(data)
        await self._send(replies)
        return lines

    async def _send(self, frames: list[str]) -> None:
        for frame in frames:
            try:
                await self._socket.send_str(frame)
                continue
            except LIBRARY_ERRORS as error:
                failure = translate(error, self._endpoint)
            raise failure

    def _broken(self, error: BaseException | object) -> BerlinError:
        if isinstance(error, aiohttp.WebSocketError):
            return ProtocolError(f"the connection is no longer a WebSocket: {error}")
        return ConnectionLostError("the connection broke off")

    async def _end(self) -> None:
        with contextlib.suppress(*LIBRARY_ERRORS):
            async with asyncio.timeout(2 * CLOSE_S):
                with contextlib.suppress(BerlinError):  # the service may be gone already
                    await self._send(self._dialog.end())
                await self._socket.close()


_AT_MOST = 256
"""Messages in one read, or between two turns of the loop."""

_ENDING: set[asyncio.Future[None]] = set()  # a loop holds only weak references to its tasks
