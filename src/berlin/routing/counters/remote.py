"""The contract of counters that several processes share, and the claims as they are sent there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from berlin.routing.counters.contract import Claim

RETRY_RUNNING_S = 0.1
"""When to look again for a free place: that another process has left one is not announced."""


class Owed(msgspec.Struct, frozen=True):
    """The usage of a request that is still to be reported.

    Attributes:
        claims: what it had reserved.
        amounts: what it used of each; `None` leaves what was reserved.
        at: the time of the reservation.
        counted: whether it was reserved outside of this process; `maybe` if no answer came. If not,
            the amounts are added.
        seen: done when others see it, or will not for now; `None` if nobody waits for that.
    """

    claims: Sequence[Claim]
    amounts: Sequence[int | None]
    at: float
    counted: Literal["yes", "maybe", "no"] = "yes"
    seen: asyncio.Future[None] | None = None

    def end(self) -> None:
        """Let the end of the answer go on."""
        if self.seen is not None and not self.seen.done():  # or its client has left
            self.seen.set_result(None)


Owe: TypeAlias = Callable[[str, Owed], None]
"""Keeps the usage of a request until it can be reported."""


class RemoteReply(msgspec.Struct, frozen=True):
    """The answer to a reservation.

    Attributes:
        at: the time of the reservation, in seconds since the epoch; it identifies the periods.
        owners: how many processes were heard of lately.
        used: what each counter holds, with this request if it was reserved.
        refused: the index of the claim that does not fit, or `None`.
        wait_s: seconds until it may fit.
        held: how much of what its counter holds is reserved by requests that are running.
    """

    at: float
    owners: int
    used: tuple[int, ...]
    refused: int | None = None
    wait_s: float = 0.0
    held: int = 0


class Remote(Protocol):
    """Counters outside of this process. No call raises: what cannot be used says so."""

    @property
    def rests(self) -> bool:
        """Whether it failed a moment ago and is not used for now."""
        ...

    async def reserve(self, id: str, owner: str, claims: Sequence[Claim]) -> RemoteReply | None:
        """Reserve; `None` if it cannot be used. It may have reserved all the same."""
        ...

    def settle(self, id: str, owed: Owed, owe: Owe) -> None:
        """Begin to replace what a request has reserved; `owe` is called if that fails."""
        ...

    async def beat(self, owner: str) -> bool:
        """Report that a process is alive; return whether that is done."""
        ...

    async def report(self) -> bool:
        """Report what this process remembers, and the counters may lack.

        Returns whether it remembers anything that it would have to report later.
        """
        ...

    def now(self) -> float:
        """Return its time, as far as known, in seconds since the epoch."""
        ...

    async def aclose(self) -> None:
        """Close connections or files."""
        ...
