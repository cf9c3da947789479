"""Counters of this process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import (
    Claim,
    Refusal,
    Reservation,
    name_at,
    settled_amounts,
)
from berlin.routing.counters.counter import Counter, reserve_all

TIDY_FROM = 10_000


class MemoryCounters:
    """Counts in this process.

    Args:
        clock: a monotonic clock, in seconds.
        wall: seconds since the epoch, for days and months.
    """

    def __init__(self, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._counters: dict[str, Counter] = {}
        self._tidy_from = TIDY_FROM

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._wall()

    async def reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Reserve what a request may cost; see `Counters`."""
        return self.try_reserve(id, claims)

    def try_reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Like `reserve`, but synchronous."""
        now, wall = self._clock(), self._wall()
        counters = [self._counter(claim, now, wall) for claim in claims]
        refused, wait_s = reserve_all(id, claims, counters, now, wall)
        if refused is not None:
            counter = counters[refused]
            return Refusal(claims[refused], counter.used, wait_s, counter.reserved)
        return Reservation(id, tuple(claims), tuple([counter.used for counter in counters]))

    def settle(self, reserved: Reservation, costs: Mapping[str, int]) -> None:
        """Replace reserved amounts by costs; see `Counters`."""
        self.end(reserved, settled_amounts(reserved.claims, costs))

    def undo(self, reserved: Reservation) -> None:
        """Take everything back; see `Counters`."""
        self.end(reserved, [0] * len(reserved.claims))

    def end(self, reserved: Reservation, amounts: Sequence[int | None]) -> None:
        """Replace reserved amounts by others; `None` leaves what was reserved."""
        now, wall = self._clock(), self._wall()
        for claim, amount in zip(reserved.claims, amounts, strict=True):
            counter = self._counters.get(name_at(claim, wall))
            if counter is not None:  # or its day or month is over
                counter.end(reserved.id, amount, now)

    async def aclose(self) -> None:
        """Do nothing."""

    def _counter(self, claim: Claim, now: float, wall: float) -> Counter:
        name = name_at(claim, wall)
        counter = self._counters.get(name)
        if counter is None:
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
