"""A response that is written piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11

from berlin.gateway import web

# The most bytes buffered for a client before writing waits for it.
HIGH_WATER_BYTES = 64 * 1024

_END = b"0\r\n\r\n"


class StreamedResponse(web.StreamResponse):
    """A response with status 200 and a body of unknown length.

    Everything put in one iteration of the loop becomes one write, together with the head if it is
    the first, because each write is a system call. The head is made from a plain dict and the
    chunks are framed here: aiohttp's own class and its writer take 5 % of a short stream.

    Args:
        request: the request that it answers.
        headers: returns its headers; called when the first part is sent.
        write_timeout_s: seconds that the client may take to read what is sent to it.

    Attributes:
        begun: whether the head has been made.
        is_behind: whether the buffer is so full that the client must `catch_up` first.
        size: bytes of the body so far.
        quiet: how often somebody has looked since the last part.
    """

    def __init__(
        self,
        request: web.Request,
        headers: Callable[[], Mapping[str, str]],
        write_timeout_s: float,
    ) -> None:
        super().__init__()
        self.begun = False
        self.is_behind = False
        self.size = 0
        self.quiet = 0
        self._request = request
        self._make_headers = headers
        self._loop = asyncio.get_running_loop()
        self._write_timeout_s = write_timeout_s
        # HTTP/1.0 has no chunks: there, the end of the connection is the end of the body.
        self._has_chunks = request.version >= HttpVersion11
        self._stays_open = self._has_chunks and request.keep_alive
        self._head = b""
        self._parts: list[bytes] = []
        self._queued = 0

    def put(self, data: bytes) -> None:
        """Queue a part of the body to be written at the end of this loop iteration."""
        if not self.begun:
            self._begin()
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self.quiet = 0
        self.size += len(data)
        self._queued += len(data)
        if self._queued > HIGH_WATER_BYTES:
            self.is_behind = True

    def _begin(self) -> None:
        """Make the head, which is sent with the next write."""
        lines = {**self._make_headers(), "Date": _date(int(time.time()))}
        if self._has_chunks:
            lines["Transfer-Encoding"] = "chunked"
        if not self._stays_open:
            lines["Connection"] = "close"
        elif lines.get("Connection") == "close":
            self._stays_open = False
        if not "".join(lines.values()).isprintable():
            raise ValueError("a header of the response contains a control character")
        head = "".join([f"{name}: {value}\r\n" for name, value in lines.items()])
        self._head = f"HTTP/1.1 200 OK\r\n{head}\r\n".encode()
        self.begun = True

    async def catch_up(self) -> None:
        """Wait until the client has read enough.

        Raises:
            ConnectionError: if the client is gone, or does not read.
        """
        self._flush()
        await self._drain()
        self.is_behind = False

    async def end(self) -> None:
        """Write the end.

        Raises:
            ConnectionError: if the client is gone, or does not read.
        """
        if not self.begun:
            self._begin()
        if not self._write(_END if self._has_chunks else b""):
            raise ConnectionResetError("the client is gone")
        if self.is_behind:
            await self._drain()

    __hash__ = object.__hash__  # aiohttp's is a function of Python that says the same

    @property
    def prepared(self) -> bool:
        """Whether the head can no longer be changed."""
        return True

    @property
    def keep_alive(self) -> bool:
        """Whether the connection serves another request after this one."""
        return self._stays_open

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: aiohttp calls this for every response that a handler returns."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: aiohttp calls this for every response that a handler returns."""

    def _flush(self) -> None:
        if self._parts:
            self._write()  # the handler of a client that is gone is cancelled anyway

    def _write(self, end: bytes = b"") -> bool:
        """Write what is queued; return whether the client is still there."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._queued = 0
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        if data and self._has_chunks:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        transport.write(self._head + data + end)
        self._head = b""
        self.is_behind = transport.get_write_buffer_size() > HIGH_WATER_BYTES
        return True

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._request.writer.drain()
        except TimeoutError as error:
            raise ConnectionResetError("the client does not read its answer") from error


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
