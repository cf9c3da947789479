"""The contract of counters that several processes share, and the claims as they are sent there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from berlin.routing.counters.contract import SLOTS, Calendar, Claim, Sliding

RETRY_RUNNING_S = 0.1
"""When to look again for a free place: that another process has left one is not announced."""

HELD_WAIT_S = 2.0
"""When to look again if the rest of a budget is reserved by requests that run at present."""


Counted: TypeAlias = Literal["yes", "maybe", "no"]
"""Whether an amount was reserved outside of this process; `maybe` if no answer came."""


class RemoteReply(msgspec.Struct, frozen=True):
    """The answer to a reservation.

    Attributes:
        at: the time of the reservation, in seconds since the epoch; it identifies the periods.
        owners: how many processes were heard of lately.
        used: what each counter holds, with this request if it was reserved.
        refused: the index of the claim that does not fit, or `None`.
        wait_s: seconds until it may fit.
    """

    at: float
    owners: int
    used: tuple[int, ...]
    refused: int | None = None
    wait_s: float = 0.0


class Remote(Protocol):
    """Counters outside of this process. No call raises: what cannot be used says so."""

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago and is not used for now."""
        ...

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; `None` if it cannot be used. It may have reserved all the same."""
        ...

    async def settle(
        self,
        id: str,
        claims: Sequence[Claim],
        amounts: Sequence[int | None],
        at: float,
        counted: Counted = "yes",
    ) -> bool:
        """Replace what was reserved at a time; return whether that is done.

        Args:
            id: the request.
            claims: what it had reserved.
            amounts: what it used of each; `None` leaves what was reserved.
            at: the time of the reservation.
            counted: whether the reservation was made there. If not, the amounts are added.
        """
        ...

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; return whether that is done."""
        ...

    def now(self) -> float:
        """Return its time, as far as known, in seconds since the epoch."""
        ...

    async def aclose(self) -> None:
        """Close connections or files."""
        ...


class Shape(msgspec.Struct, frozen=True):
    """The numbers of a window: all 0 for what runs.

    Attributes:
        span_s: how long a slot counts; 0 if there are no slots.
        width_s: how long a slot takes amounts.
        begins: when the period began.
        ends: when it ends.
    """

    span_s: float = 0.0
    width_s: float = 0.0
    begins: float = 0.0
    ends: float = 0.0

    @classmethod
    def of(cls, claim: Claim, now: float) -> Shape:
        """Return the numbers of a claim's window at a time in seconds since the epoch."""
        match claim.window:
            case Sliding(span_s):
                return cls(span_s=span_s, width_s=span_s / SLOTS)
            case Calendar() as period:
                begins, ends = period.bounds(now)
                return cls(begins=begins, ends=ends)
            case _:
                return cls()

    def holds(self, now: float) -> bool:
        """Return whether a time belongs to the period, if it is one."""
        return not self.ends or self.begins <= now < self.ends

    def name(self, counter: str) -> str:
        """Return the counter's name in its period."""
        return f"{counter}@{self.begins:.0f}" if self.ends else counter
