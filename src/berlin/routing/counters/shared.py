"""Counters that processes share, with those of this process behind them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
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
    settled_amounts,
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
        self._local = local or MemoryCounters(wall=remote.now)
        self._refuses = on_failure == "refuse"
        self._only_lasting = only_lasting
        self._given_owner = owner
        self._owners = 1
        self._inside = 0
        self._owed: dict[str, Owed] = {}
        self._keeping: asyncio.Task[None] | None = None

    @property
    def _owner(self) -> str:
        return self._given_owner or process.name

    def now(self) -> float:
        """Return the time of the shared counters."""
        return self._remote.now()

    async def reserve(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        """Reserve what a request may cost; see `Counters`."""
        shared = self._shared(claims)
        if not shared:
            return self._local.try_reserve(id, claims)
        reply = await self._reserve(id, claims, shared)
        for pause_s in LOOK_AGAIN_S:
            if self._only_lasting or self._remote.rests or not _may_settle(reply):
                break
            await asyncio.sleep(pause_s)
            reply = await self._reserve(id, claims, shared)
        return reply

    async def _reserve(
        self, id: str, claims: Sequence[Claim], shared: Sequence[Claim]
    ) -> Reservation | Refusal:
        if self._remote.rests:
            return self._reserve_alone(id, claims)
        mine = self._local.try_reserve(id, claims)
        if isinstance(mine, Refusal):
            return mine
        try:
            reply = await self._remote.reserve(id, self._owner, shared)
        except BaseException:  # cancelled: it may have been reserved
            self._give_up(id, mine)
            raise
        if reply is None:
            self._give_up(id, mine)
            return self._reserve_alone(id, claims)
        self._owners = reply.owners
        if reply.refused is not None:
            self._local.undo(mine)
            at = reply.refused
            return Refusal(shared[at], reply.used[at], reply.wait_s, reply.held)
        self._inside += 1
        self._keep_up()
        used = reply.used
        if len(used) < len(claims):
            known = iter(used)
            every = zip(claims, mine.used, strict=True)
            used = tuple([next(known) if claim in shared else alone for claim, alone in every])
        return Reservation(id, mine.claims, used, reply.at)

    def settle(
        self, reserved: Reservation, costs: Mapping[str, int]
    ) -> asyncio.Future[None] | None:
        """Replace reserved amounts by costs; see `Counters`."""
        return self._end(reserved, settled_amounts(reserved.claims, costs))

    def undo(self, reserved: Reservation) -> None:
        """Take everything back; see `Counters`."""
        self._end(reserved, [0] * len(reserved.claims))

    async def aclose(self) -> None:
        """Report to the shared counters what is still owed, in bounded time."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None and keeping.get_loop() is asyncio.get_running_loop():
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        await self._remote.aclose()

    def _shared(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        return list(filter(_lasts, claims)) if self._only_lasting else claims

    def _reserve_alone(self, id: str, claims: Sequence[Claim]) -> Reservation | Refusal:
        if self._refuses:
            raise LimitReachedError(
                "the shared limits cannot be checked at present; nothing was sent", retry_after=2.0
            )
        share = [
            msgspec.structs.replace(claim, limit=max(claim.limit // self._owners, 1))
            for claim in claims
        ]
        return self._local.try_reserve(id, share)

    def _give_up(self, id: str, mine: Reservation) -> None:
        """Take back what may have been reserved: no answer came."""
        self._local.undo(mine)
        claims = tuple(self._shared(mine.claims))
        self._owe(id, Owed(claims, (0,) * len(claims), self.now(), "maybe"))
        self._keep_up()

    def _end(
        self, reserved: Reservation, amounts: Sequence[int | None]
    ) -> asyncio.Future[None] | None:
        self._local.end(reserved, amounts)
        id, claims, at = reserved.id, reserved.claims, reserved.shared_at
        if self._only_lasting:
            amounts = [a for c, a in zip(claims, amounts, strict=True) if _lasts(c)]
            claims = tuple(filter(_lasts, claims))
        if not claims:
            return None
        if at is None:
            self._owe(id, _counted_alone(claims, amounts, self.now()))
            self._keep_up()
            return None
        self._inside -= 1
        # What one process counts it sees itself.
        awaited = not self._only_lasting and _makes_a_difference(reserved, amounts)
        self._owe(id, Owed(claims, tuple(amounts), at, awaited=awaited))
        return self._pay(id)

    def _owe(self, id: str, owed: Owed) -> None:
        if len(self._owed) < MAX_OWED:
            self._owed[id] = owed

    def _pay(self, id: str) -> asyncio.Future[None] | None:
        """Begin to report what a request has used; return what is done when that has ended."""
        owed = self._owed.pop(id, None)
        if owed is None:
            return None
        ended: asyncio.Future[None] | None = None
        if owed.awaited:
            with contextlib.suppress(RuntimeError):  # an answer was dropped after its loop
                ended = asyncio.get_running_loop().create_future()

        def done(paid: bool) -> None:
            if not paid:
                self._owe(id, msgspec.structs.replace(owed, awaited=False))
                self._keep_up()
            if ended is not None and not ended.done():  # or its client has left
                ended.set_result(None)

        self._remote.settle(id, owed, done)
        return ended

    def _keep_up(self) -> None:
        keeping = self._keeping
        if keeping is None or keeping.done() or keeping.get_loop().is_closed():
            with contextlib.suppress(RuntimeError):  # without a loop the next reservation does it
                self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        """Report what is owed, again until it is accepted, that this process is alive, and what
        shared counters have lost, for as long as it has anything to report.
        """
        beat_at, remembers = time.monotonic() + BEAT_S, True
        while self._inside or self._owed or remembers:
            await asyncio.sleep(PAY_AGAIN_S)
            remembers = await self._remote.report()
            if time.monotonic() >= beat_at:
                beat_at += BEAT_S
                if self._inside or self._owed:
                    await self._remote.beat(self._owner)
            if not self._remote.rests:
                for id in list(self._owed)[:PAID_TOGETHER]:
                    self._pay(id)


def _lasts(claim: Claim) -> bool:
    return isinstance(claim.window, Calendar)


def _may_settle(reply: Reservation | Refusal) -> bool:
    """Return whether a request did not fit only because of what others have reserved."""
    return (
        isinstance(reply, Refusal)
        and reply.claim.overdraw
        and 0 <= reply.used - reply.held < reply.claim.limit
    )


def _makes_a_difference(reserved: Reservation, amounts: Sequence[int | None]) -> bool:
    """Return whether the end of a request lets another one in, or keeps it out: it was running, or
    has cost more than it had reserved, and all that was left.
    """
    return any(
        isinstance(claim.window, Running)
        or (amount is not None and amount > claim.amount and used + amount >= claim.limit)
        for claim, used, amount in zip(reserved.claims, reserved.used, amounts, strict=True)
    )


def _counted_alone(claims: Sequence[Claim], amounts: Sequence[int | None], at: float) -> Owed:
    """Return the usage of a request that only this process has counted."""
    used = [
        claim.amount if amount is None else amount
        for claim, amount in zip(claims, amounts, strict=True)
    ]
    nothing = tuple(msgspec.structs.replace(claim, amount=0) for claim in claims)
    return Owed(nothing, tuple(used), at, "no")
