"""Hedge: a late first event is asked for a second time, within a budget."""

from __future__ import annotations

import asyncio

import pytest

from berlin import errors
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.hedge import FEWEST, Hedge
from berlin.types import ChatRequest, Finished, Started, StreamEvent, TextDelta
from support.virtual_time import virtual

REQUEST = ChatRequest.of("Hello")


def hedge(first: ScriptedProvider, second: ScriptedProvider, **options: object) -> Hedge:
    """Return a hedge on the loop's clock."""
    return Hedge(first, second, clock=asyncio.get_running_loop().time, **options)


async def ask(provider: Hedge) -> list[StreamEvent]:
    """Ask once; return the events."""
    return [event async for burst in provider.bursts(REQUEST) for event in burst]


@virtual
async def test_the_first_that_begins_is_the_answer() -> None:
    """The second request wins, the first is cancelled at once, and the answer counts both."""
    slow = ScriptedProvider([100.0, "slow", Finished()])
    fast = ScriptedProvider([1.0, "fast", Finished()])
    events = await ask(hedge(slow, fast, after_s=2.0))
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["fast"]
    assert slow.closed == 1
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)
    assert isinstance(events[0], Started)
    assert events[0].attempts == 2
    assert [failed.code for failed in events[0].failed] == ["cancelled"]


@virtual
async def test_the_first_may_still_win() -> None:
    """The second is cancelled when the first begins to answer after all."""
    late = ScriptedProvider([2.5, "late", Finished()])
    second = ScriptedProvider([1.0, "second", Finished()])
    events = await ask(hedge(late, second, after_s=2.0))
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["late"]
    assert second.closed == 1


@virtual
async def test_no_second_request_while_the_first_is_in_time() -> None:
    """What answers in time is asked once, and nothing is added to its answer."""
    second = ScriptedProvider()
    events = await ask(hedge(ScriptedProvider(["a", Finished()]), second, after_s=2.0))
    assert events == [TextDelta("a"), Finished()]
    assert second.requests == []


@virtual
async def test_the_time_is_learned() -> None:
    """After a number of answers the second request comes when 95 % would have begun."""
    quick = [0.5, "a", Finished()]
    first = ScriptedProvider(*[quick] * (FEWEST + 2), [100.0, "slow", Finished()])
    second = ScriptedProvider([0.1, "b", Finished()])
    provider = hedge(first, second, budget_percent=100)
    for _ in range(FEWEST + 2):
        await ask(provider)
    began = asyncio.get_running_loop().time()
    events = await ask(provider)
    assert TextDelta("b") in events
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.6)


@virtual
async def test_the_budget() -> None:
    """Where everything is slow, only a few of a hundred requests are sent twice."""
    slow = ScriptedProvider([5.0, "a", Finished()])
    second = ScriptedProvider([5.0, "b", Finished()])
    provider = hedge(slow, second, after_s=1.0, budget_percent=5)
    for _ in range(100):
        await ask(provider)
    assert 5 <= len(second.requests) <= 6


@virtual
async def test_a_failure_of_one_is_made_up_for_by_the_other() -> None:
    """If one of the two fails, the other is waited for; if both fail, the first is told."""
    lost = errors.ConnectionLostError("one")
    fails = ScriptedProvider([3.0, lost])
    good = ScriptedProvider([5.0, "b", Finished()])
    assert TextDelta("b") in await ask(hedge(fails, good, after_s=1.0))
    bad = ScriptedProvider([1.0, errors.ConnectionLostError("two")])
    with pytest.raises(errors.ConnectionLostError, match="one"):
        await ask(hedge(ScriptedProvider([3.0, lost]), bad, after_s=1.0))


@virtual
async def test_leaving_cancels_both() -> None:
    """A caller that leaves during the race leaves no request behind."""
    first, second = ScriptedProvider([100.0, Finished()]), ScriptedProvider([100.0, Finished()])
    asking = asyncio.ensure_future(ask(hedge(first, second, after_s=1.0)))
    await asyncio.sleep(2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (first.closed, second.closed) == (1, 1)
