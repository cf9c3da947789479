"""Measures one request against its four limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from berlin.errors import UpstreamTimeoutError
from berlin.types import Timeouts

_T = TypeVar("_T")


class Stopwatch:
    """Counts the time that is spent waiting for the service, and only that.

    While the consumer holds a piece, no limit but the total runs. What comes in without being
    an event does not count as progress.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._phase = "first_event"
        self._left = timeouts.first_event
        self._total_at = asyncio.get_running_loop().time() + timeouts.total

    def restart(self) -> None:
        """Begin a new exchange with the service."""
        self._phase, self._left = "first_event", self._timeouts.first_event

    def progress(self) -> None:
        """Take note that an event came."""
        self._phase, self._left = "idle", self._timeouts.idle

    async def wait(self, awaitable: Awaitable[_T]) -> _T:
        """Wait for the service within the limits.

        Raises:
            UpstreamTimeoutError: it names the limit that passed.
        """
        time = asyncio.get_running_loop().time
        began = time()
        scope = asyncio.timeout_at(min(began + self._left, self._total_at))
        try:
            async with scope:
                return await awaitable
        except TimeoutError as error:
            if scope.expired() and not isinstance(error, UpstreamTimeoutError):
                raise self._error(time()) from None
            raise
        finally:
            self._left -= time() - began

    def _error(self, now: float) -> UpstreamTimeoutError:
        phase = "total" if now >= self._total_at else self._phase
        limit = getattr(self._timeouts, phase)
        what = {
            "first_event": f"no event came in {limit:g} s",
            "idle": f"no further event came in {limit:g} s",
            "total": f"the request was not done in {limit:g} s",
        }[phase]
        return UpstreamTimeoutError(f"{phase}: {what}; raise Timeouts.{phase} if it needs longer")
