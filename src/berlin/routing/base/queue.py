"""A bounded queue of requests that is fair to tenants."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from berlin.errors import OverloadedError

RETRY_AFTER_S = 2.0

_T = TypeVar("_T")


class Waiter(Generic[_T]):
    """A request that waits.

    Attributes:
        tenant: whose request it is.
        tokens: what it needs, in tokens.
        outcome: what it gets, or its refusal; decided once.
    """

    __slots__ = ("outcome", "tenant", "tokens")

    def __init__(self, tenant: Hashable, tokens: int) -> None:
        self.tenant = tenant
        self.tokens = tokens
        self.outcome: asyncio.Future[_T] = asyncio.get_running_loop().create_future()


class Queue(Generic[_T]):
    """Requests that wait for something that their owner grants.

    Tenants take turns; within a tenant, first come, first served. One tenant alone may fill the
    queue. When it is full and a request of another tenant arrives, the last request of the tenant
    with the most waiting is refused instead, as long as that tenant still has more waiting than the
    other: a flood is pushed back to an equal share, half of the queue between two.

    It belongs to one event loop at a time.

    Args:
        most: the most waiting requests; 0 for no queue.
        error: the type of a refusal.
        full: why a request is refused when the queue is full.
        late: why it is refused after its wait, with a place for the seconds.
        give_back: called with a waiter that was cancelled just as it got something.

    Attributes:
        count: the number of waiting requests.
    """

    def __init__(
        self,
        most: int,
        error: type[OverloadedError],
        full: str,
        late: str,
        give_back: Callable[[Waiter[_T]], None],
    ) -> None:
        self._most = most
        self._error = error
        self._full = full
        self._late = late
        self._give_back = give_back
        # The requests of each waiting tenant; the tenant served last comes last.
        self._lines: OrderedDict[Hashable, deque[Waiter[_T]]] = OrderedDict()
        self.count = 0

    def __contains__(self, tenant: Hashable) -> bool:
        return tenant in self._lines

    def join(self, tenant: Hashable, tokens: int = 0) -> Waiter[_T]:
        """Add a request at the end.

        Raises:
            OverloadedError: if the queue is full; nothing was sent.
        """
        if self.count >= self._most:
            self._make_room(tenant)
        waiter: Waiter[_T] = Waiter(tenant, tokens)
        self._lines.setdefault(tenant, deque()).append(waiter)
        self.count += 1
        return waiter

    async def wait(self, waiter: Waiter[_T], wait_s: float) -> _T:
        """Wait, and return the outcome.

        Raises:
            OverloadedError: if it is refused, or the wait is too long; nothing was sent.
        """
        # Not `asyncio.timeout`, which could end the wait just as the waiter gets something.
        late = asyncio.get_running_loop().call_later(
            wait_s, self.refuse, waiter, self._late.format(wait_s)
        )
        try:
            return await waiter.outcome
        except asyncio.CancelledError:
            self._remove(waiter)
            if not waiter.outcome.cancelled() and waiter.outcome.exception() is None:
                self._give_back(waiter)
            raise
        finally:
            late.cancel()

    def next(self, key: Callable[[Hashable], float] | None = None) -> Waiter[_T] | None:
        """Return the next request: of the tenant with the lowest key, and among equals in turn."""
        while self._lines:
            tenant = min(self._lines, key=key) if key is not None else next(iter(self._lines))
            waiter = self._lines[tenant][0]
            if not waiter.outcome.done():
                return waiter
            self._remove(waiter)  # it was cancelled, and its task has not run since
        return None

    def grant(self, waiter: Waiter[_T], what: _T) -> None:
        """Give a request what it waits for."""
        self._remove(waiter)
        if waiter.tenant in self._lines:
            self._lines.move_to_end(waiter.tenant)
        waiter.outcome.set_result(what)

    def refuse(self, waiter: Waiter[_T], why: str) -> None:
        """Refuse a request that waits."""
        self._remove(waiter)
        if not waiter.outcome.done():
            waiter.outcome.set_exception(self._error(why, retry_after=RETRY_AFTER_S))

    def refuse_all(self, why: str) -> None:
        """Refuse all that wait."""
        for line in list(self._lines.values()):
            for waiter in list(line):
                self.refuse(waiter, why)

    def _make_room(self, tenant: Hashable) -> None:
        longest = max(self._lines, key=lambda other: len(self._lines[other]), default=tenant)
        if len(self._lines.get(longest, ())) <= len(self._lines.get(tenant, ())) + 1:
            raise self._error(self._full, retry_after=RETRY_AFTER_S)
        self.refuse(self._lines[longest][-1], self._full)

    def _remove(self, waiter: Waiter[_T]) -> None:
        line = self._lines.get(waiter.tenant, deque())
        if waiter not in line:  # it was granted or refused
            return
        line.remove(waiter)
        self.count -= 1
        if not line:
            del self._lines[waiter.tenant]
