"""Retries, but only before the first event was passed on, so that no text appears twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from berlin.errors import BerlinError, FailedAttempt, OverloadedError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Opening
from berlin.routing.base.attempts import failed_attempts, was_sent, with_attempts, within
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, Timeouts

ATTEMPTS = 3
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 8.0
LONGEST_RETRY_AFTER_S = 30.0

_T = TypeVar("_T")


class Retry(Wrapper):
    """Sends a request up to `attempts` times, with growing pauses, or those the service asks for.

    Only `retryable` errors are retried: a service that accepted the request and stays silent may be
    working on it, so the request is not sent again. Of several around each other, the outermost one
    applies: also over the retries that a provider has of its own.

    Args:
        inner: the provider.
        timeouts: the limits of requests that set none; `total` bounds all attempts together.
        attempts: the most attempts.
        longest_wait_s: the longest `Retry-After` that is honoured; beyond it the error is raised at
            once, with the time the service asks for.
        jitter: a number from 0 to 1 that spreads the pauses.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        inner: Provider,
        timeouts: Timeouts | None = None,
        *,
        attempts: int = ATTEMPTS,
        longest_wait_s: float = LONGEST_RETRY_AFTER_S,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(inner)
        self._timeouts = timeouts
        self.attempts = attempts
        self.longest_wait_s = longest_wait_s
        self.jitter = jitter
        self.clock = clock

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return self._timeouts or super().timeouts

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        if request.retried:  # attempts of attempts would multiply
            return self.inner.bursts(request)
        return Opening(self._begin, msgspec.structs.replace(request, retried=True))

    def pause(self, error: BerlinError, attempt: int) -> float | None:
        """Return the seconds until the next attempt, or `None` for no further attempt."""
        # Our own limits have already waited.
        if not error.retryable or isinstance(error, OverloadedError) or attempt >= self.attempts:
            return None
        if error.retry_after is not None:
            if error.retry_after > self.longest_wait_s:
                return None
            # Not before the time the service names, and not all at the same moment.
            return error.retry_after * (1 + 0.1 * self.jitter())
        # Full jitter: requests that failed together are spread over the whole pause.
        return min(FIRST_BACKOFF_S * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S) * self.jitter()

    async def call(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of another operation of the provider, repeated in the same way.

        Raises:
            BerlinError: that of the last attempt.
        """
        attempt = 1
        while True:
            try:
                return await work()
            except BerlinError as error:
                pause = self.pause(error, attempt)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _begin(self, answer: Opening, asked: ChatRequest) -> Burst:
        request, clock, timeouts = asked, self.clock, asked.timeouts or self.timeouts
        ends_at = clock() + timeouts.total
        failed: tuple[FailedAttempt, ...] = ()
        reported: BerlinError | None = None
        attempt = 1
        while True:
            began_at = clock()
            try:
                first = await answer.ask(self.inner, request)
            except BerlinError as error:
                failed += failed_attempts(error, request, began_at, clock())
                pause = self.pause(error, attempt)
                # The error of a sent request says more than that no further one was sent.
                reported = error if was_sent(error) or reported is None else reported
                if pause is None or clock() + pause >= ends_at:
                    reported.failed = failed
                    raise reported from error.__cause__
            else:
                return with_attempts(first, failed, began_at)
            await asyncio.sleep(pause)
            request = within(asked, timeouts, ends_at - clock())
            attempt += 1
