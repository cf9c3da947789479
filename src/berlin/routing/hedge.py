"""Sends a second request when the first event is late, to reduce tail latency."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress

from berlin.errors import BerlinError, FailedAttempt
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Opening
from berlin.routing.base.attempts import failed_attempts, with_attempts, within
from berlin.routing.base.clock import Clock
from berlin.routing.base.wrapper import Wrapper, timeouts_of
from berlin.types import ChatRequest

REMEMBERED = 200
FEWEST = 20
PERCENTILE = 0.95
BUDGET_PERCENT = 5.0
# The most unused second requests that accumulate.
MOST_SAVED = 10.0


class Hedge(Wrapper):
    """Sends a second request when the first event takes longer than the 95th percentile of recent
    ones.

    The first of the two to start answering wins; the other is cancelled immediately. Only a share
    of all requests is sent twice, so a service that is slow overall does not get twice the load.

    Args:
        inner: the provider.
        other: the provider for the second request; by default the same.
        after_s: seconds until the second request; learned by default.
        budget_percent: the percentage of requests that may be sent twice.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        inner: Provider,
        other: Provider | None = None,
        *,
        after_s: float | None = None,
        budget_percent: float = BUDGET_PERCENT,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self.other = other or inner
        self.clock = clock
        self._after_s = after_s
        self._earned = budget_percent / 100
        self._budget = 1.0
        self._seen: deque[float] = deque(maxlen=REMEMBERED)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return Opening(self._begin, request)

    async def _begin(self, answer: Opening, asked: ChatRequest) -> Burst:
        clock = self.clock
        began_at = clock()
        delay = self.delay()
        if delay is None:
            first = await answer.ask(self.inner, asked)
            self.observe(clock() - began_at)
            return first
        runners = [_Runner(self.inner, asked, clock)]
        try:
            await asyncio.wait([runners[0].task], timeout=delay)
            if not runners[0].task.done() and self.spend():
                left = (asked.timeouts or self.timeouts).total - (clock() - began_at)
                request = within(asked, timeouts_of(self.other), left)
                runners.append(_Runner(self.other, request, clock))
            winner = await _first_good([runner.task for runner in runners])
        except BaseException:  # the caller is gone
            for runner in runners:
                await runner.stop()
            raise
        won = next(runner for runner in runners if runner.task is winner)
        lost = [runner for runner in runners if runner is not won]
        for runner in lost:
            await runner.stop()
        first = winner.result()  # or the error, if both failed
        # The first request's time counts even if it lost: it took at least this long.
        self.observe(clock() - began_at)
        answer.asked = won
        failed = [runner.lost(clock()) for runner in lost]
        return with_attempts(first, failed, won.began_at)

    def delay(self) -> float | None:
        """Return the seconds until a second request; `None` if there is too little data."""
        self._budget = min(self._budget + self._earned, MOST_SAVED)
        if self._after_s is not None:
            return self._after_s
        if len(self._seen) < FEWEST:
            return None
        return sorted(self._seen)[int(len(self._seen) * PERCENTILE)]

    def spend(self) -> bool:
        """Take a second request from the budget; return whether one was left."""
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def observe(self, first_event_s: float) -> None:
        """Record the time to a first event."""
        self._seen.append(first_event_s)

    async def aclose(self) -> None:
        """Release connections."""
        await super().aclose()
        if self.other is not self.inner:
            await self.other.aclose()


class _Runner(Opening):
    """One of two requests."""

    def __init__(self, provider: Provider, request: ChatRequest, clock: Clock) -> None:
        super().__init__(lambda answer, asked: answer.ask(provider, asked), request)
        self.began_at = clock()
        self.task: asyncio.Task[Burst] = asyncio.ensure_future(self._open())

    async def stop(self) -> None:
        """Cancel the request, and close the answer if there is one."""
        self.task.cancel()
        with suppress(asyncio.CancelledError, BerlinError):
            await self.task
        await self.aclose()

    def lost(self, now: float) -> FailedAttempt:
        """Return the attempt for the record."""
        if not self.task.cancelled() and isinstance(error := self.task.exception(), BerlinError):
            return failed_attempts(error, self._request, self.began_at, now)[-1]
        model = self._request.model
        return FailedAttempt("", model, "cancelled", self.began_at, now - self.began_at)


async def _first_good(tasks: list[asyncio.Task[Burst]]) -> asyncio.Task[Burst]:
    """Return the first task that succeeds; the first one if none does."""
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task in done and not task.cancelled() and task.exception() is None:
                return task
    return tasks[0]
