"""Measures one request against its four limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

from berlin.errors import UpstreamTimeoutError
from berlin.types import Timeouts

_T = TypeVar("_T")


class Stopwatch:
    """Measures only the time spent waiting for the service.

    While the consumer processes a piece, only the total limit runs. Input that is not an event does
    not count as progress.

    One timer serves a whole request: instead of being set and cancelled for each wait, it checks
    the limit of the current wait when it fires, and is set again for the remaining time.
    `asyncio.timeout` around each wait would double the cost of a wait.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._timeouts = timeouts
        self._phase = "first_event"
        self._left = timeouts.first_event
        self._total_at = self._time() + timeouts.total
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        # The task of the current wait, if any.
        self._task: asyncio.Task[object] | None = None
        self._deadline = 0.0
        self._is_over = False

    def restart(self) -> None:
        """Start a new exchange with the service."""
        self._phase, self._left = "first_event", self._timeouts.first_event

    def progress(self) -> None:
        """Record that an event arrived."""
        self._phase, self._left = "idle", self._timeouts.idle

    async def wait(self, awaitable: Awaitable[_T]) -> _T:
        """Wait for the service within the limits.

        Raises:
            UpstreamTimeoutError: the error names the limit.
        """
        began = self._time()
        deadline = began + self._left
        if deadline > self._total_at:
            deadline = self._total_at
        self._deadline = deadline
        task: Any = asyncio.current_task(self._loop)
        self._task = task
        if self._timer is None or deadline < self._rings_at:
            self._set(deadline)
        cancelling = task.cancelling()
        try:
            return await awaitable
        except asyncio.CancelledError:
            # Like `asyncio.timeout`: a cancellation from elsewhere takes precedence.
            over, self._is_over = self._is_over, False
            if over and task.uncancel() <= cancelling:
                raise self._error() from None
            raise
        finally:
            self._task = None
            if self._is_over:  # the awaited result arrived all the same
                self._is_over = False
                task.uncancel()
            self._left -= self._time() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._time() < self._deadline:
            self._set(self._deadline)
            return
        self._is_over = True
        self._task.cancel()

    def _error(self) -> UpstreamTimeoutError:
        phase = "total" if self._time() >= self._total_at else self._phase
        limit = getattr(self._timeouts, phase)
        what = {
            "first_event": f"no event arrived within {limit:g} s",
            "idle": f"no further event arrived within {limit:g} s",
            "total": f"the request was not finished within {limit:g} s",
        }[phase]
        return UpstreamTimeoutError(f"{phase}: {what}; raise Timeouts.{phase} if it needs longer")
