"""Carries a provider's events to a client: the same for every face."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from aiohttp import web

from berlin.errors import BerlinError, UnavailableError
from berlin.gateway.refusals import public
from berlin.gateway.visit import Visit
from berlin.providers.base import Burst
from berlin.types import Accumulator, ChatResponse, Finished, StreamEvent, UsageReport
from berlin.wire.format import EventEncoder

HIGH_WATER_BYTES = 256 * 1024
WRITE_TIMEOUT_S = 60.0
KEEP_ALIVE_S = 15.0
COMMENT = b": keep-alive\n\n"

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

_log = logging.getLogger("berlin.gateway")


class OpenStreams:
    """All answers that are being made, so that a stop can end them in order.

    Args:
        keep_alive_s: seconds of silence in a stream after which the client is told that it goes
            on.
        write_timeout_s: seconds that a client may take for what is written to it.
        comments: whether that is a comment where the dialect has them, in place of an empty piece.

    Attributes:
        open: how many there are, with those whose turn has not come.
    """

    def __init__(
        self,
        keep_alive_s: float = KEEP_ALIVE_S,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        *,
        comments: bool = False,
    ) -> None:
        self.keep_alive_s = keep_alive_s
        self.comments = comments
        self.write_timeout_s = write_timeout_s
        self._pumps: set[_Pump] = set()
        self.open = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Count an answer as open, from its request on, for the time of the block."""
        self.open += 1
        self._none.clear()
        try:
            yield
        finally:
            self.open -= 1
            if not self.open:
                self._none.set()

    async def wait_until_none(self) -> None:
        """Wait until no answer is open."""
        await self._none.wait()

    def end_all(self) -> None:
        """Let every open answer end with an error."""
        for pump in list(self._pumps):
            pump.fail(UnavailableError("the service is stopping; try again"))

    async def stream(
        self,
        request: web.Request,
        bursts: AsyncGenerator[Burst],
        encoder: EventEncoder,
        headers: dict[str, str],
        visit: Visit,
    ) -> web.StreamResponse:
        """Write an answer as it comes.

        The status goes out with the first event: what fails before it is an error answer. When
        the client leaves, in whatever phase, the answer is closed with it.

        Args:
            request: the client's request.
            bursts: the provider's answer.
            encoder: the face's way to write events.
            headers: those of the answer.
            visit: takes note of what comes.

        Raises:
            BerlinError: if there is no answer at all.
        """
        async with self._pump(bursts, encoder, visit) as pump:
            data = await pump.read()
            if not data and pump.error is not None:
                raise pump.error
            response = web.StreamResponse(headers={**headers, **STREAM_HEADERS})
            try:
                await response.prepare(request)
                visit.status = response.status
                if self.comments and headers["Content-Type"].startswith("text/event-stream"):
                    pump.filler = COMMENT
                pump.keep_alive(self.keep_alive_s)
                while data:
                    await self._write(response, data, visit)
                    data = await pump.read()
                if pump.error is not None:
                    visit.error = pump.error
                    data = encoder.encode_error(public(pump.error))
                    await self._write(response, data, visit)
                await response.write_eof()
            except ConnectionError:
                # The client is gone or reads nothing: nobody is left to be told.
                if request.transport is not None:
                    request.transport.abort()
                raise
            return response

    async def whole(self, bursts: AsyncGenerator[Burst], visit: Visit) -> ChatResponse:
        """Return a whole answer.

        Raises:
            BerlinError: if there is none.
        """
        answer = _Collector()
        async with self._pump(bursts, answer, visit) as pump:
            await pump.read()
            if pump.error is not None:
                raise pump.error
            return answer.response()

    @contextlib.asynccontextmanager
    async def _pump(
        self, bursts: AsyncGenerator[Burst], encoder: EventEncoder, visit: Visit
    ) -> AsyncGenerator[_Pump]:
        pump = _Pump(bursts, encoder, visit)
        self._pumps.add(pump)
        try:
            yield pump
        finally:
            await pump.aclose()
            self._pumps.discard(pump)

    async def _write(self, response: web.StreamResponse, data: bytes, visit: Visit) -> None:
        try:
            async with asyncio.timeout(self.write_timeout_s):
                await response.write(data)
        except TimeoutError as error:
            raise ConnectionResetError("the client does not read its answer") from error
        visit.bytes_out += len(data)


class _Collector(Accumulator):
    """Encodes nothing, and keeps the events."""

    def encode_event(self, event: StreamEvent) -> bytes:
        self.add(event)
        return b""

    def encode_error(self, error: BerlinError) -> bytes:
        return b""

    def keep_alive(self) -> bytes:
        return b""


class _Pump:
    """Reads bursts in a task of its own, so that all of one turn of the loop are one write."""

    def __init__(self, bursts: AsyncGenerator[Burst], encoder: EventEncoder, visit: Visit) -> None:
        self.error: BerlinError | None = None
        self.filler = b""  # what breaks a silence, unless the encoder has its own
        self._encoder = encoder
        self._visit = visit
        self._buffer: list[bytes] = []
        self._size = 0
        self._done = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._silence: asyncio.TimerHandle | None = None
        self._quiet = False
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

    def keep_alive(self, after_s: float) -> None:
        """From now on, let something come after each such time of silence; 0 is never."""
        if after_s:
            self._quiet = True
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(after_s, self._break_silence, after_s)

    def fail(self, error: BerlinError) -> None:
        """End the answer with an error."""
        if not self._done:
            self.error = error
            self._end()
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop reading, and wait until the provider's connection is closed."""
        if self._silence is not None:
            self._silence.cancel()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self, bursts: AsyncGenerator[Burst]) -> None:
        visit, encode = self._visit, self._encoder.encode_event
        try:
            async with aclosing(bursts):
                async for burst in bursts:
                    if visit.first_event_at is None:
                        visit.first_event_at = time.perf_counter()
                    visit.events += len(burst)
                    if type(burst[-1]) is Finished or type(burst[-1]) is UsageReport:
                        self._note_usage(burst)
                    data = b"".join(map(encode, burst))
                    if not data:
                        continue
                    self._quiet = False
                    self._buffer.append(data)
                    self._size += len(data)
                    self._changed.set()
                    if self._size >= HIGH_WATER_BYTES:
                        self._room.clear()
                        await self._room.wait()
        except BerlinError as error:
            self.error = error
        except Exception:
            _log.exception("answer.failed request=%s", visit.id)
            self.error = BerlinError("internal error")
        finally:
            self._end()

    def _note_usage(self, burst: Burst) -> None:
        for event in burst[-2:]:
            if isinstance(event, UsageReport):
                self._visit.usage = event.usage

    def _break_silence(self, after_s: float) -> None:
        # One timer for a stream, which looks back: none is set or cancelled for each event.
        if self._quiet and not self._done and not self._buffer:
            self._buffer.append(self.filler or self._encoder.keep_alive())
            self._changed.set()
        self.keep_alive(after_s)

    def _end(self) -> None:
        self._done = True
        self._changed.set()
