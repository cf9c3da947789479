"""Measures one request against its four limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Self, TypeVar

from berlin.errors import UpstreamTimeoutError
from berlin.types import Timeouts

_T = TypeVar("_T")


class Stopwatch:
    """Counts the time that is spent waiting for the service, and only that.

    While the consumer holds a piece, no limit but the total runs. What comes in without being
    an event does not count as progress.

    One timer serves a whole request: it is not set and cancelled for each wait, but looks at the
    limit of the present wait when it rings, and is set anew for what is left. `asyncio.timeout`
    around each wait costs as much as the rest of a wait.
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
        # Of the present wait; no task: nobody waits.
        self._task: asyncio.Task[object] | None = None
        self._deadline = 0.0
        self._is_over = False

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
            # As `asyncio.timeout` does it: a cancellation from elsewhere comes first.
            over, self._is_over = self._is_over, False
            if over and task.uncancel() <= cancelling:
                raise self._error() from None
            raise
        finally:
            self._task = None
            if self._is_over:  # what was waited for came all the same
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
            "first_event": f"no event came in {limit:g} s",
            "idle": f"no further event came in {limit:g} s",
            "total": f"the request was not done in {limit:g} s",
        }[phase]
        return UpstreamTimeoutError(f"{phase}: {what}; raise Timeouts.{phase} if it needs longer")
