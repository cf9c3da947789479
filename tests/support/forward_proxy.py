"""A small HTTP proxy of real sockets that notes down what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit


class ForwardProxy:
    """Forwards `CONNECT` and requests with an absolute URI (RFC 9112, 3.2), one a connection.

    Attributes:
        requests: the request lines that came in, in order.
        bytes_back: how much of the answers went back to clients.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.bytes_back = 0
        self.url = ""
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(_close, writer)
                head = await reader.readuntil(b"\r\n\r\n")
                first, _, rest = head.partition(b"\r\n")
                self.requests.append(first.decode("latin-1"))
                method, target, version = first.split(b" ")
                if method == b"CONNECT":
                    host, _, port = target.decode().rpartition(":")
                    onward = await asyncio.open_connection(host, int(port))
                    stack.push_async_callback(_close, onward[1])
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    url = urlsplit(target.decode())
                    onward = await asyncio.open_connection(url.hostname, url.port or 80)
                    stack.push_async_callback(_close, onward[1])
                    # The answer's end is the connection's end: no next request can hide behind
                    # this one without being counted.
                    kept = [
                        header
                        for header in rest.removesuffix(b"\r\n\r\n").split(b"\r\n")
                        if not header.lower().startswith((b"connection:", b"proxy-"))
                    ]
                    path = (url.path or "/").encode()
                    line = b" ".join((method, path, version))
                    onward[1].write(b"\r\n".join((line, *kept, b"Connection: close", b"", b"")))
                await self._both_ways((reader, writer), onward)

    async def _both_ways(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        onward: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        there = asyncio.ensure_future(_copy(client[0], onward[1]))
        try:
            while data := await onward[0].read(65536):
                self.bytes_back += len(data)
                client[1].write(data)
                await client[1].drain()
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
