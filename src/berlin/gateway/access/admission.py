"""Admits a number of concurrent requests, and queues some more, fairly between tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Self

from berlin.errors import OverloadedError
from berlin.gateway.workers.slots import SharedSlots
from berlin.routing.base.queue import Queue

SHARE = 3
POLL_S = 0.02


class Admission:
    """Slots, and a queue in front of them; see `Queue`.

    A free slot goes to the waiting tenant that holds the fewest. Where there are several tenants,
    one that holds a slot takes another only while it holds less than `SHARE` times what is free:
    long answers of one never take all slots, and the next tenant finds one free (dynamic
    thresholds, Choudhury and Hahne, 1998: with `SHARE` 3, one tenant takes three quarters, two take
    three sevenths each).

    It belongs to one event loop. Several workers share their slots, and each has a queue of its
    own: a slot that another one frees is seen within `POLL_S`.

    Args:
        at_once: the most admitted requests.
        waiting: the most queued requests; 0 for no queue.
        wait_s: the longest wait in seconds.
        slots: the slots that all workers share; `None` where there is one process.

    Attributes:
        inside: the number of admitted requests.
    """

    def __init__(
        self, at_once: int, waiting: int, wait_s: float, slots: SharedSlots | None = None
    ) -> None:
        self._slots = slots
        self._poll: asyncio.TimerHandle | None = None
        self._at_once = at_once
        self._wait_s = wait_s
        self._held: dict[Hashable, int] = {}
        self._shared = False
        self.inside = 0
        self._queue: Queue[None] = Queue(
            waiting,
            OverloadedError,
            f"too busy: {at_once} concurrent requests and {waiting} waiting; try again",
            "too busy: no room within {:g} s; try again",
            lambda waiter: self.give_back(waiter.tenant),
        )

    @property
    def in_line(self) -> int:
        """The number of waiting requests."""
        return self._queue.count

    def enter(self, tenant: Hashable = None, *, shared: bool = False) -> Slot:
        """Hold a slot for the time of an `async with` block, or until it is left.

        Args:
            tenant: the tenant of the request, such as the id of a key.
            shared: whether there are other tenants, for whom slots are kept free.

        Raises:
            OverloadedError: if the queue is full or the wait was too long; nothing was sent.
        """
        self._shared = shared
        return Slot(self, tenant)

    async def _wait(self, tenant: Hashable) -> None:
        waiter = self._queue.join(tenant)
        if self._slots is not None:
            self._call_next()
        await self._queue.wait(waiter, self._wait_s)

    def give_back(self, tenant: Hashable) -> None:
        """Give a slot back, to the next one in the queue."""
        self.inside -= 1
        held = self._held[tenant] = self._held[tenant] - 1
        if not held:
            del self._held[tenant]
        if self._slots is not None:
            self._slots.free()
        if self._queue.count:
            self._call_next()

    def close(self) -> None:
        """Refuse all that wait."""
        self._queue.refuse_all("the service is stopping; try again")

    def _try_give(self, tenant: Hashable) -> bool:
        free, held = self._at_once - self.inside, self._held.get(tenant, 0)
        if free <= 0 or (self._shared and held and (free == 1 or held >= SHARE * free)):
            return False
        if self._slots is not None and not self._slots.take(self._at_once):
            return False
        self.inside += 1
        self._held[tenant] = held + 1
        return True

    def _call_next(self) -> None:
        # If the tenant that holds the fewest may not take one, nobody may.
        while (waiter := self._queue.next(lambda tenant: self._held.get(tenant, 0))) is not None:
            if not self._try_give(waiter.tenant):
                break
            self._queue.grant(waiter, None)
        if self._slots is not None and self._queue.count and self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(POLL_S, self._look_again)

    def _look_again(self) -> None:
        """Look whether another worker has freed a slot."""
        self._poll = None
        self._call_next()


class Slot:
    """A slot of an admission, held by one request."""

    def __init__(self, admission: Admission, tenant: Hashable) -> None:
        self._admission = admission
        self._tenant = tenant
        self._is_held = False

    def leave(self) -> None:
        """Give the slot back, if that has not happened yet."""
        if self._is_held:
            self._is_held = False
            self._admission.give_back(self._tenant)

    async def __aenter__(self) -> Self:
        admission, tenant = self._admission, self._tenant
        queue = admission._queue
        if (queue.count and tenant in queue) or not admission._try_give(tenant):
            await admission._wait(tenant)
        self._is_held = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()
