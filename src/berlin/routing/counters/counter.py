"""One counter of a limit: in memory, or as a file stores it."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

import msgspec

from berlin.routing.counters.contract import HELD_WAIT_S, SLOTS, Calendar, Claim, Sliding

IN_ADVANCE = " in advance"
"""The end of the id of what no request has reserved yet."""


class Slot(msgspec.Struct, array_like=True):
    """The amounts of a moment of a sliding window; `last` is the time of the newest."""

    last: float
    amount: int = 0


class Held(msgspec.Struct, array_like=True):
    """The reservation of one request.

    Attributes:
        slot: the time of its slot.
        amount: what is reserved.
        kept: whether that is final.
        owner: the process that reserved it.
    """

    slot: float
    amount: int
    kept: bool
    owner: str


class Counter(msgspec.Struct):
    """The amounts reserved against one limit.

    Times are on a monotonic clock that all its processes share and nobody sets. What is in its
    future is from before a restart of the machine.

    Attributes:
        span_s: the span of a sliding window.
        ends: the end of a day or month, in seconds since the epoch.
        used: what it counts.
        open: how many reservations are not final.
        slots: the slots of a sliding window, by the time of their oldest amount.
        held: the reservations, by request.
    """

    span_s: float = 0.0
    ends: float = 0.0
    used: int = 0
    open: int = 0
    slots: dict[float, Slot] = {}
    held: dict[str, Held] = {}

    @classmethod
    def of(cls, claim: Claim, wall: float) -> Counter:
        """Return an empty counter for a claim at a time in seconds since the epoch."""
        match claim.window:
            case Sliding(span_s):
                return cls(span_s)
            case Calendar() as period:
                return cls(ends=period.bounds(wall)[1])
            case _:
                return cls()

    @property
    def gone_at(self) -> float:
        """The time when the last amount leaves the sliding window; 0 if there is none."""
        return self.slots[next(reversed(self.slots))].last + self.span_s if self.slots else 0.0

    @property
    def reserved(self) -> int:
        """How much of what it counts is not final."""
        return sum(held.amount for held in self.held.values() if not held.kept) if self.open else 0

    def forget(self, now: float) -> None:
        """Drop what has left the sliding window."""
        while self.slots:
            first = next(iter(self.slots))
            slot = self.slots[first]
            if first <= now < slot.last + self.span_s:
                return
            self.used -= slot.amount
            del self.slots[first]

    @property
    def in_advance(self) -> int:
        """How much of that processes have reserved in advance: most of it is not used yet."""
        if not self.open:
            return 0
        held = self.held.items()
        return sum(h.amount for id, h in held if not h.kept and id.endswith(IN_ADVANCE))

    def fits(self, claim: Claim) -> bool:
        """Return whether a claim fits on top of what is used."""
        if self.used + claim.amount <= claim.limit:
            return True
        return claim.overdraw and self.used < claim.limit and not self.open

    def add(self, amount: int, now: float) -> float:
        """Count an amount; return the time of the slot that has it."""
        self.used += amount
        if not self.span_s:
            return 0.0
        newest = next(reversed(self.slots), None)
        if newest is None or now - newest >= self.span_s / SLOTS:
            newest = now
            self.slots[now] = Slot(now)
        slot = self.slots[newest]
        slot.last = now
        slot.amount += amount
        return newest

    def hold(self, id: str, claim: Claim, owner: str, now: float) -> None:
        """Reserve."""
        slot = self.add(claim.amount, now)
        self.held[id] = Held(slot, claim.amount, claim.kept, owner)
        self.open += not claim.kept

    def end(self, id: str, amount: int | None, now: float) -> bool:
        """Replace what a request has reserved by an amount; `None` leaves it.

        Returns:
            whether it had reserved something.
        """
        held = self.held.pop(id, None)
        if held is None:
            return False
        self.open -= not held.kept
        if amount is None:
            return True
        if self.span_s:
            self.forget(now)
            slot = self.slots.get(held.slot)
            if slot is None:
                return True
            slot.amount += amount - held.amount
        self.used += amount - held.amount
        return True

    def bury(self, alive: Container[str], now: float) -> None:
        """End the reservations of processes that are gone.

        What they reserved of a rate or budget stays counted, because it was probably used. Their
        records stay, so that a process that was only paused can still settle.
        """
        for id, held in list(self.held.items()):
            if held.kept or held.owner in alive:
                continue
            if self.span_s or self.ends:
                held.kept = True
                self.open -= 1
            else:
                self.end(id, 0, now)

    def wait_s(self, claim: Claim, now: float, wall: float) -> float:
        """Return the seconds until a claim may fit; `inf` if not before a request ends."""
        if self.ends:
            if self.open and self.used - self.reserved < claim.limit:
                return HELD_WAIT_S  # requests that run now may cost less than they have reserved
            return max(self.ends - wall, 0.001)
        if not self.span_s:
            return math.inf
        over, leaves_at = self.used - claim.limit, now
        over += 1 if claim.overdraw else claim.amount
        for slot in self.slots.values():
            over -= slot.amount
            leaves_at = slot.last
            if over <= 0:
                break
        return leaves_at + self.span_s - now


def reserve_all(
    id: str,
    claims: Sequence[Claim],
    counters: Sequence[Counter],
    now: float,
    wall: float,
    owner: str = "",
    alive: Container[str] | None = None,
) -> tuple[int | None, float]:
    """Reserve all claims of a request, or none.

    Args:
        id: the request.
        claims: what it needs.
        counters: the counter of each.
        now: the time on the monotonic clock.
        wall: the time in seconds since the epoch.
        owner: the process that reserves.
        alive: the processes that are alive; `None` if there is only this one.

    Returns:
        the claim with the longest wait of those that do not fit, by its place, or `None` if all are
        reserved; and that wait in seconds.
    """
    refused, longest = None, -1.0
    for index, (claim, counter) in enumerate(zip(claims, counters, strict=True)):
        if id in counter.held:
            return None, 0.0
        if counter.slots:
            counter.forget(now)
        if counter.used + claim.amount <= claim.limit:
            continue
        if alive is not None:
            counter.bury(alive, now)
        if counter.fits(claim):
            continue
        wait = counter.wait_s(claim, now, wall)
        if wait > longest:
            refused, longest = index, wait
    if refused is None:
        for claim, counter in zip(claims, counters, strict=True):
            counter.hold(id, claim, owner, now)
    return refused, longest
