"""The queue before limits: no request waits beyond its deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from berlin.errors import LimitReachedError
from berlin.routing.base.queue import Queue
from berlin.routing.counters.contract import Reservation

LOOK_AGAIN_S = 1.0
"""How long to wait at most for the end of a request that runs: requests that were admitted under an
earlier configuration make room unannounced."""


class Line:
    """The queue of limits; see `Queue`. It belongs to one event loop at a time.

    Args:
        take: admits a request that needs so many tokens, or returns the seconds until it may.
        undo: takes an admission back.
        waiting: the most waiting requests; 0 for no queue.
    """

    def __init__(
        self,
        take: Callable[[int], Awaitable[Reservation | float]],
        undo: Callable[[Reservation], None],
        waiting: int,
    ) -> None:
        self._take = take
        self._undo = undo
        self._queue: Queue[Reservation] = Queue(
            waiting,
            LimitReachedError,
            f"{waiting} requests are already waiting; nothing was sent",
            "the limit left no room within {:g} s; nothing was sent",
            lambda waiter: undo(waiter.outcome.result()),
        )
        self._changed: asyncio.Event | None = None
        self._pump: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    async def enter(self, tenant: str, tokens: int, wait_s: float) -> Reservation:
        """Wait until the request is admitted.

        Raises:
            LimitReachedError: if the queue is full or the wait was too long; nothing was sent.
        """
        if not self._queue:
            turn = await self._take(tokens)
            if isinstance(turn, Reservation):
                return turn
            if wait_s < turn < math.inf:
                raise LimitReachedError(
                    f"the limit leaves no room for {turn:.0f} s; nothing was sent", retry_after=turn
                )
        waiter = self._queue.join(tenant, tokens)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._let_through())
        try:
            return await self._queue.wait(waiter, wait_s)
        except BaseException:
            self.change()  # the next one may need less
            raise

    def change(self) -> None:
        """Check again: a request finished, or cost less than reserved."""
        if self._changed is not None:
            self._changed.set()

    async def _let_through(self) -> None:
        """Admit the first of the queue, repeatedly, until it is empty."""
        self._changed = asyncio.Event()
        while (waiter := self._queue.next()) is not None:
            self._changed.clear()
            try:
                turn = await self._take(waiter.tokens)
            except LimitReachedError as error:  # shared counts that cannot be used now
                self._queue.refuse(waiter, error.message)
                continue
            if isinstance(turn, float):
                with suppress(TimeoutError):
                    # At least a millisecond: the clock may not advance by less.
                    async with asyncio.timeout(min(max(turn, 0.001), LOOK_AGAIN_S)):
                        await self._changed.wait()
            elif waiter.outcome.done():
                self._undo(turn)
            else:
                self._queue.grant(waiter, turn)
