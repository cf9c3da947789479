"""The contract of counters: a request reserves what it may cost, and is settled at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from berlin.routing.counters.calendar import bounds

if TYPE_CHECKING:
    from berlin.routing.counters.counter import Counter

OWNER_EXPIRES_S = 30.0
"""An owner, a process that reserves, is gone when nothing was heard of it for this long."""

BEAT_S = 10.0
"""The interval at which an owner with running requests reports that it is alive."""

SLOTS = 600
"""Amounts of a sliding window are kept in this many slots, so that memory is bounded. A slot
counts until its newest amount leaves the window: at most a six-hundredth of the span too long,
never too short."""


HELD_WAIT_S = 2.0
"""When to look again if the rest of a budget is reserved by requests that run at present."""


class Running(msgspec.Struct, frozen=True):
    """Counts what runs at present."""


class Sliding(msgspec.Struct, frozen=True):
    """Counts what was reserved in the last `span_s` seconds."""

    span_s: float


class Calendar(msgspec.Struct, frozen=True):
    """Counts what was reserved since midnight, or since the first day of the month.

    Attributes:
        unit: `day` or `month`.
        zone: the name of the time zone.
    """

    unit: Literal["day", "month"]
    zone: str = "UTC"

    def bounds(self, now: float) -> tuple[float, float]:
        """Return the beginning and the end of the period, in seconds since the epoch."""
        # A period begins at a full minute everywhere, so a minute of requests calculates it once.
        return bounds(self.unit, self.zone, int(now // 60))


Window: TypeAlias = Running | Sliding | Calendar

RUNNING = Running()

Before: TypeAlias = Callable[[float], Awaitable[int]]


class Claim(msgspec.Struct, frozen=True):
    """The amount that a request needs of one counter.

    Attributes:
        counter: the counter's name.
        window: what it counts.
        limit: the most that it may count.
        amount: what is reserved.
        kept: whether the amount is final: it counts even if the process is killed.
        overdraw: whether a request that needs more than is left may have it, as long as something
            is left and no other request holds a reservation.
        before: returns what a shared counter of a day or month begins with; called, with the
            beginning of its period, if it is missing.
    """

    counter: str
    window: Window
    limit: int
    amount: int = 1
    kept: bool = False
    overdraw: bool = False
    before: Before | None = None


class Reservation(msgspec.Struct, frozen=True):
    """The amounts that a request has reserved.

    Attributes:
        id: the request.
        claims: what was reserved.
        used: what each counter holds now, this request included.
        counters: the counters of this process that have it.
        shared: those claims that other processes are to see.
        shared_at: when it was reserved where other processes see it, by the time there; `None` if
            it was not.
    """

    id: str
    claims: Sequence[Claim]
    used: tuple[int, ...]
    counters: Sequence[Counter]
    shared: Sequence[Claim] = ()
    shared_at: float | None = None


class Refusal(msgspec.Struct, frozen=True):
    """Why nothing was reserved.

    Attributes:
        claim: the claim whose limit is reached; of several, the one with the longest wait.
        used: what its counter holds.
        wait_s: seconds until it is worth trying again; `inf`: not before a request ends.
        held: how much of `used` is reserved by requests that are running, and may cost less.
    """

    claim: Claim
    used: int
    wait_s: float
    held: int = 0


class Counters(Protocol):
    """Counts what concurrent requests reserve.

    A reservation is all or nothing, and each call is idempotent by the id of its request.
    """

    def now(self) -> float:
        """Return the time by which periods begin and end, in seconds since the epoch."""
        ...

    async def reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Reserve what a request may cost.

        Raises:
            LimitReachedError: if the counts cannot be shared and nothing is allowed without.
        """
        ...

    def settle(
        self, reserved: Reservation, amounts: Sequence[int | None]
    ) -> asyncio.Future[None] | None:
        """Replace what was reserved by the final amount of each claim; `None` leaves it.

        The final amount of what counts running requests is 0, and so is each one if nothing was
        sent.

        Returns:
            what is done when other processes see it, in bounded time; `None` if they see it, if
            there are none, or if they will not for now.
        """
        ...

    async def aclose(self) -> None:
        """Close files and connections."""
        ...


def name_at(claim: Claim, wall: float) -> str:
    """Return the name of a claim's counter at a time: each day and month has its own."""
    window = claim.window
    if isinstance(window, Calendar):
        return _name_at(claim.counter, window, int(wall // 60))
    return claim.counter


@lru_cache(4096)
def _name_at(counter: str, window: Calendar, minute: int) -> str:
    return f"{counter}@{int(window.bounds(minute * 60)[0])}"
