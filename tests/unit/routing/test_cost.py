"""What wrappers cost for each burst: a few calls, counted, since a time depends on the machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from berlin.providers.contract import Burst, Provider
from berlin.routing.balance import Balance
from berlin.routing.base.answer import ReadyBursts
from berlin.routing.breaker import Breaker
from berlin.routing.cache import Cache
from berlin.routing.fallback import Fallback
from berlin.routing.hedge import Hedge
from berlin.routing.limit import Limit
from berlin.routing.model import Model
from berlin.routing.pool import Pool
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, Finished, TextDelta

FEW, MANY = 100, 200


class _Long(Provider):
    """Answers with many bursts that are there already."""

    def __init__(self, count: int) -> None:
        self._bursts: list[Burst] = [*[[TextDelta("x")] for _ in range(count)], [Finished()]]

    def bursts(self, request: ChatRequest) -> ReadyBursts:
        return ReadyBursts(self._bursts)

    async def aclose(self) -> None:
        pass


async def calls(provider: Provider) -> int:
    """Return how many Python functions are called for an answer."""
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    gc.collect()  # finalizers of earlier answers are not calls of this one
    gc.disable()
    before = sys.getprofile()
    gc.disable()  # Hypothesis is called at each collection
    sys.setprofile(note)
    try:
        async for _ in provider.bursts(ChatRequest.of("Hi")):
            pass
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


async def calls_each(wrap: Callable[[Provider], Provider]) -> float:
    """Return how many functions are called for each burst, however the answer begins and ends."""
    few, many = await calls(wrap(_Long(FEW))), await calls(wrap(_Long(MANY)))
    return (many - few) / (MANY - FEW)


@pytest.mark.parametrize(
    ("wrap", "most"),
    [
        (Retry, 1),
        (Fallback, 1),
        (Hedge, 1),
        (Model, 1),
        (Breaker, 2),
        (Balance, 3),
        (lambda inner: Limit(inner, concurrent=1), 2),
        (lambda inner: Limit(inner, tokens_per_minute=10**9), 5),
        (lambda inner: Pool({"a": inner}), 6),
        (Cache, 6),
        (lambda inner: Fallback(inner, inner, break_after_text="continue"), 3),
    ],
    ids=(
        *("retry", "fallback", "hedge", "model", "breaker", "balance", "limit", "tokens"),
        *("pool", "cache", "continue"),
    ),
)
async def test_calls_for_each_burst(wrap: Callable[[Provider], Provider], most: int) -> None:
    """Of the wrapper alone: what is not configured is not there, and costs nothing."""
    assert await calls_each(wrap) - await calls_each(lambda inner: inner) <= most
