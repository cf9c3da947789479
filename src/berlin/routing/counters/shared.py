"""Counters that processes share, with those of this process behind them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from berlin.errors import LimitReachedError
from berlin.routing.counters.contract import (
    BEAT_S,
    Calendar,
    Claim,
    Refusal,
    Reservation,
    Running,
)
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.counters.owner import process
from berlin.routing.counters.remote import Owed, Remote

OnFailure: TypeAlias = Literal["divide", "refuse"]

MAX_OWED = 10_000
PAID_TOGETHER = 1_000
PAY_AGAIN_S = 1.0
"""The interval at which unreported usage is sent again; it is lost if this process is killed."""

LOOK_AGAIN_S = (0.025, 0.075)
"""How long a request that does not fit waits for the settlements of others, in seconds: a request
that has just ended in another process may have cost less than it had reserved."""


class SharedCounters:
    """Counts together with other processes.

    While the shared counters cannot be used, each process gets its share: the limit divided by the
    number of processes last seen; or nothing is reserved, if so configured. This process counts
    too, so it alone never exceeds a limit, even if the shared counters lose their data. What was
    used meanwhile is reported when they work again.

    Args:
        remote: the shared counters.
        local: those of this process.
        on_failure: `divide` or `refuse`.
        only_lasting: whether only days and months are shared, which outlive this process; it counts
            the rest alone.
        owner: identifies this process; by default a name of its own, also in a fork.

    Attributes:
        now: returns the time of the shared counters.
    """

    def __init__(
        self,
        remote: Remote,
        local: MemoryCounters | None = None,
        *,
        on_failure: OnFailure = "divide",
        only_lasting: bool = False,
        owner: str | None = None,
    ) -> None:
        self._remote = remote
        self.now = remote.now
        self._local = local or MemoryCounters(wall=remote.now)
        self._refuses = on_failure == "refuse"
        self._only_lasting = only_lasting
        self._given_owner = owner
        self._owners = 1
        self._inside = 0
        self._owed: dict[str, Owed] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._beat_at = 0.0

    @property
    def _owner(self) -> str:
        return self._given_owner or process.name

    async def reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Reserve what a request may cost; see `Counters`."""
        shared: Sequence[Claim] = claims
        if self._only_lasting:
            shared = [claim for claim in claims if type(claim.window) is Calendar]
        if not shared:
            return self._local.try_reserve(id, claims)
        reply = await self._reserve(id, claims, shared)
        if self._only_lasting:
            return reply
        for pause_s in LOOK_AGAIN_S:
            if not isinstance(reply, Refusal) or self._remote.rests or not _may_settle(reply):
                break
            await asyncio.sleep(pause_s)
            reply = await self._reserve(id, claims, shared)
        return reply

    async def _reserve(
        self, id: str, claims: Sequence[Claim], shared: Sequence[Claim]
    ) -> Reservation | Refusal:
        if self._remote.rests:
            return self._reserve_alone(id, claims, shared)
        mine = self._local.try_reserve(id, claims)
        if isinstance(mine, Refusal):
            return mine
        try:
            reply = await self._remote.reserve(id, self._owner, shared)
        except BaseException:  # cancelled: it may have been reserved
            self._give_up(mine, shared)
            raise
        if reply is None:
            self._give_up(mine, shared)
            return self._reserve_alone(id, claims, shared)
        self._owners, used = reply.owners, reply.used
        if reply.refused is not None:
            self._local.settle(mine, [0] * len(claims))
            at = reply.refused
            return Refusal(shared[at], used[at], reply.wait_s, reply.held)
        self._inside += 1
        if self._timer is None or self._loop is not asyncio.get_running_loop():
            self._keep_up()
        if len(used) < len(claims):
            known = iter(used)
            every = zip(claims, mine.used, strict=True)
            used = tuple([next(known) if claim in shared else alone for claim, alone in every])
        return Reservation(id, claims, used, mine.counters, shared, reply.at)

    def settle(
        self, reserved: Reservation, amounts: Sequence[int | None]
    ) -> asyncio.Future[None] | None:
        """Replace reserved amounts by final ones; see `Counters`."""
        self._local.settle(reserved, amounts)
        shared, at = reserved.shared, reserved.shared_at
        if len(shared) < len(amounts):
            every = zip(reserved.claims, amounts, strict=True)
            amounts = [amount for claim, amount in every if type(claim.window) is Calendar]
        seen: asyncio.Future[None] | None = None
        if at is not None:
            self._inside -= 1
            # What one process counts it sees itself.
            if not self._only_lasting and _makes_a_difference(reserved, amounts):
                with contextlib.suppress(RuntimeError):  # an answer was dropped after its loop
                    seen = asyncio.get_running_loop().create_future()
            self._remote.settle(reserved.id, Owed(shared, amounts, at, seen=seen), self._owe)
        elif shared:
            self._owe(reserved.id, _counted_alone(shared, amounts, self.now()))
        return seen

    async def aclose(self) -> None:
        """Report to the shared counters what is still owed, in bounded time."""
        self._stop_timer()
        keeping = self._keeping
        if keeping is not None and keeping.get_loop() is asyncio.get_running_loop():
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        self._pay(MAX_OWED)
        await self._remote.aclose()
        self._owed.clear()  # it failed again, and there is no later attempt
        self._stop_timer()

    def _reserve_alone(
        self, id: str, claims: Sequence[Claim], shared: Sequence[Claim]
    ) -> Reservation | Refusal:
        if self._refuses:
            raise LimitReachedError(
                "the shared limits cannot be checked at present; nothing was sent", retry_after=2.0
            )
        share = [
            msgspec.structs.replace(claim, limit=max(claim.limit // self._owners, 1))
            for claim in claims
        ]
        mine = self._local.try_reserve(id, share)
        if isinstance(mine, Refusal):
            return mine
        return msgspec.structs.replace(mine, shared=shared)

    def _give_up(self, mine: Reservation, shared: Sequence[Claim]) -> None:
        """Take back what may have been reserved: no answer came."""
        self._local.settle(mine, [0] * len(mine.claims))
        self._owe(mine.id, Owed(shared, [0] * len(shared), self.now(), "maybe"))

    def _owe(self, id: str, owed: Owed) -> None:
        if len(self._owed) < MAX_OWED:
            self._owed[id] = owed
        self._keep_up()

    def _pay(self, most: int) -> None:
        """Report what is owed."""
        for id in list(self._owed)[:most]:
            self._remote.settle(id, self._owed.pop(id), self._owe)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _keep_up(self) -> None:
        """Report in a moment what is owed, and that this process is alive.

        A timer begins that, because a loop that ends drops it. It would destroy a task that a
        cancelled request had begun, with a warning.
        """
        with contextlib.suppress(RuntimeError):  # without a loop the next reservation does it
            loop = asyncio.get_running_loop()
            if self._timer is None or self._loop is not loop:
                self._loop = loop
                self._timer = loop.call_later(PAY_AGAIN_S, self._begin_to_keep)

    def _begin_to_keep(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        """Report what is owed, that this process is alive, and what shared counters have lost.

        Do so again later, as long as there is anything to report.
        """
        try:
            remembers = await self._remote.report()
            if time.monotonic() >= self._beat_at and (self._inside or self._owed):
                self._beat_at = time.monotonic() + BEAT_S
                await self._remote.beat(self._owner)
            if not self._remote.rests:
                self._pay(PAID_TOGETHER)
        finally:
            self._timer = None
        if self._inside or self._owed or remembers:
            self._keep_up()


def _may_settle(refusal: Refusal) -> bool:
    """Return whether a request did not fit only because of what others have reserved, also in
    advance. That a place among those that run is free is not waited for here.
    """
    claim, needed = refusal.claim, 1 if refusal.claim.overdraw else refusal.claim.amount
    if isinstance(claim.window, Running):
        return False
    return 0 <= refusal.used - refusal.held <= claim.limit - needed


def _makes_a_difference(reserved: Reservation, amounts: Sequence[int | None]) -> bool:
    """Return whether the end of a request lets another one in, or keeps it out: it was running, or
    has cost more than it had reserved, and all that was left.
    """
    for claim, used, amount in zip(reserved.claims, reserved.used, amounts, strict=True):
        if isinstance(claim.window, Running):
            return True
        if amount is not None and amount > claim.amount and used + amount >= claim.limit:
            return True
    return False


def _counted_alone(claims: Sequence[Claim], amounts: Sequence[int | None], at: float) -> Owed:
    """Return the usage of a request that only this process has counted."""
    used = [
        claim.amount if amount is None else amount
        for claim, amount in zip(claims, amounts, strict=True)
    ]
    nothing = [msgspec.structs.replace(claim, amount=0) for claim in claims]
    return Owed(nothing, used, at, "no")
