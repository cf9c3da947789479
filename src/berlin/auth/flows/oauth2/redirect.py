"""Waits on the loopback interface for the redirect that ends a browser login (RFC 8252, 7.3)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from berlin.errors import ConfigurationError, ProtocolError

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 16
MAX_PARAMETERS = 32

_PAGE = (
    b"<!doctype html><meta charset=utf-8><title>Berlin</title>"
    b"<p>You can close this page and go back to the terminal."
)
_HEAD = (
    b"HTTP/1.1 %b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Content-Security-Policy: default-src 'none'\r\nCache-Control: no-store\r\n"
    b"Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
)


def parameters_of(address: str) -> dict[str, str]:
    """Return the parameters in an address, or in its query alone.

    Raises:
        ProtocolError: if one of them is there twice (RFC 6749, 3.1): the program that checks it and
            the one that uses it could take different ones.
    """
    try:
        query = urlsplit(address).query or ("" if "://" in address else address)
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ProtocolError("this is not the address of a page") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ProtocolError("the address has a parameter twice, so none of it is used")
    return found


class RedirectListener:
    """Listens on the loopback interface for one request with the state of this login.

    Args:
        state: the value the request must carry; all others get a 404, so that no other page or
            program on this machine can end the login.
        port: the port; 0 takes a free one.
    """

    def __init__(self, state: str, port: int, path: str) -> None:
        self.url = ""
        self._state = state
        self._port = port
        self._path = path
        self._open = 0
        self._server: asyncio.Server | None = None
        self._came: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, limit=MAX_HEAD_BYTES
            )
        except OSError as error:
            raise ConfigurationError(
                f"nothing can listen on 127.0.0.1:{self._port} for the browser "
                f"({error.strerror}); close what does, or give another redirect_port"
            ) from error
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{self._path}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        self._came.cancel()

    async def wait(self) -> dict[str, str]:
        """Return the parameters of the redirect."""
        return await self._came

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                with suppress(
                    TimeoutError, OSError, asyncio.LimitOverrunError, asyncio.IncompleteReadError
                ):
                    async with asyncio.timeout(HEAD_TIMEOUT_S):
                        head = await reader.readuntil(b"\r\n\r\n")
                        writer.write(self._answer(head))
                        await writer.drain()
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        line, _, _ = head.partition(b"\r\n")
        words = line.decode("ascii", "replace").split(" ")
        target = words[1] if len(words) == 3 and words[0] == "GET" else ""
        if target.partition("?")[0] == self._path:
            with suppress(ProtocolError):
                given = parameters_of(target)
                if given.get("state") == self._state:
                    if not self._came.done():
                        self._came.set_result(given)
                    return _HEAD % (b"200 OK", len(_PAGE)) + _PAGE
        return _HEAD % (b"404 Not Found", 0)
