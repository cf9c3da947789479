"""Routing under generated days: a virtual clock, no sockets, and what must always hold."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError
from berlin.providers.contract import Provider
from berlin.routing.balance import Balance
from berlin.routing.base.circuit import Circuit, Permit
from berlin.routing.breaker import Breaker
from berlin.routing.counters.contract import Reservation
from berlin.routing.fallback import Fallback
from berlin.routing.hedge import Hedge
from berlin.routing.limit import Limit
from berlin.routing.model import Model
from berlin.routing.pool import Pool
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, Finished, Started, TextDelta, Timeouts
from support.simulated import PIECES, Phase, Seen, SimulatedService
from support.virtual_time import run

KINDS = ("good", "down", "busy", "refused", "reset", "silent", "cut", "stall", "malformed", "long")


class Wanted(NamedTuple):
    """One request of a scenario."""

    at: float
    total_s: float
    whole: bool
    session: str
    leaves_after_s: float | None


class Scenario(NamedTuple):
    """A day: services with their schedules, how they are put together, and who asks when."""

    phases: tuple[tuple[Phase, ...], ...]
    prefills: tuple[bool | None, ...]
    wrapper: str
    after_text: str
    concurrent: int
    per_minute: int
    requests: tuple[Wanted, ...]
    seed: int


@dataclass
class Outcome:
    """What came of one request."""

    text: str = ""
    finished: int = 0
    error: str = ""
    left: bool = False
    seconds: float = 0.0
    started: list[Started] = field(default_factory=list)


class CountedCircuit(Circuit):
    """A circuit that counts the probes that are out."""

    probes = most_probes = 0

    async def admit(self) -> Permit:
        permit = await super().admit()
        self.probes += permit.probe
        self.most_probes = max(self.most_probes, self.probes)
        return permit

    def succeed(self, permit: Permit) -> None:
        self.probes -= permit.probe
        super().succeed(permit)

    def fail(self, permit: Permit) -> None:
        self.probes -= permit.probe
        super().fail(permit)

    def release(self, permit: Permit) -> None:
        self.probes -= permit.probe
        super().release(permit)


phases = st.lists(
    st.builds(
        Phase,
        st.floats(1, 120),
        st.sampled_from(KINDS),
        st.sampled_from([0.01, 0.1, 1.0, 4.0, 20.0]),
        st.sampled_from([0.01, 0.1, 3.0]),
    ),
    max_size=3,
).map(lambda each: tuple(sorted(each)))

scenarios = st.builds(
    Scenario,
    st.tuples(phases, phases, phases),
    st.tuples(*[st.sampled_from([None, True, False])] * 3),
    st.sampled_from(["fallback", "balance", "hedge", "pool", "retry"]),
    st.sampled_from(["error", "continue", "hold"]),
    st.integers(1, 4),
    st.integers(2, 30),
    st.lists(
        st.builds(
            Wanted,
            st.floats(0, 90),
            st.sampled_from([2.0, 10.0, 60.0]),
            st.booleans(),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from([None, None, None, 0.5, 5.0]),
        ),
        min_size=1,
        max_size=14,
    ).map(tuple),
    st.integers(0, 2**16),
)


class Day:
    """A scenario as it is played."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        clock = self.clock = asyncio.get_running_loop().time
        chance = random.Random(scenario.seed).random
        self.services = [
            SimulatedService(f"s{n}", phases, Timeouts(5, 10, 5, 60), scenario.prefills[n])
            for n, phases in enumerate(scenario.phases)
        ]
        self.circuits = [CountedCircuit(clock, 3, 10.0) for _ in self.services]
        self.limits: list[Limit] = []
        leaves = [self._leaf(service, chance) for service in self.services]
        self.provider = self._wrap(leaves, chance, clock)
        self.outcomes: list[Outcome] = []

    def _leaf(self, service: SimulatedService, chance: Callable[[], float]) -> Provider:
        n, clock, scenario = self.services.index(service), self.clock, self.scenario
        model = Model(service, service.name, prefill=service.prefills)
        breaker = Breaker(model, circuit=self.circuits[n], clock=clock)
        limit = Limit(
            breaker,
            concurrent=scenario.concurrent,
            requests_per_minute=scenario.per_minute,
            wait_s=5.0,
            clock=clock,
        )
        self.limits.append(limit)
        return Retry(limit, attempts=2, jitter=chance, clock=clock)

    def _wrap(
        self, leaves: list[Provider], chance: Callable[[], float], clock: Callable[[], float]
    ) -> Provider:
        after_text = self.scenario.after_text
        match self.scenario.wrapper:
            case "fallback":
                return Fallback(*leaves, break_after_text=after_text, clock=clock)
            case "balance":
                return Balance(*leaves, chance=chance, clock=clock, break_after_text=after_text)
            case "hedge":
                return Hedge(leaves[0], leaves[1], after_s=1.0, budget_percent=50, clock=clock)
            case "pool":
                accounts = {f"s{n}": leaf for n, leaf in enumerate(leaves)}
                return Pool(accounts, chance=chance, clock=clock)
        return leaves[0]

    async def ask(self, n: int, wanted: Wanted) -> Outcome:
        """Ask once, as one caller does."""
        outcome = Outcome()
        await asyncio.sleep(wanted.at)
        began_at = self.clock()
        request = msgspec.structs.replace(
            ChatRequest.of("Hello", timeout=Timeouts(5, 10, 5, wanted.total_s)),
            request_id=f"r{n}",
            session_id=wanted.session,
            whole=wanted.whole,
        )
        try:
            async with asyncio.timeout(wanted.leaves_after_s):
                async with aclosing(self.provider.bursts(request)) as bursts:
                    async for burst in bursts:
                        for event in burst:
                            outcome.finished += isinstance(event, Finished)
                            if isinstance(event, TextDelta):
                                outcome.text += event.text
                            elif isinstance(event, Started):
                                outcome.started.append(event)
        except BerlinError as error:
            outcome.error = error.code
        except TimeoutError:
            outcome.left = True
        outcome.seconds = self.clock() - began_at
        return outcome

    @property
    def seen(self) -> list[Seen]:
        """All that the services saw, in order."""
        return sorted(one for service in self.services for one in service.seen)


async def play(scenario: Scenario) -> Day:
    """Play a day to its end."""
    day = Day(scenario)
    tasks = [asyncio.ensure_future(day.ask(n, w)) for n, w in enumerate(scenario.requests)]
    day.outcomes = await asyncio.gather(*tasks)
    # When all is over and out of its windows, each place is free again.
    await asyncio.sleep(61)
    for limit in day.limits:
        assert limit.limits.waiting == 0
        places = min(scenario.concurrent, scenario.per_minute)
        taken = [await limit.limits.take(0) for _ in range(places)]
        assert all(isinstance(each, Reservation) for each in taken)
    return day


def check(day: Day) -> None:
    """Check what must hold on every day."""
    scenario = day.scenario
    for n, (wanted, outcome) in enumerate(zip(scenario.requests, day.outcomes, strict=True)):
        # None is lost, and none is answered twice.
        assert (outcome.finished == 1) + bool(outcome.error) + outcome.left == 1, outcome
        pieces = outcome.text.split()
        assert pieces == [f"r{n}.{k}" for k in range(len(pieces))]
        if outcome.finished:
            assert len(pieces) == PIECES
            assert outcome.started
        elif wanted.whole or (scenario.after_text == "hold" and scenario.wrapper == "fallback"):
            assert not pieces
        # Every deadline is kept.
        assert outcome.seconds <= wanted.total_s + 0.01, outcome
    for service in day.services:
        # No limit is exceeded, and nothing stays open.
        assert service.most_open <= scenario.concurrent
        assert service.open == 0
        times = sorted(one.at for one in service.seen)
        for first, over in zip(times, times[scenario.per_minute :], strict=False):
            assert over - first >= 60.0 - 1e-6
    # One probe at a time, and none is forgotten.
    assert all(circuit.most_probes <= 1 and circuit.probes == 0 for circuit in day.circuits)
    if scenario.wrapper == "pool":
        asked = defaultdict(set)
        for one in day.seen:
            asked[one.request_id].add(one.service)
        assert all(len(accounts) == 1 for accounts in asked.values())
    # The answer says how many requests it took. The one of two that was cancelled counts as one,
    # also if it still waited in the line or was sent for the second time.
    sent = Counter(one.request_id for one in day.seen)
    for n, outcome in enumerate(day.outcomes):
        if outcome.finished and scenario.after_text != "continue":
            more = outcome.started[0].attempts - sent[f"r{n}"]
            assert more == 0 or (abs(more) == 1 and scenario.wrapper == "hedge")


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(scenarios)
def test_every_generated_day(scenario: Scenario) -> None:
    """Whatever the services do: one end for each request, limits and deadlines kept, one probe."""
    check(run(play(scenario)))


@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(scenarios)
def test_the_same_seed_is_the_same_day(scenario: Scenario) -> None:
    """A day that is played twice is the same to the last request."""
    first, second = run(play(scenario)), run(play(scenario))
    assert first.seen == second.seen
    assert [o.text for o in first.outcomes] == [o.text for o in second.outcomes]
    assert [o.seconds for o in first.outcomes] == [o.seconds for o in second.outcomes]


def test_ten_thousand_requests() -> None:
    """A long day of each wrapper, with all kinds of bad phases: the same holds."""
    chance = random.Random(19)
    for wrapper in ("fallback", "balance", "hedge", "pool", "retry"):
        phases = tuple(
            tuple(
                Phase(until * 60.0, chance.choice(KINDS), chance.choice([0.1, 2.0]), 0.1)
                for until in range(2 + n, 60, 3)
            )
            for n in range(3)
        )
        requests = tuple(
            Wanted(chance.uniform(0, 3600), 60, chance.random() < 0.5, chance.choice("abcd"), None)
            for _ in range(2000)
        )
        after_text = {"fallback": "hold", "balance": "continue"}.get(wrapper, "error")
        day = Scenario(phases, (None, True, True), wrapper, after_text, 4, 30, requests, 19)
        check(run(play(day)))
