"""The response to a request, while its body is still arriving."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cached_property
from typing import Any

import aiohttp
from aiohttp._cookie_helpers import parse_set_cookie_headers
from aiohttp.connector import Connection as Leased
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

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

    def __init__(self, exchange: Exchange, endpoint: Endpoint) -> None:
        head = exchange.head
        self.status = head.code
        self._headers = head.headers
        self._content = exchange.content
        self._writing = exchange.writing
        self._endpoint = endpoint
        self._broken: BerlinError | None = None
        self._leased: Leased | None = exchange.leased
        self._inflater = Inflater.of(self._headers.get("Content-Encoding", ""))
        protocol = exchange.protocol
        self._connection = protocol if isinstance(protocol, Connection) else None
        if self._connection is not None:
            self._connection.lost = self._note_lost
        self._has_arrived = False
        self._content.on_eof(self._end)
        if not self._has_arrived:
            shorten(self._content)

    @cached_property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # only errors need them
        """The headers; names in lower case."""
        return {name.lower(): value for name, value in self._headers.items()}

    def read(self) -> Coroutine[Any, Any, bytes]:
        """Return the next bytes as soon as they arrive; `b""` is the end.

        Raises:
            TransportError: if the connection breaks, even in the middle of the body.
            ProtocolError: if the body cannot be decompressed.
        """
        return (
            self._read_received() if self._inflater is None else self._read_inflated(self._inflater)
        )

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        found = parse_set_cookie_headers(self._headers.getall("Set-Cookie", ()))
        return {name: cookie.value for name, cookie in found}

    @property
    def has_ended(self) -> bool:
        """Whether all has arrived and was read; without this it is known after the next read."""
        content = self._content
        return (
            self._has_arrived
            and self._inflater is None
            and (content is EMPTY_PAYLOAD or not content._buffer)
        )

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
        self._has_arrived = True
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

    async def _read_inflated(self, inflater: Inflater) -> bytes:
        while True:
            if inflater.pending:
                # A small body can expand to a huge one: other tasks get their turn in between.
                await asyncio.sleep(0)
                data = inflater.more()
            else:
                packed = await self._read_received()
                if not packed:
                    inflater.finish()
                    return b""
                data = inflater.feed(packed)
            if data:
                return data

    async def _read_received(self) -> bytes:
        """Return all that has arrived, as it was sent.

        aiohttp's reader calls six functions for each read, and two for each HTTP chunk in it.
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
            return _take(content)
        except LIBRARY_ERRORS as error:
            self._broken = translate(error, self._endpoint)
        # aiohttp reports the break before it delivers the data received before it.
        if content._buffer:
            return _take(content)
        raise self._broken


def _take(content: StreamReader) -> bytes:
    parts = content._buffer
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    parts.clear()
    content._cursor += len(data)
    content._size = 0
    if content._http_chunk_splits is not None:
        content._http_chunk_splits.clear()
    if content._protocol._reading_paused:
        content._protocol.resume_reading()
    return data
