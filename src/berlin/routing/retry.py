"""Tries again, but only before the first event was handed on: never twice the same text."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from berlin.errors import BerlinError
from berlin.providers.base import Burst, Provider
from berlin.types import ChatRequest, Timeouts

ATTEMPTS = 3
FIRST_BACKOFF_S = 0.25
LONGEST_RETRY_AFTER_S = 30.0


class Retry:
    """Sends a request up to `ATTEMPTS` times, with growing pauses or those the service asks for.

    Args:
        inner: what is tried.
        timeouts: the limits of requests that bring none; `total` bounds all attempts together.
        jitter: a number from 0 to 1 that spreads the pauses.
    """

    def __init__(
        self, inner: Provider, timeouts: Timeouts, jitter: Callable[[], float] = random.random
    ) -> None:
        self._inner = inner
        self._timeouts = timeouts
        self._jitter = jitter

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer a request; see `Provider`."""
        timeouts = request.timeouts or self._timeouts
        now = asyncio.get_running_loop().time
        ends_at = now() + timeouts.total
        for attempt in range(1, ATTEMPTS + 1):
            begun = False
            try:
                async with aclosing(self._inner.bursts(request)) as bursts:
                    async for burst in bursts:
                        begun = True
                        yield burst
                return
            except BerlinError as error:
                pause = self._pause(error, attempt)
                if begun or pause is None or now() + pause >= ends_at:
                    raise
            await asyncio.sleep(pause)
            left = msgspec.structs.replace(timeouts, total=max(ends_at - now(), 0.001))
            request = msgspec.structs.replace(request, timeouts=left)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._inner.aclose()

    def _pause(self, error: BerlinError, attempt: int) -> float | None:
        """Return the seconds until the next attempt, or `None` if there shall be none."""
        if not error.retryable or attempt == ATTEMPTS:
            return None
        if error.retry_after is not None:
            # The service's word counts, up to where a caller would rather be told.
            return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER_S else None
        backoff: float = FIRST_BACKOFF_S * 2 ** (attempt - 1)
        return backoff * (0.5 + self._jitter())
