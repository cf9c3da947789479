"""Counters of this process."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence

from berlin.routing.base.clock import Clock
from berlin.routing.counters.contract import (
    SLOTS,
    Calendar,
    Claim,
    Refusal,
    Reservation,
    Sliding,
    excess,
    fits,
    settled_amounts,
)

TIDY_FROM = 10_000
HELD_WAIT_S = 2.0


class _Slot:
    __slots__ = ("amount", "first", "last")

    def __init__(self, at: float) -> None:
        self.first = self.last = at
        self.amount = 0


class _Held:
    """The reservation of one request in a counter."""

    __slots__ = ("amount", "kept", "slot")

    def __init__(self, slot: _Slot | None, amount: int, *, kept: bool) -> None:
        self.slot = slot
        self.amount = amount
        self.kept = kept


class _Counter:
    __slots__ = ("begins", "held", "open", "slots", "span_s", "used")

    def __init__(self, span_s: float) -> None:
        self.used = 0
        self.span_s = span_s
        self.begins = 0.0  # of the period, for days and months
        self.slots: deque[_Slot] = deque()
        self.held: dict[str, _Held] = {}
        self.open = 0  # reservations that are not final

    def forget(self, now: float) -> None:
        """Drop what has left the sliding window."""
        slots = self.slots
        while slots and slots[0].last + self.span_s <= now:
            self.used -= slots[0].amount
            slots.popleft().amount = 0

    def begin(self, period: float) -> None:
        """Start counting anew if a period has begun. A clock that is set back starts none."""
        if period > self.begins:
            self.begins = period
            self.used = self.open = 0
            self.held = {}

    def add(self, id: str, claim: Claim, now: float) -> None:
        """Reserve."""
        slot = None
        if self.span_s:
            if not self.slots or now - self.slots[-1].first >= self.span_s / SLOTS:
                self.slots.append(_Slot(now))
            slot = self.slots[-1]
            slot.last = now
            slot.amount += claim.amount
        self.used += claim.amount
        self.held[id] = _Held(slot, claim.amount, kept=claim.kept)
        self.open += not claim.kept

    def end(self, id: str, amount: int | None, now: float) -> None:
        """Replace what a request has reserved by an amount; `None` leaves it."""
        held = self.held.pop(id, None)
        if held is None:
            return
        self.open -= not held.kept
        if amount is None:
            return
        if held.slot is not None:
            self.forget(now)
            if held.slot.last + self.span_s <= now:
                return
            held.slot.amount += amount - held.amount
        self.used += amount - held.amount

    def wait_s(self, claim: Claim, now: float) -> float:
        """Return the seconds until a claim may fit, if no request ends before."""
        if not self.span_s:
            return math.inf
        over = excess(claim, self.used)
        for slot in self.slots:
            over -= slot.amount
            if over <= 0:
                return slot.last + self.span_s - now
        return self.slots[-1].last + self.span_s - now if self.slots else self.span_s


class MemoryCounters:
    """Counts in this process.

    Args:
        clock: a monotonic clock, in seconds.
        wall: seconds since the epoch, for days and months.
    """

    def __init__(self, clock: Clock = time.monotonic, wall: Clock = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._counters: dict[str, _Counter] = {}
        self._tidy_from = TIDY_FROM

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._wall()

    async def reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Reserve what a request may cost; see `Counters`."""
        return self.try_reserve(id, claims)

    def try_reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Like `reserve`, but synchronous."""
        now = self._clock()
        found = []
        worst: Refusal | None = None
        for claim in claims:
            counter = self._counter(claim, now)
            if id in counter.held:
                return Reservation(id, tuple(claims), self._used(claims))
            found.append(counter)
            if not fits(claim, counter.used, counter.open):
                refusal = Refusal(claim, counter.used, self._wait_s(claim, counter, now))
                if worst is None or refusal.wait_s > worst.wait_s:
                    worst = refusal
        if worst is not None:
            return worst
        for claim, counter in zip(claims, found, strict=True):
            counter.add(id, claim, now)
        return Reservation(id, tuple(claims), tuple(counter.used for counter in found))

    def settle(self, reserved: Reservation, costs: Mapping[str, int]) -> None:
        """Replace reserved amounts by costs; see `Counters`."""
        self._end(reserved, settled_amounts(reserved.claims, costs))

    def undo(self, reserved: Reservation) -> None:
        """Take everything back; see `Counters`."""
        self._end(reserved, [0] * len(reserved.claims))

    async def aclose(self) -> None:
        """Do nothing."""

    def _end(self, reserved: Reservation, amounts: Sequence[int | None]) -> None:
        now = self._clock()
        for claim, amount in zip(reserved.claims, amounts, strict=True):
            counter = self._counters.get(claim.counter)
            if counter is not None:
                counter.end(reserved.id, amount, now)

    def _used(self, claims: Sequence[Claim]) -> tuple[int, ...]:
        counters = (self._counters.get(claim.counter) for claim in claims)
        return tuple(counter.used if counter is not None else 0 for counter in counters)

    def _counter(self, claim: Claim, now: float) -> _Counter:
        counter = self._counters.get(claim.counter)
        window = claim.window
        if counter is None:
            if len(self._counters) >= self._tidy_from:
                self._tidy(now)
            counter = _Counter(window.span_s if isinstance(window, Sliding) else 0.0)
            self._counters[claim.counter] = counter
        if counter.span_s:
            counter.forget(now)
        elif isinstance(window, Calendar):
            counter.begin(window.bounds(self._wall())[0])
        return counter

    def _wait_s(self, claim: Claim, counter: _Counter, now: float) -> float:
        if not isinstance(claim.window, Calendar):
            return counter.wait_s(claim, now)
        if counter.open and counter.used - claim.limit < 0:
            return HELD_WAIT_S  # requests that run now may cost less than they have reserved
        wall = self._wall()
        return max(claim.window.bounds(wall)[1] - wall, 0.001)

    def _tidy(self, now: float) -> None:
        """Drop counters that count nothing any more."""
        for name, counter in list(self._counters.items()):
            counter.forget(now)
            if not counter.used and not counter.held:
                del self._counters[name]
        # What is left is in use; the next search comes when it has doubled.
        self._tidy_from = max(TIDY_FROM, 2 * len(self._counters))
