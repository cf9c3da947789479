"""Balance: requests go where they are answered well."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from berlin.providers.contract import Provider
from berlin.routing.balance import Balance
from berlin.routing.breaker import Breaker
from berlin.types import ChatRequest
from support.simulated import Phase, SimulatedService
from support.virtual_time import virtual

FOREVER = float("inf")


def service(name: str, first_s: float = 0.1, kind: str = "good", until: float = FOREVER):
    """Return a service that behaves in one way."""
    return SimulatedService(name, (Phase(until, kind, first_s, 0.01),))


async def ask(provider: Provider, times: int, gap_s: float = 0.2) -> Counter[str]:
    """Ask again and again; return how often which pieces came."""

    async def one() -> None:
        async for _ in provider.bursts(ChatRequest.of("Hello")):
            pass

    asking = []
    for _ in range(times):
        asking.append(asyncio.ensure_future(one()))
        await asyncio.sleep(gap_s)
    ends = await asyncio.gather(*asking, return_exceptions=True)
    return Counter(type(end).__name__ for end in ends)


def balance(*services: Provider, **options: object) -> Balance:
    """Return a balance on the loop's clock, with the chance of a fixed seed."""
    clock = asyncio.get_running_loop().time
    return Balance(*services, chance=random.Random(7).random, clock=clock, **options)


@virtual
async def test_weights() -> None:
    """A provider of three times the weight gets about three times the requests."""
    a, b = service("a"), service("b")
    await ask(balance(a, b, weights=[3, 1], by="weight"), 400)
    assert 2.2 < len(a.seen) / len(b.seen) < 4


@virtual
async def test_the_faster_one_gets_more() -> None:
    """By latency, a provider that takes a second gets much less than one that takes a tenth."""
    fast, slow = service("fast"), service("slow", 1.0)
    await ask(balance(fast, slow), 200)
    assert len(fast.seen) > 4 * len(slow.seen) > 0


@virtual
async def test_the_one_with_less_to_do() -> None:
    """By open requests, two equal providers get the same, whatever the chance says."""
    a, b = service("a", 5.0), service("b", 5.0)
    await ask(balance(a, b, by="busy"), 100)
    assert abs(len(a.seen) - len(b.seen)) <= 10


@virtual
async def test_a_failing_one_is_made_up_for() -> None:
    """The other answers what one refuses, and the one that fails is hardly asked."""
    bad, good = service("bad", kind="down"), service("good")
    clock = asyncio.get_running_loop().time
    ends = await ask(balance(Breaker(bad, clock=clock), good), 100)
    assert ends == {"NoneType": 100}
    assert len(bad.seen) < 10


def test_weights_must_fit() -> None:
    """There is one positive weight for each provider."""
    for weights in ([1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="positive weight"):
            Balance(SimulatedService("a"), SimulatedService("b"), weights=weights)
