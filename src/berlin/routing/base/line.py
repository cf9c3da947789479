"""A queue before a gate: fair to tenants, and no request waits beyond its deadline."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from contextlib import suppress

from berlin.errors import LimitReachedError
from berlin.routing.base.gate import Gate
from berlin.routing.counters.contract import Reservation


class _Waiter:
    __slots__ = ("passed", "tokens")

    def __init__(self, tokens: int, passed: asyncio.Future[Reservation]) -> None:
        self.tokens = tokens
        self.passed = passed


class Line:
    """The queue of a gate. Tenants take turns; within a tenant, first come, first served. When the
    queue is full, the tenant with the most waiting requests makes room.

    It belongs to one event loop at a time.

    Args:
        gate: the gate.
        waiting: the most waiting requests; 0 for no queue.
    """

    def __init__(self, gate: Gate, waiting: int) -> None:
        self._gate = gate
        self._waiting = waiting
        self._lines: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._count = 0
        self._changed: asyncio.Event | None = None
        self._pump: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._count

    async def enter(self, tenant: str, tokens: int, wait_s: float) -> Reservation:
        """Wait until the gate has admitted the request.

        Raises:
            LimitReachedError: if the queue is full or the wait was too long; nothing was sent.
        """
        if not self._count:
            turn = await self._gate.take(tokens)
            if isinstance(turn, Reservation):
                return turn
            if wait_s < turn < math.inf:
                raise LimitReachedError(
                    f"the limit leaves no room for {turn:.0f} s; nothing was sent", retry_after=turn
                )
        return await self._wait(tenant, tokens, wait_s)

    def change(self) -> None:
        """Check again: a request finished, or cost less than reserved."""
        if self._changed is not None:
            self._changed.set()

    async def _wait(self, tenant: str, tokens: int, wait_s: float) -> Reservation:
        if self._count >= self._waiting:
            self._make_room(tenant)
        waiter = _Waiter(tokens, asyncio.get_running_loop().create_future())
        self._lines.setdefault(tenant, deque()).append(waiter)
        self._count += 1
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._let_through())
        try:
            async with asyncio.timeout(wait_s):
                return await waiter.passed
        except (TimeoutError, asyncio.CancelledError) as error:
            self._leave(tenant, waiter)
            self.change()
            if waiter.passed.done() and not waiter.passed.cancelled():
                if isinstance(error, TimeoutError):
                    return waiter.passed.result()  # admitted and timed out at the same moment
                if waiter.passed.exception() is None:
                    self._gate.undo(waiter.passed.result())
                    self.change()
            if isinstance(error, TimeoutError):
                raise LimitReachedError(
                    f"the limit left no room within {wait_s:g} s; nothing was sent", retry_after=2.0
                ) from None
            raise

    async def _let_through(self) -> None:
        """Admit the first of the queue, repeatedly, until it is empty."""
        self._changed = asyncio.Event()
        while self._count:
            tenant, line = next(iter(self._lines.items()))
            waiter = line[0]
            if waiter.passed.done():  # it was cancelled, and its task has not run since
                self._leave(tenant, waiter)
                continue
            self._changed.clear()
            turn = await self._gate.take(waiter.tokens)
            if isinstance(turn, Reservation):
                if waiter.passed.done():
                    self._gate.undo(turn)
                else:
                    self._leave(tenant, waiter)
                    if tenant in self._lines:
                        self._lines.move_to_end(tenant)
                    waiter.passed.set_result(turn)
                continue
            with suppress(TimeoutError):
                # At least a millisecond: the clock may not advance by less.
                async with asyncio.timeout(max(turn, 0.001) if turn != math.inf else None):
                    await self._changed.wait()

    def _make_room(self, tenant: str) -> None:
        full = LimitReachedError(
            f"{self._count} requests are already waiting; nothing was sent", retry_after=2.0
        )
        longest = max(self._lines, key=lambda other: len(self._lines[other]), default=tenant)
        if len(self._lines.get(longest, ())) <= len(self._lines.get(tenant, ())) + 1:
            raise full
        last = self._lines[longest][-1]
        self._leave(longest, last)
        if not last.passed.done():
            last.passed.set_exception(full)

    def _leave(self, tenant: str, waiter: _Waiter) -> None:
        line = self._lines.get(tenant)
        if line is None or waiter not in line:
            return
        line.remove(waiter)
        self._count -= 1
        if not line:
            del self._lines[tenant]
