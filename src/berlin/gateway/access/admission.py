"""Admits a number of concurrent requests, and queues some more, fairly between tenants."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

from berlin.errors import OverloadedError
from berlin.gateway.workers.slots import SharedSlots

SHARE = 3
RETRY_AFTER_S = 2.0
POLL_S = 0.02

# A waiter gets a slot (`None`) or an error.
_Waiter = asyncio.Future[str | None]


class Admission:
    """Slots, and a queue in front of them.

    A free slot goes to the waiting tenant that holds the fewest; among equals, in turn; within a
    tenant, first come, first served. Where there are several tenants, one that holds a slot takes
    another only while it holds less than `SHARE` times what is free: long answers of one never
    take all slots, and the next tenant finds one free (dynamic thresholds, Choudhury and Hahne,
    1998: with `SHARE` 3, one tenant takes three quarters, two take three sevenths each).

    One tenant alone may fill the queue. When it is full and a request of another tenant arrives,
    the last request of the tenant with the most waiting is refused instead, as long as that tenant
    still has more waiting than the other: a flood is pushed back to an equal share, half of the
    queue between two.

    It belongs to one event loop. Several workers share their slots, and each has a queue of its
    own: a slot that another one frees is seen within `POLL_S`.

    Args:
        at_once: the most admitted requests.
        waiting: the most queued requests; 0 for no queue.
        wait_s: the longest wait in seconds.
        slots: the slots that all workers share; `None` where there is one process.
    """

    def __init__(
        self, at_once: int, waiting: int, wait_s: float, slots: SharedSlots | None = None
    ) -> None:
        self._slots = slots
        self._poll: asyncio.TimerHandle | None = None
        self._at_once = at_once
        self._waiting = waiting
        self._wait_s = wait_s
        self._held: Counter[Hashable] = Counter()
        self._shared = False
        self._inside = 0
        # The queue of each waiting tenant; the one served last comes last.
        self._lines: OrderedDict[Hashable, deque[_Waiter]] = OrderedDict()
        self._in_line = 0

    @property
    def inside(self) -> int:
        """The number of admitted requests."""
        return self._inside

    @property
    def in_line(self) -> int:
        """The number of waiting requests."""
        return self._in_line

    def enter(self, tenant: Hashable = None, *, shared: bool = False) -> _Slot:
        """Hold a slot for the time of an `async with` block.

        Args:
            tenant: the tenant of the request, such as the id of a key.
            shared: whether there are other tenants, for whom slots are kept free.

        Raises:
            OverloadedError: if the queue is full or the wait was too long; nothing was sent.
        """
        self._shared = shared
        return _Slot(self, tenant)

    async def take(self, tenant: Hashable) -> None:
        """Take a slot, waiting if necessary; it must be given back."""
        if tenant in self._lines or not self._try_give(tenant):
            await self._wait(tenant)

    def give_back(self, tenant: Hashable) -> None:
        """Give a slot back, to the next one in the queue."""
        self._inside -= 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        if self._slots is not None:
            self._slots.free()
        self._call_next()

    def close(self) -> None:
        """Refuse all that wait."""
        for tenant, line in list(self._lines.items()):
            for waiter in list(line):
                self._refuse(tenant, waiter, "the service is stopping; try again")

    async def _wait(self, tenant: Hashable) -> None:
        if self._in_line >= self._waiting:
            self._make_room(tenant)
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        self._lines.setdefault(tenant, deque()).append(waiter)
        self._in_line += 1
        if self._slots is not None:
            self._call_next()
        # Not `asyncio.timeout`: the outcome of a waiter is decided once, by the result it gets.
        refusal = f"too busy: no room within {self._wait_s:g} s; try again"
        timer = loop.call_later(self._wait_s, self._refuse, tenant, waiter, refusal)
        try:
            why = await waiter
        except asyncio.CancelledError:
            self._leave(tenant, waiter)
            if not waiter.cancelled() and waiter.result() is None:
                self.give_back(tenant)  # it got the slot in the same loop iteration
            raise
        finally:
            timer.cancel()
        if why is not None:
            raise OverloadedError(why, retry_after=RETRY_AFTER_S)

    def _make_room(self, tenant: Hashable) -> None:
        full = f"too busy: {self._at_once} requests at once and {self._waiting} waiting; try again"
        longest = max(self._lines, key=lambda other: len(self._lines[other]), default=tenant)
        if len(self._lines.get(longest, ())) <= len(self._lines.get(tenant, ())) + 1:
            raise OverloadedError(full, retry_after=RETRY_AFTER_S)
        self._refuse(longest, self._lines[longest][-1], full)

    def _refuse(self, tenant: Hashable, waiter: _Waiter, why: str) -> None:
        self._leave(tenant, waiter)
        if not waiter.done():
            waiter.set_result(why)

    def _leave(self, tenant: Hashable, waiter: _Waiter) -> None:
        line = self._lines.get(tenant, deque())
        if waiter not in line:  # it was admitted, refused, or skipped
            return
        line.remove(waiter)
        self._in_line -= 1
        if not line:
            del self._lines[tenant]

    def _may_take(self, tenant: Hashable) -> bool:
        free = self._at_once - self._inside
        held = self._held[tenant]
        if not (self._shared and held):
            return free > 0
        return free > 1 and held < SHARE * free

    def _try_give(self, tenant: Hashable) -> bool:
        if not self._may_take(tenant):
            return False
        if self._slots is not None and not self._slots.take(self._at_once):
            return False
        self._inside += 1
        self._held[tenant] += 1
        return True

    def _call_next(self) -> None:
        while self._lines:
            # The one holding the fewest may take one, or nobody may.
            tenant = min(self._lines, key=lambda other: self._held[other])
            waiter = self._lines[tenant][0]
            if waiter.done():  # it was cancelled, and its task has not run since
                self._leave(tenant, waiter)
                continue
            if not self._try_give(tenant):
                break
            self._leave(tenant, waiter)
            if tenant in self._lines:
                self._lines.move_to_end(tenant)
            waiter.set_result(None)
        if self._slots is not None and self._lines and self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(POLL_S, self._look_again)

    def _look_again(self) -> None:
        """Look whether another worker has freed a slot."""
        self._poll = None
        self._call_next()


class _Slot:
    def __init__(self, admission: Admission, tenant: Hashable) -> None:
        self._admission = admission
        self._tenant = tenant

    async def __aenter__(self) -> None:
        await self._admission.take(self._tenant)

    async def __aexit__(self, *exc_info: object) -> None:
        self._admission.give_back(self._tenant)
