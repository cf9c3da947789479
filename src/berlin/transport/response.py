"""The response to a request, while its body is still arriving."""

from __future__ import annotations

import asyncio
from functools import cached_property

import aiohttp
from aiohttp._cookie_helpers import parse_set_cookie_headers
from aiohttp.connector import Connection as Leased
from aiohttp.streams import EMPTY_PAYLOAD

from berlin.errors import BerlinError
from berlin.transport.exchange import Exchange
from berlin.transport.pools import Connection, shorten
from berlin.transport.sender import Answer
from berlin.transport.translate import LIBRARY_ERRORS, translate
from berlin.types import Endpoint
from berlin.wire.inflate import Inflater


class Response(Answer):
    """A response whose body has not been read yet.

    Attributes:
        status: the HTTP status.
    """

    @staticmethod
    def of(exchange: Exchange, endpoint: Endpoint) -> Response:
        """Return the response of an exchange."""
        inflater = Inflater.of(exchange.head.headers.get("Content-Encoding", ""))
        if inflater is None:
            return Response(exchange, endpoint)
        return _CompressedResponse(exchange, endpoint, inflater)

    def __init__(self, exchange: Exchange, endpoint: Endpoint) -> None:
        head = exchange.head
        self.status = head.code
        self._headers = head.headers
        self._content = exchange.content
        self._writing = exchange.writing
        self._endpoint = endpoint
        self._broken: BerlinError | None = None
        self._leased: Leased | None = exchange.leased
        protocol = exchange.protocol
        self._connection = protocol if isinstance(protocol, Connection) else None
        if self._connection is not None:
            self._connection.lost = self._note_lost
        self._content.on_eof(self._end)
        if self._leased is not None:  # not all has arrived
            shorten(self._content)

    @cached_property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # only errors need them
        """The headers; names in lower case."""
        return {name.lower(): value for name, value in self._headers.items()}

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        found = parse_set_cookie_headers(self._headers.getall("Set-Cookie", ()))
        return {name: cookie.value for name, cookie in found}

    @property
    def has_ended(self) -> bool:
        """Whether all has arrived and was read; without this it is known after the next read."""
        content = self._content
        if content is EMPTY_PAYLOAD:
            return True
        return content._eof and not content._buffer and content._exception is None

    def close(self) -> None:
        """Close the connection immediately, unless the response has ended."""
        leased = self._let_go() if self._leased is not None else None
        if leased is not None:
            if self._content.exception() is None:
                self._content.set_exception(aiohttp.ClientConnectionError("it was closed"))
            leased.close()

    def _end(self) -> None:
        """Return the connection to the pool, or close it if the request was perhaps not read to its
        end: the next one would wait behind the rest.
        """
        writing = self._writing
        was_read = writing is None or (writing.done() and self.status < 400)
        leased = self._let_go()
        if leased is not None:
            leased.release() if was_read else leased.close()

    def _let_go(self) -> Leased | None:
        leased, self._leased = self._leased, None
        if leased is not None and self._connection is not None:
            self._connection.lost = None
        if self._writing is not None:
            self._writing.cancel()
        return leased

    def _note_lost(self) -> None:
        # When a body stops being HTTP after its first bytes (a bad chunk size), aiohttp closes the
        # connection without notifying the body: a reader would wait until its time limit.
        content = self._content
        if not content.is_eof() and content.exception() is None and self._connection is not None:
            why = self._connection.exception()
            content.set_exception(why or aiohttp.ClientPayloadError("the connection was closed"))

    async def read(self) -> bytes:
        """Return all that has arrived, as soon as something has; `b""` is the end.

        aiohttp's reader calls six functions for each read, and two for each HTTP chunk in it.

        Raises:
            TransportError: if the connection breaks, even in the middle of the body.
            ProtocolError: if the body cannot be decompressed.
        """
        content = self._content
        if self._broken is not None:
            raise self._broken
        if content is EMPTY_PAYLOAD:
            return b""
        try:
            if content._exception is not None:
                raise content._exception
            while not content._buffer:
                if content._eof:
                    return b""
                if content._protocol.transport is None:
                    raise aiohttp.ClientPayloadError("the connection was closed")
                waiter = content._waiter = content._loop.create_future()
                try:
                    await waiter
                finally:
                    content._waiter = None
        except LIBRARY_ERRORS as error:
            self._broken = translate(error, self._endpoint)
        parts = content._buffer
        # aiohttp reports the break before it delivers the data received before it.
        if self._broken is not None and not parts:
            raise self._broken
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        content._cursor += len(data)
        content._size = 0
        if content._http_chunk_splits is not None:
            content._http_chunk_splits.clear()
        if content._protocol._reading_paused:
            content._protocol.resume_reading()
        return data


class _CompressedResponse(Response):
    """A response whose body is decompressed while it is read."""

    has_ended = False  # the decompressor knows the end only after it

    def __init__(self, exchange: Exchange, endpoint: Endpoint, inflater: Inflater) -> None:
        super().__init__(exchange, endpoint)
        self._inflater = inflater

    async def read(self) -> bytes:
        """Return the next bytes; see `Response.read`."""
        inflater = self._inflater
        while True:
            if inflater.pending:
                # A small body can expand to a huge one: other tasks get their turn in between.
                await asyncio.sleep(0)
                data = inflater.more()
            else:
                packed = await super().read()
                if not packed:
                    inflater.finish()
                    return b""
                data = inflater.feed(packed)
            if data:
                return data
