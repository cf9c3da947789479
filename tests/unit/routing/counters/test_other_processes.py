"""What other processes see of a request that has just ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berlin.routing.counters.contract import RUNNING, Claim, Refusal, Reservation, Sliding
from berlin.routing.counters.shared import SharedCounters
from berlin.routing.counters.sqlite import SqliteCounters

TOKENS = Claim("k", Sliding(60.0), 1_500, 1_000, overdraw=True)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[SharedCounters, SharedCounters]]:
    """Two processes that count in one file."""
    file = tmp_path / "c"
    both = [SharedCounters(SqliteCounters(file), owner=name) for name in "ab"]
    yield both[0], both[1]
    for counters in both:
        await counters.aclose()


async def reserved(counters: SharedCounters, id: str, claim: Claim = TOKENS) -> Reservation:
    """Reserve what fits."""
    found = await counters.reserve(id, [claim])
    assert isinstance(found, Reservation), found
    return found


async def test_a_cheap_request_that_has_ended_refuses_no_other(
    pair: tuple[SharedCounters, SharedCounters],
) -> None:
    """A settlement waits for a moment; a request that does not fit until then waits for it."""
    one, two = pair
    await reserved(two, "open", Claim("other", Sliding(60.0), 1))
    first = await reserved(one, "a")
    assert one.settle(first, [90]) is None  # its client waits for nothing
    assert (await reserved(two, "b")).used == (1_090,)


async def test_what_has_used_up_a_limit_is_seen_before_the_end(
    pair: tuple[SharedCounters, SharedCounters],
) -> None:
    """A request that costs more than reserved, and all that was left, ends once others see it."""
    one, two = pair
    claim = Claim("k", Sliding(60.0), 5_000, 1_000, overdraw=True)
    first = await reserved(one, "a", claim)
    known = one.settle(first, [6_000])
    assert known is not None
    await known
    refused = await two.reserve("b", [claim])
    assert isinstance(refused, Refusal)
    assert refused.used == 6_000


async def test_a_running_request_is_waited_for_only_briefly(
    pair: tuple[SharedCounters, SharedCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is reserved by requests that still run refuses others, after they have looked twice."""
    one, two = pair
    await reserved(one, "a")
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("berlin.routing.counters.shared.asyncio.sleep", note)
    assert isinstance(await two.reserve("b", [TOKENS]), Refusal)
    assert [pause for pause in pauses if pause < 1] == [0.025, 0.075]


async def test_a_client_that_leaves_while_it_waits_harms_nothing(
    pair: tuple[SharedCounters, SharedCounters],
) -> None:
    """The cost of its request is counted all the same."""
    one, two = pair
    first = await reserved(one, "a")
    known = one.settle(first, [6_000])
    assert known is not None
    known.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    refused = await two.reserve("b", [TOKENS])
    assert isinstance(refused, Refusal)
    assert refused.used == 6_000


async def test_a_place_is_free_for_others_before_the_end(
    pair: tuple[SharedCounters, SharedCounters],
) -> None:
    """Where requests that run are counted, the next one of a client is not refused elsewhere."""
    one, two = pair
    place = Claim("running", RUNNING, 1)
    for id in "abc":
        first = await reserved(one, id, place)
        free = one.settle(first, [0])
        assert free is not None
        await free
        other = await reserved(two, f"{id}2", place)
        free = two.settle(other, [0])
        assert free is not None
        await free
