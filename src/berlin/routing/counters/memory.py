"""Counters of this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import attrgetter

from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import Claim, Refusal, Reservation, Sliding, name_at
from berlin.routing.counters.counter import Counter, reserve_all

TIDY_FROM = 10_000

_used = attrgetter("used")


class MemoryCounters:
    """Counts in this process.

    Args:
        clock: a monotonic clock, in seconds.
        wall: seconds since the epoch, for days and months.

    Attributes:
        now: the same.
    """

    def __init__(self, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        self._clock = clock
        self.now = wall
        self._counters: dict[str, Counter] = {}
        self._tidy_from = TIDY_FROM

    async def reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Reserve what a request may cost; see `Counters`."""
        return self.try_reserve(id, claims)

    def try_reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Like `reserve`, but synchronous."""
        now, wall = self._clock(), self.now()
        counters = []
        for claim in claims:
            name = claim.counter if type(claim.window) is Sliding else name_at(claim, wall)
            counters.append(self._counters.get(name) or self._begin(name, claim, now, wall))
        refused, wait_s = reserve_all(id, claims, counters, now, wall)
        if refused is not None:
            counter = counters[refused]
            return Refusal(claims[refused], counter.used, wait_s, counter.reserved)
        return Reservation(id, claims, tuple(map(_used, counters)), counters)

    def settle(self, reserved: Reservation, amounts: Sequence[int | None]) -> None:
        """Replace reserved amounts by final ones; see `Counters`."""
        now = self._clock()
        for counter, amount in zip(reserved.counters, amounts, strict=True):
            counter.end(reserved.id, amount, now)

    async def aclose(self) -> None:
        """Do nothing."""

    def _begin(self, name: str, claim: Claim, now: float, wall: float) -> Counter:
        if len(self._counters) >= self._tidy_from:
            self._tidy(now, wall)
        counter = self._counters[name] = Counter.of(claim, wall)
        return counter

    def _tidy(self, now: float, wall: float) -> None:
        """Drop counters that count nothing any more."""
        for name, counter in list(self._counters.items()):
            counter.forget(now)
            if 0 < counter.ends < wall - 3600 or not (counter.used or counter.held):
                del self._counters[name]
        # What is left is in use; the next search comes when it has doubled.
        self._tidy_from = max(TIDY_FROM, 2 * len(self._counters))
