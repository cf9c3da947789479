"""Counters as a state machine on a virtual clock: memory and file agree with a list of requests."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from berlin.routing.counters.contract import (
    RUNNING,
    Calendar,
    Claim,
    Refusal,
    Reservation,
    Sliding,
)
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.counters.remote import Owed
from berlin.routing.counters.sqlite import SqliteCounters
from fleet.checks import Evidence, check
from fleet.service import Seen

WINDOWS = (Sliding(60.0), RUNNING, Calendar("day", "Europe/Berlin"))
LIMITS = (10, 3, 20)
SPANS = (60.0, float("inf"), 86_400.0)


class Entry:
    """One request of the list that everything is compared with."""

    def __init__(self, at: float, reserved: Reservation) -> None:
        self.at = at
        self.reserved = reserved
        self.amounts = [claim.amount for claim in reserved.claims]
        self.open = True


class Machine(RuleBasedStateMachine):
    """Three counters that each request claims together."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.time = 0.0
        self.memory = MemoryCounters(self.clock, self.wall)
        self.file = SqliteCounters(Path(self.folder.name) / "c", self.clock, self.wall)
        self.entries: dict[str, Entry] = {}

    def clock(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_795_000_000.0 + self.time

    def teardown(self) -> None:
        self.loop.run_until_complete(self.file.aclose())
        self.loop.close()
        self.folder.cleanup()

    def claims(self, amount: int) -> list[Claim]:
        amounts = (amount, 1, amount)
        return [
            Claim(f"c{n}", window, LIMITS[n], amounts[n], overdraw=n == 2)
            for n, window in enumerate(WINDOWS)
        ]

    def used(self) -> list[int]:
        day = Calendar("day", "Europe/Berlin").bounds(self.wall())[0] - self.wall() + self.time
        since = (self.time - 60.0, float("-inf"), day)
        totals = []
        for n in range(3):
            live = [
                e for e in self.entries.values() if e.at > since[n] or (n == 2 and e.at >= since[n])
            ]
            totals.append(sum(e.amounts[n] for e in live))
        return totals

    def settle(self, id: str, owed: Owed) -> bool:
        """Settle in the file, in the transaction of whatever comes next."""

        failed: list[str] = []

        async def both() -> None:
            self.file.settle(id, owed, lambda id, _: failed.append(id))
            await self.file.beat("me")

        self.loop.run_until_complete(both())
        return not failed

    @rule(amount=st.integers(1, 12), name=st.integers(0, 12))
    def reserve(self, amount: int, name: int) -> None:
        """Both answer alike, and as the list says; a limit is never passed."""
        id = f"r{name}"
        if id in self.entries and not self.entries[id].open:
            return
        claims = self.claims(amount)
        mine = self.memory.try_reserve(id, claims)
        told = self.loop.run_until_complete(self.file.reserve(id, "me", claims))
        assert told is not None
        if id in self.entries:
            return  # the same request again: nothing may change, see the invariant
        used = self.used()
        held = any(
            e.open and e.at >= self.time - 86_400 and self.same_day(e)
            for e in self.entries.values()
        )
        fits = [used[n] + claims[n].amount <= LIMITS[n] for n in range(3)]
        fits[2] = fits[2] or (used[2] < LIMITS[2] and not held)
        assert isinstance(mine, Reservation) == all(fits)
        assert (told.refused is None) == all(fits)
        if isinstance(mine, Refusal):
            assert mine.wait_s > 0
            assert told.wait_s > 0
        else:
            self.entries[id] = Entry(self.time, mine)

    def same_day(self, entry: Entry) -> bool:
        begins, _ = Calendar("day", "Europe/Berlin").bounds(self.wall())
        return 1_795_000_000.0 + entry.at >= begins

    @rule(name=st.integers(0, 12), cost=st.integers(0, 30), undo=st.booleans())
    def end(self, name: int, cost: int, undo: bool) -> None:
        """A cost takes the place of the reservation, once."""
        entry = self.entries.get(f"r{name}")
        if entry is None:
            return
        amounts = [0, 0, 0] if undo else [cost, 0, cost]
        claims = tuple(self.claims(1))
        at = 1_795_000_000.0 + entry.at
        self.memory.settle(entry.reserved, amounts)
        assert self.settle(f"r{name}", Owed(claims, tuple(amounts), at))
        if entry.open:
            entry.open, entry.amounts = False, amounts

    @rule(seconds=st.sampled_from([0.5, 7.0, 29.0, 61.0, 40_000.0]))
    def wait(self, seconds: float) -> None:
        """Time passes; the process is alive."""
        self.time += seconds
        assert self.loop.run_until_complete(self.file.beat("me"))

    @invariant()
    def both_count_alike(self) -> None:
        """What a request of no amount is told is what the list adds up to."""
        claims = [Claim(f"c{n}", window, 10**9, 0) for n, window in enumerate(WINDOWS)]
        mine = self.memory.try_reserve("look", claims)
        told = self.loop.run_until_complete(self.file.reserve("look", "me", claims))
        assert isinstance(mine, Reservation)
        assert told is not None
        assert list(mine.used) == list(told.used) == self.used()
        self.memory.settle(mine, [0, 0, 0])
        self.settle("look", Owed(tuple(claims), (0, 0, 0), self.wall()))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0, 30), st.floats(0, 30)), min_size=1, max_size=60
    )
)
def test_a_rate_is_exact_whatever_the_ways_take(steps: list[tuple[float, float, float]]) -> None:
    """No window has more admissions than the limit, and the comparison of `make fleet` says so,
    however long requests are on the way to the gateway and to the service; with a lower limit it
    finds those windows that were seen whole."""
    now = 0.0
    counters = MemoryCounters(lambda: now)
    claim = Claim("k", Sliding(60.0), 3, kept=True)
    admitted, seen = [], []
    for number, (gap, before, after) in enumerate(steps):
        now += gap
        if isinstance(counters.try_reserve(str(number), [claim]), Reservation):
            admitted.append(now)
            seen.append(Seen(str(number), "k", now - before, now + after, 1))
    assert all(sum(at <= other < at + 60 for other in admitted) <= 3 for at in admitted)
    [rate] = [one for one in check(Evidence(seen=seen, rates={"k": 3})) if "admitted" in one.name]
    assert rate.holds
    exact = [Seen(one.id, "k", at, at, 1) for one, at in zip(seen, admitted, strict=True)]
    most = max(sum(at <= other < at + 60 for other in admitted) for at in admitted)
    found = check(Evidence(seen=exact, rates={"k": most - 1}))
    assert not next(one for one in found if "admitted" in one.name).holds


Machine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestCounters = Machine.TestCase
