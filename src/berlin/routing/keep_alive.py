"""Keeps the session of a service alive while it is used."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from berlin.errors import BerlinError
from berlin.language.step import CompiledStep, Step
from berlin.language.tables.keeping import KeepAliveMap
from berlin.providers.contract import Bursts, Provider
from berlin.routing.base.answer import Watched
from berlin.routing.base.clock import Clock
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, HttpRequest, HttpResponse


class KeepAlive(Wrapper):
    """A provider that sends a small request now and then, from its first chat on.

    The requests end some time after the last chat, with the loop, and with `aclose`. Their failures
    are ignored: the next chat sees what is wrong.

    Args:
        inner: the service.
        call: sends one request to it, with its token.
        described: what to send, and how often.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        inner: Provider,
        call: Callable[[HttpRequest], Awaitable[HttpResponse]],
        described: KeepAliveMap,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(inner)
        step = Step(described.path, described.method, json=described.json)
        self._request = CompiledStep(step, ()).request({}, {})
        self._call = call
        self._every_s, self._for_s = described.every_s, described.for_s
        self._clock = clock
        self._used = 0.0
        self._task: asyncio.Task[None] | None = None

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        self.note_use()
        return Watched(self.inner.bursts(request), lambda how: None, lambda burst: self.note_use())

    def note_use(self) -> None:
        """Record that the session is used now."""
        self._used = self._clock()
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            self._task = asyncio.create_task(self._send())

    async def aclose(self) -> None:
        """Close connections; see `Provider`."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await super().aclose()

    async def _send(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            if self._clock() - self._used > self._for_s:
                return
            with contextlib.suppress(BerlinError):
                await self._call(self._request)
