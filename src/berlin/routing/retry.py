"""Tries again, but only before the first event was handed on: never twice the same text."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec

from berlin.errors import BerlinError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.types import ChatRequest, Timeouts

ATTEMPTS = 3
FIRST_BACKOFF_S = 0.25
LONGEST_RETRY_AFTER_S = 30.0


class Retry:
    """Sends a request up to `attempts` times, with growing pauses or those the service asks for.

    Args:
        inner: what is tried.
        timeouts: the limits of requests that bring none; `total` bounds all attempts together.
        jitter: a number from 0 to 1 that spreads the pauses.
        attempts: how often it is tried at most.
    """

    def __init__(
        self,
        inner: Provider,
        timeouts: Timeouts,
        jitter: Callable[[], float] = random.random,
        *,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.inner = inner
        self.timeouts = timeouts
        self.attempts = attempts
        self._jitter = jitter

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return _Attempts(self, request)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self.inner.aclose()

    def pause(self, error: BerlinError, attempt: int) -> float | None:
        """Return the seconds until the next attempt, or `None` if there shall be none."""
        if not error.retryable or attempt >= self.attempts:
            return None
        if error.retry_after is not None:
            # The service's word counts, up to where a caller would rather be told.
            return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER_S else None
        backoff: float = FIRST_BACKOFF_S * 2 ** (attempt - 1)
        return backoff * (0.5 + self._jitter())


class _Attempts:
    """Attempts until one has begun to answer; from then on it is that answer, at no cost."""

    def __init__(self, retry: Retry, request: ChatRequest) -> None:
        self._retry = retry
        self._request = request
        self._answer: Bursts | None = None
        self._begun = self._ended = False

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Burst]:
        if self._begun and self._answer is not None:
            return self._answer.__anext__()
        return self._begin()

    async def aclose(self) -> None:
        self._ended = True
        if self._answer is not None:
            await self._answer.aclose()

    async def _begin(self) -> Burst:
        retry, request = self._retry, self._request
        if self._ended:
            raise StopAsyncIteration
        self._ended = True
        timeouts = request.timeouts or retry.timeouts
        now = time.monotonic
        ends_at = now() + timeouts.total
        for attempt in range(1, retry.attempts + 1):
            self._answer = retry.inner.bursts(request)
            try:
                first = await self._answer.__anext__()
            except BerlinError as error:
                pause = retry.pause(error, attempt)
                if pause is None or now() + pause >= ends_at:
                    raise
            else:
                self._begun = True
                return first
            await asyncio.sleep(pause)
            left = msgspec.structs.replace(timeouts, total=max(ends_at - now(), 0.001))
            request = msgspec.structs.replace(request, timeouts=left)
        raise AssertionError("the last attempt has no pause")
