"""The response to a request, while its body is still arriving."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cached_property
from typing import Any

import aiohttp

from berlin.errors import BerlinError
from berlin.transport.pools import Connection, ShortQueue
from berlin.transport.sender import Answer
from berlin.transport.translate import LIBRARY_ERRORS, translate
from berlin.types import Endpoint
from berlin.wire.inflate import Inflater


class Response(Answer):
    """A response whose body has not been read yet.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, answer: aiohttp.ClientResponse, endpoint: Endpoint) -> None:
        self.status = answer.status
        _free_memory(answer)
        self._answer = answer
        self._endpoint = endpoint
        self._broken: BerlinError | None = None
        self._inflater = Inflater.of(answer._headers.get("content-encoding", ""))
        connection = answer.connection.protocol if answer.connection is not None else None
        self._connection = connection if isinstance(connection, Connection) else None
        if self._connection is not None:
            self._connection.lost = self._note_lost

    @cached_property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # only errors need them
        """The headers; names in lower case."""
        return {name.lower(): value for name, value in self._answer._headers.items()}

    def read(self) -> Coroutine[Any, Any, bytes]:
        """Return the next bytes as soon as they arrive; `b""` is the end.

        Raises:
            TransportError: if the connection breaks, even in the middle of the body.
            ProtocolError: if the body cannot be decompressed.
        """
        return self._read() if self._inflater is None else self._read_inflated(self._inflater)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets."""
        return {name: cookie.value for name, cookie in self._answer.cookies.items()}

    def close(self) -> None:
        """Close the connection immediately, or return it to the pool if the response is read."""
        # Another response may have the connection already.
        if self._connection is not None and self._connection.lost == self._note_lost:
            self._connection.lost = None
        self._answer.close()

    def _note_lost(self) -> None:
        # When a body stops being HTTP after its first bytes (a bad chunk size), aiohttp closes the
        # connection without notifying the body: a reader would wait until its time limit.
        content = self._answer.content
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
                packed = await self._read()
                if not packed:
                    inflater.finish()
                    return b""
                data = inflater.feed(packed)
            if data:
                return data

    async def _read(self) -> bytes:
        if self._broken is not None:
            raise self._broken
        content = self._answer.content
        try:
            return await content.readany()
        except LIBRARY_ERRORS as error:
            self._broken = translate(error, self._endpoint)
        # aiohttp reports the break before it delivers the data received before it.
        held = content._read_nowait(-1)
        if held:
            return held
        raise self._broken


def _free_memory(answer: aiohttp.ClientResponse) -> None:
    """Free what aiohttp (3.14) would keep for as long as the body arrives."""
    # The head of the request, with its token.
    answer._request_info = answer._raw_headers = None  # type: ignore[assignment]
    content = answer.content
    if type(content) is aiohttp.StreamReader:  # another one is an empty body
        content._buffer = ShortQueue(content._buffer)  # type: ignore[assignment]
        if content._http_chunk_splits is not None:
            content._http_chunk_splits = ShortQueue(content._http_chunk_splits)  # type: ignore[assignment]
