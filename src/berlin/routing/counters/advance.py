"""What a process reserves in advance, so that it asks the file once for many requests."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from berlin.routing.counters.contract import Claim, name_at
from berlin.routing.counters.counter import Counter
from berlin.routing.counters.file import CountersFile
from berlin.routing.counters.owner import process
from berlin.routing.counters.remote import Owed

SHARE = 64
"""An advance is at most this part of what is left of a limit, so that its last part is given out
request by request, and no process is refused what another one has only in advance."""

BUSY_WITHIN_S = 0.05
"""A counter that was written so lately gets an advance: more requests will probably come."""

VALID_S = 1.0
"""How long an advance may be used: much shorter than any window that it is counted in."""

MAX_KNOWN = 1_000


class _Advance(msgspec.Struct, eq=False):
    """What is reserved in advance of one counter.

    Attributes:
        name: the name of the counter.
        claim: the latest claim of a request.
        counter: the counter as it was written last.
        used: what it held then, with the advance.
        left: how much of the advance is left.
        until: when it becomes invalid, on the monotonic clock.
        taken: how much requests have reserved of it.
        spent: how much of that is final.
        asked: how much they have reserved without it.
        busy_until: until when another request is one of many.
    """

    name: str
    claim: Claim
    counter: Counter
    used: int = 0
    left: int = 0
    until: float = 0.0
    taken: int = 0
    spent: int = 0
    asked: int = 0
    busy_until: float = 0.0


class Advances:
    """What this process has reserved in advance of counters in a file.

    What requests take of it is only in memory, because it is reserved in the file already. The next
    transaction writes what they have taken or used, and reserves anew. If the process is killed
    before, the whole advance stays counted.

    Attributes:
        held: whether the file has an advance, or lacks what was taken of one.
    """

    def __init__(self) -> None:
        self.held = False
        self._advances: dict[str, _Advance] = {}
        self._changed: set[_Advance] = set()
        self._taken: dict[str, list[tuple[_Advance, Claim]]] = {}
        self._owner = ""
        # A process may count twice in one file, as two gateways of one program do.
        self._id = f"{process.reservation()} in advance"

    def take(self, id: str, claims: Sequence[Claim], now: float, wall: float) -> list[int] | None:
        """Reserve what a request may cost; return what the counters hold.

        It is `None` if the file has to be asked.
        """
        taken = []
        for claim in claims:
            advance = self._advances.get(name_at(claim, wall))
            if (
                advance is None
                or advance.left < claim.amount
                or advance.used > claim.limit
                or now >= advance.until
                or id in advance.counter.held
            ):
                return None
            taken.append((advance, claim))
        if id in self._taken:
            return None
        self._taken[id] = taken
        used = []
        for advance, claim in taken:
            advance.left -= claim.amount
            advance.taken += claim.amount
            used.append(advance.used - advance.left)
        return used

    def settle(self, id: str, owed: Owed) -> bool:
        """Replace what a request has taken; return `False` if the file has it."""
        taken = self._taken.pop(id, None)
        if taken is None:
            for claim, amount in zip(owed.claims, owed.amounts, strict=True):
                known = self._advances.get(name_at(claim, owed.at))
                # The file has it in a moment; what clients are shown has it now.
                if known is not None and amount is not None and id in known.counter.held:
                    known.used += amount - claim.amount
            return False
        for (advance, claim), amount in zip(taken, owed.amounts, strict=True):
            cost = claim.amount if amount is None else amount
            advance.left += claim.amount - cost
            advance.spent += cost
        return True

    def write(self, file: CountersFile, now: float) -> None:
        """Write what was taken or used of the advances, and give the rest back."""
        if not self.held:
            return
        file.beat(self._owner, now)
        there: dict[_Advance, Counter] = {}
        for advance in self._changed:
            counter = file.load(advance.name)
            # Or the file was replaced, and what was reserved in it is lost.
            if counter is not None and counter.end(self._id, 0, now):
                counter.add(advance.spent, now)
                file.save(advance.name, counter)
                there[advance] = counter
        for id, taken in self._taken.items():
            for advance, claim in taken:
                if advance in there:
                    there[advance].hold(id, claim, self._owner, now)

    def ask(self, owner: str, names: Sequence[str], claims: Sequence[Claim]) -> None:
        """Record what a request has reserved in the file."""
        self._owner = owner
        for name, claim in zip(names, claims, strict=True):
            advance = self._advances.get(name)
            if advance is None:
                advance = self._advances[name] = _Advance(name, claim, Counter())
            advance.claim = claim
            advance.asked += claim.amount
            self._changed.add(advance)

    def renew(self, file: CountersFile, now: float) -> None:
        """Reserve in advance of the counters that are in demand."""
        for advance in self._changed:
            claim, demand, size = advance.claim, advance.asked + advance.taken, 0
            # One of which nothing was taken is for requests with other limits that need the file.
            useless = advance.left and advance.asked and not advance.taken
            counter = file.load(advance.name)
            if counter is not None and now < advance.busy_until and not useless:
                counter.forget(now)
                size = max(2 * demand, advance.left)
                size = min(size, (claim.limit - counter.used) // SHARE)
                if size >= max(claim.amount, 1):
                    held = msgspec.structs.replace(claim, amount=size, kept=False)
                    counter.hold(self._id, held, self._owner, now)
                    file.save(advance.name, counter)
                    advance.counter, advance.used = counter, counter.used
                else:
                    size = 0
            advance.left, advance.until = size, now + VALID_S if size else 0.0
            if demand:
                advance.busy_until = now + BUSY_WITHIN_S

    def written(self, now: float) -> None:
        """Begin anew: all of it is in the file."""
        for advance in self._changed:
            advance.taken = advance.spent = advance.asked = 0
        self._changed = {advance for advance in self._changed if advance.left}
        self._taken.clear()
        self.held = bool(self._changed)
        if len(self._advances) > MAX_KNOWN:
            every = self._advances.items()
            self._advances = {name: a for name, a in every if a.left or now < a.busy_until}

    def close(self) -> None:
        """Reserve nothing in advance: the file has failed, or this process stops."""
        for advance in self._changed:
            advance.until = advance.busy_until = 0.0
