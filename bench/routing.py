"""The same scripted bad hour for every way of routing, on a virtual clock: `make bench-routing`.

It takes the services of the tests' simulation, and writes its table into docs/routing.md. It is
the same in every run.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import msgspec
from table import markdown

from berlin.errors import BerlinError
from berlin.providers.contract import Provider
from berlin.routing.balance import Balance
from berlin.routing.breaker import Breaker
from berlin.routing.fallback import Fallback
from berlin.routing.hedge import Hedge
from berlin.routing.hold import Hold
from berlin.routing.model import Model
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, Finished, TextDelta, Timeouts
from support.simulated import Phase, SimulatedService
from support.virtual_time import run

PAGE = Path(__file__).parents[1] / "docs" / "routing.md"
MINUTE = 60.0
REQUESTS = 3600
EVERY_S = 1.0
PATIENCE = Timeouts(connect=5, first_event=60, idle=20, total=120)

# What happens to the first service, and until which minute.
BAD_HOUR = (
    (8, "good"),
    (10, "down"),
    (18, "good"),
    (22, "busy"),
    (28, "good"),
    (31, "slow"),
    (38, "good"),
    (39, "refused"),
    (44, "good"),
    (46, "cut"),
    (52, "good"),
    (53, "silent"),
    (60, "good"),
)


class NoisyService(SimulatedService):
    """A service whose answers take different times, and of which a few fail on the best of days."""

    median_s = 0.5
    chance: Callable[[], float] = random.random

    def phase(self) -> Phase:
        """Return the phase of this moment, with the luck of this request."""
        phase = super().phase()
        first_s = self.median_s * 2 ** (2 * (self.chance() + self.chance() + self.chance() - 1.5))
        if phase.kind == "slow":
            return phase._replace(kind="good", first_s=12 + first_s)
        if phase.kind == "busy" and self.chance() < 0.3:
            return phase._replace(kind="good", first_s=first_s)
        if phase.kind == "good" and self.chance() < 0.01:
            return phase._replace(kind="reset", first_s=0.05)
        quick = phase.kind in ("down", "busy", "refused")
        return phase._replace(first_s=0.05 if quick else first_s)


class Result(NamedTuple):
    """What came of the hour.

    Attributes:
        answered: percent of the requests that got a whole answer.
        half: seconds in which half of the answers began.
        most: seconds in which 99 of 100 of them began.
        sent: requests that the services got, for each that was asked.
    """

    answered: float
    half: float
    most: float
    sent: float


def main() -> None:
    """Play the hour for each way of routing, and write the table."""
    rows = []
    for name, build in WAYS.items():
        result = run(play(build))
        rows.append(
            (
                name,
                f"{result.answered:.1f} %",
                f"{result.half:.2f} s",
                f"{result.most:.1f} s",
                f"{result.sent:.2f}",
            )
        )
        print(*rows[-1], sep="\t", file=sys.stderr)
    heads = ("", "answered", "first event: half", "99 of 100", "sent")
    page = PAGE.read_text("utf-8")
    begin, end = "<!-- bench-routing -->\n", "<!-- /bench-routing -->"
    table = markdown(heads, rows)
    page = re.sub(f"{begin}.*?{end}", f"{begin}{table}\n{end}", page, flags=re.DOTALL)
    PAGE.write_text(page, "utf-8")


Build = Callable[[Provider, Provider, Callable[[], float]], Provider]


async def play(build: Build) -> Result:
    """Play the hour."""
    chance = random.Random(20260911).random
    bad = tuple(Phase(until * MINUTE, kind, 0.1, 0.05) for until, kind in BAD_HOUR)
    first = NoisyService("first", bad, PATIENCE)
    second = NoisyService("second", (), PATIENCE)
    first.chance = second.chance = chance
    second.median_s = 0.9
    provider = build(first, second, asyncio.get_running_loop().time)
    outcomes = await asyncio.gather(*(ask(provider, n) for n in range(REQUESTS)))
    firsts = sorted(first for answered, first in outcomes if answered)
    return Result(
        100 * len(firsts) / REQUESTS,
        firsts[len(firsts) // 2],
        firsts[int(len(firsts) * 0.99)],
        (len(first.seen) + len(second.seen)) / REQUESTS,
    )


async def ask(provider: Provider, n: int) -> tuple[bool, float]:
    """Ask once; return whether there was a whole answer, and when its text began."""
    await asyncio.sleep(n * EVERY_S)
    now = asyncio.get_running_loop().time
    began, first = now(), 0.0
    request = msgspec.structs.replace(ChatRequest.of("Hi"), request_id=f"r{n}", timeouts=PATIENCE)
    finished = False
    try:
        async with aclosing(provider.bursts(request)) as bursts:
            async for burst in bursts:
                for event in burst:
                    if isinstance(event, TextDelta) and not first:
                        first = now() - began
                    finished = finished or isinstance(event, Finished)
    except BerlinError:
        return False, 0.0
    return finished, first


def leaf(
    service: Provider, name: str, clock: Callable[[], float], *, breaker: bool = True
) -> Provider:
    """Return a model with retries, as a table of the configuration makes one."""
    model: Provider = Model(service, name, "m", first_event_s=5 if breaker else None)
    if breaker:
        model = Breaker(model, clock=clock)
    return Retry(model, clock=clock, jitter=random.Random(name).random)


def balanced(a: Provider, b: Provider, clock: Callable[[], float]) -> Provider:
    """Return a balance over both."""
    leaves = leaf(a, "first", clock), leaf(b, "second", clock)
    return Balance(*leaves, clock=clock, chance=random.Random(7).random)


WAYS: dict[str, Build] = {
    "direct": lambda a, b, clock: a,
    "retry": lambda a, b, clock: leaf(a, "first", clock, breaker=False),
    "fallback": lambda a, b, clock: Fallback(
        leaf(a, "first", clock), leaf(b, "second", clock), clock=clock
    ),
    "balance": balanced,
    "hedge": lambda a, b, clock: Hedge(
        leaf(a, "first", clock, breaker=False), leaf(b, "second", clock), clock=clock
    ),
    "all": lambda a, b, clock: Hedge(balanced(a, b, clock), clock=clock),
    "all, held": lambda a, b, clock: Hold(Hedge(balanced(a, b, clock), clock=clock)),
}

if __name__ == "__main__":
    main()
