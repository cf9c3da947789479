"""Sends a provider's events to a client, the same way for every face."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from berlin.errors import BerlinError, UnavailableError
from berlin.gateway import web
from berlin.gateway.access.admission import Slot
from berlin.gateway.answering import BeforeEnd, Head
from berlin.gateway.observe.visit import Visit
from berlin.gateway.open_count import OpenCount
from berlin.gateway.refusals import broken_off
from berlin.gateway.response import StreamedResponse
from berlin.gateway.serving.sweep import Sweep
from berlin.providers.contract import Bursts
from berlin.transport.sender import LONG_BYTES, off_loop
from berlin.types import Accumulator, ChatResponse, Finished

WRITE_TIMEOUT_S = 60.0
KEEP_ALIVE_S = 15.0
# How often each stream is looked at within the time of a keep-alive.
LOOKS = 8

_T = TypeVar("_T")

_log = logging.getLogger("berlin.gateway")


class OpenStreams:
    """All open answers, so that a shutdown can end them in order.

    Args:
        keep_alive_s: seconds of silence in a stream after which a keep-alive is sent; 0 for none.
        write_timeout_s: seconds that a client may take to read what is sent to it.
        comments: whether the keep-alive is a comment, if the dialect has them, instead of an empty
            piece.
        early: whether keep-alives are also sent before the first event.

    Attributes:
        open: their number, including queued ones.
        by_face: how many are streamed, by the name of the face.
    """

    def __init__(
        self,
        keep_alive_s: float = KEEP_ALIVE_S,
        write_timeout_s: float = WRITE_TIMEOUT_S,
        *,
        comments: bool = False,
        early: bool = False,
    ) -> None:
        self.open = OpenCount()
        self.by_face: Counter[str] = Counter()
        self._keep_alive_s = keep_alive_s
        self._write_timeout_s = write_timeout_s
        self._comments = comments
        self._early = early
        self._making: set[_AnswerInProgress] = set()
        self._streams: dict[StreamedResponse, tuple[Head, bool]] = {}
        self._sweep = Sweep(self._break_silences, keep_alive_s / LOOKS)

    def end_all(self) -> None:
        """End every open answer with an error."""
        for making in list(self._making):
            making.fail(UnavailableError("the service is stopping; try again"))

    async def stream(
        self,
        request: web.Request,
        bursts: Bursts,
        head: Head,
        headers: Callable[[], Mapping[str, str]],
        visit: Visit,
        slot: Slot,
        *,
        held: bool = False,
        before_error: BeforeEnd | None = None,
    ) -> web.StreamResponse:
        """Write an answer as it arrives: one read from the service becomes one write.

        The status is sent with the first event: a failure before it becomes an error response. When
        the client disconnects, in any phase, the answer is closed.

        Args:
            request: the client's request.
            bursts: the provider's answer.
            head: the head of the answer, with the face's event encoder.
            headers: returns the headers of the response.
            visit: records the answer.
            slot: left before the client hears of the end.
            held: whether the first event may take long, so that keep-alives are sent meanwhile.
                After one, an error can no longer be an error status.
            before_error: awaited before the client hears that the answer broke off.

        Raises:
            BerlinError: if it fails before the first event.
        """
        response = StreamedResponse(request, headers, self._write_timeout_s)
        self.by_face[visit.face] += 1
        if self._keep_alive_s:
            self._streams[response] = head, held or self._early
            self._sweep.begin()
        try:
            try:
                await self._write(bursts, head, response, visit)
            except BerlinError as error:
                if not response.begun:
                    raise
                visit.error = error.with_traceback(None)  # see `App._refuse`
                if before_error is not None:
                    await before_error()
                response.put(head.encoder().encode_error(broken_off(error, visit)))
            slot.leave()
            await response.end()
            return response
        except Exception as error:
            # The client is gone or reads nothing, or an error page would end up in its stream.
            gone = isinstance(error, ConnectionError) or response.begun
            if gone and request.transport is not None:
                request.transport.abort()
            raise
        finally:
            self.by_face[visit.face] -= 1
            self._streams.pop(response, None)
            visit.bytes_out = response.size
            if response.begun:
                visit.status = response.status

    async def _write(
        self, bursts: Bursts, head: Head, response: StreamedResponse, visit: Visit
    ) -> None:
        encode = None
        with _AnswerInProgress(self._making, visit):
            try:
                async for burst in bursts:
                    visit.note(burst)
                    if encode is None:
                        encode = head.encoder().encode_burst
                    if type(burst[-1]) is Finished and (
                        head.before_end is not None or response.size > LONG_BYTES
                    ):
                        self._streams.pop(response, None)  # no keep-alive overtakes the end
                        # Some dialects repeat the whole answer at its end.
                        data = await off_loop(response.size, partial(encode, burst))
                        if head.before_end is not None:
                            await head.before_end()
                    else:
                        data = encode(burst)
                    if data:
                        response.put(data)
                        if response.is_behind:
                            await response.catch_up()
            finally:
                await bursts.aclose()

    async def whole(self, bursts: Bursts, visit: Visit, encode: Callable[[ChatResponse], _T]) -> _T:
        """Return a whole answer, encoded. Raises BerlinError if it fails."""
        answer = Accumulator()
        with _AnswerInProgress(self._making, visit):
            async with aclosing(bursts):
                async for burst in bursts:
                    visit.note(burst)
                    answer.add_all(burst)
        return await off_loop(answer.size, lambda: encode(answer.response()))

    def _break_silences(self) -> bool:
        """Send a keep-alive in each stream that has been silent; return whether there are any."""
        for response, (head, early) in self._streams.items():
            response.quiet += 1
            if response.quiet >= LOOKS and (response.begun or early):
                response.put(head.keep_alive(self._comments))
        return bool(self._streams)


class _AnswerInProgress:
    """An answer in progress during the block; it can be ended from outside with an error.

    Unexpected exceptions of a provider are logged and reported as one of Berlin's errors.
    """

    def __init__(self, all_of_them: set[_AnswerInProgress], visit: Visit) -> None:
        self._all = all_of_them
        self._visit = visit
        self._failure: BerlinError | None = None

    def fail(self, failure: BerlinError) -> None:
        """End the block with an error."""
        if self._failure is None:
            self._failure = failure
            self._task.cancel()

    def __enter__(self) -> Self:
        task: Any = asyncio.current_task()
        self._task, self._cancelling = task, task.cancelling()
        self._all.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._all.discard(self)
        if self._failure is not None:
            # Like `asyncio.timeout`: another cancellation of the task takes precedence.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise self._failure from None
        elif isinstance(error, Exception) and not isinstance(error, BerlinError | ConnectionError):
            _log.error("answer.failed request=%s", self._visit.id, exc_info=error)
            raise BerlinError("internal error") from error
