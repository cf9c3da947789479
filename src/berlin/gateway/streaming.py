"""Carries a provider's events to a client: the same for every face."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from aiohttp import web

from berlin.errors import BerlinError, ServiceUnavailableError, UpstreamTimeoutError
from berlin.providers.base import Burst
from berlin.wire.format import EventEncoder

HIGH_WATER_BYTES = 256 * 1024
WRITE_TIMEOUT_S = 60.0

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

_log = logging.getLogger("berlin.gateway")


class OpenStreams:
    """All answers that are being written, so that a stop can end them in order."""

    def __init__(self) -> None:
        self._pumps: set[_Pump] = set()
        self._none = asyncio.Event()
        self._none.set()

    async def wait_until_none(self) -> None:
        """Wait until no answer is open."""
        await self._none.wait()

    def end_all(self) -> None:
        """Let every open answer end with an error."""
        for pump in list(self._pumps):
            pump.fail(ServiceUnavailableError("the service is stopping; try again"))

    async def answer(
        self,
        request: web.Request,
        bursts: AsyncGenerator[Burst],
        encoder: EventEncoder,
        content_type: str,
        refuse: Callable[[BerlinError], web.Response],
    ) -> web.StreamResponse:
        """Write an answer as it comes.

        The status goes out with the first event: what fails before it is a real error answer.
        When the client leaves, in whatever phase, the answer is closed with it.

        Args:
            request: the client's request.
            bursts: the provider's answer.
            encoder: the face's way to write events.
            content_type: the face's type of a stream.
            refuse: the face's way to answer with an error.
        """
        pump = _Pump(bursts, encoder)
        self._pumps.add(pump)
        self._none.clear()
        try:
            data = await pump.read()
            if not data and pump.error is not None:
                return refuse(pump.error)
            headers = {"Content-Type": content_type, **STREAM_HEADERS}
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            while data:
                await _write(response, data)
                data = await pump.read()
            if pump.error is not None:
                await _write(response, encoder.encode_error(pump.error))
            await response.write_eof()
            return response
        except (ConnectionError, UpstreamTimeoutError):
            # The client is gone or reads nothing: nobody is left to be told.
            if request.transport is not None:
                request.transport.abort()
            raise
        finally:
            await pump.aclose()
            self._pumps.discard(pump)
            if not self._pumps:
                self._none.set()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError as error:
        raise UpstreamTimeoutError("the client does not read its answer") from error


class _Pump:
    """Reads bursts in a task of its own, so that all of one turn of the loop are one write."""

    def __init__(self, bursts: AsyncGenerator[Burst], encoder: EventEncoder) -> None:
        self.error: BerlinError | None = None
        self._encoder = encoder
        self._buffer: list[bytes] = []
        self._size = 0
        self._done = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._task = asyncio.create_task(self._run(bursts))

    async def read(self) -> bytes:
        """Return what has come since the last call, or wait for it; `b""` is the end."""
        while not self._buffer and not self._done:
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._buffer)
        self._buffer.clear()
        self._size = 0
        self._room.set()
        return data

    def fail(self, error: BerlinError) -> None:
        """End the answer with an error."""
        if not self._done:
            self.error = error
            self._end()
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop reading, and wait until the provider's connection is closed."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, bursts: AsyncGenerator[Burst]) -> None:
        try:
            async with aclosing(bursts):
                async for burst in bursts:
                    data = b"".join(map(self._encoder.encode_event, burst))
                    if not data:
                        continue
                    self._buffer.append(data)
                    self._size += len(data)
                    self._changed.set()
                    if self._size >= HIGH_WATER_BYTES:
                        self._room.clear()
                        await self._room.wait()
        except BerlinError as error:
            self.error = error
        except Exception:
            _log.exception("answer.failed")
            self.error = BerlinError("internal error; the service's log says more")
        finally:
            self._end()

    def _end(self) -> None:
        self._done = True
        self._changed.set()
