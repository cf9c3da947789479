"""Limits: never exceeded, and the line before them is fair."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.base.limits import Limits
from berlin.routing.counters.contract import Reservation
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.limit import Limit
from berlin.types import ChatRequest, Finished, Usage, UsageReport
from support.virtual_time import virtual


def limit(script: list[object], **limits: object) -> tuple[Limit, ScriptedProvider]:
    """Return a limit on the loop's clock around a provider with one script."""
    inner = ScriptedProvider(script)
    clock = asyncio.get_running_loop().time
    return Limit(inner, clock=clock, **limits), inner


async def ask(provider: Limit, tenant: str = "", text: str = "Hello") -> str:
    """Ask once; return `ok` or the code of the error."""
    request = ChatRequest(ChatRequest.of(text).messages, tenant=tenant)
    try:
        async for _ in provider.bursts(request):
            pass
    except BerlinError as error:
        return error.code
    return "ok"


@virtual
async def test_requests_at_once() -> None:
    """Six requests of one second, two at once, take three seconds."""
    provider, _ = limit([1.0, Finished()], concurrent=2)
    assert await asyncio.gather(*(ask(provider) for _ in range(6))) == ["ok"] * 6
    assert asyncio.get_running_loop().time() == pytest.approx(3)


@virtual
async def test_A17_a_window_slides() -> None:
    """In no 60 seconds are there more than the limit, also not at the edge of a minute."""
    provider, inner = limit([Finished()], requests_per_minute=3, wait_s=200)
    loop = asyncio.get_running_loop()
    await asyncio.sleep(59)
    await asyncio.gather(*(ask(provider) for _ in range(7)))
    assert loop.time() == pytest.approx(59 + 120)
    assert len(inner.requests) == 7


@virtual
async def test_tokens_are_reserved_then_settled() -> None:
    """What an answer really costs takes the place of the guess: small answers leave room."""
    script = [1.0, "Hi", UsageReport(Usage(10, 10)), Finished()]
    provider, inner = limit(script, tokens_per_minute=1000, wait_s=0)
    # Reserved are about 300 for each, so the fourth at once has no room …
    answers = await asyncio.gather(*(ask(provider) for _ in range(4)))
    assert answers == ["ok"] * 3 + ["limit_reached"]
    # … but when they have cost 20 each, there is room for many more.
    for _ in range(20):
        assert await ask(provider) == "ok"
    assert len(inner.requests) == 23


@virtual
async def test_what_is_larger_than_the_limit_passes_alone() -> None:
    """A request that alone needs more than the limit waits until nothing else counts."""
    provider, _ = limit([Finished()], tokens_per_minute=400, wait_s=100)
    assert await ask(provider) == "ok"
    assert await ask(provider, text="x" * 40_000) == "ok"


@virtual
async def test_the_wait_has_an_end() -> None:
    """Who finds no room in time is told when there will be some; nothing was sent."""
    provider, inner = limit([Finished()], requests_per_minute=1, wait_s=30)
    assert await ask(provider) == "ok"
    with pytest.raises(errors.LimitReachedError) as caught:
        await anext(provider.bursts(ChatRequest.of("x")))
    assert caught.value.retry_after == pytest.approx(60)
    assert asyncio.get_running_loop().time() == 0
    provider, inner = limit([1000.0, Finished()], concurrent=1, wait_s=30)
    first = asyncio.ensure_future(ask(provider))
    await asyncio.sleep(0)
    assert await ask(provider) == "limit_reached"
    assert asyncio.get_running_loop().time() == pytest.approx(30)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert len(inner.requests) == 1


@virtual
async def test_tenants_take_turns() -> None:
    """One tenant's twenty requests do not hold up the one request of another."""
    provider, _ = limit([1.0, Finished()], concurrent=1)
    order: list[str] = []

    async def one(tenant: str) -> None:
        await ask(provider, tenant)
        order.append(tenant)

    flood = [asyncio.ensure_future(one("flood")) for _ in range(20)]
    await asyncio.sleep(0.5)
    await one("other")
    assert order == ["flood", "flood", "other"]
    await asyncio.gather(*flood)


@virtual
async def test_a_full_line_makes_room_for_another_tenant() -> None:
    """Who fills the line is pushed back; one more of its own is refused at once."""
    provider, _ = limit([1.0, Finished()], concurrent=1, waiting=4)
    flood = [asyncio.ensure_future(ask(provider, "flood")) for _ in range(6)]
    await asyncio.sleep(0.1)
    assert flood[5].done()
    assert await ask(provider, "other") == "ok"
    assert sorted(await asyncio.gather(*flood)) == ["limit_reached"] * 2 + ["ok"] * 4


@virtual
async def test_a_wait_that_ends_as_room_is_made() -> None:
    """A request that is cancelled at the moment in which there is room holds up nobody."""
    provider, _ = limit([1.0, Finished()], concurrent=1)
    line = provider.limits
    first = await line.enter("", 0, 10)
    waits = [asyncio.ensure_future(line.enter("", 0, 10)) for _ in range(2)]
    await asyncio.sleep(0.1)
    provider.limits.leave(first)
    waits[0].cancel()
    assert await waits[1]
    assert waits[0].cancelled()


@virtual
async def test_leaving_the_line_and_leaving_an_answer_make_room() -> None:
    """Neither a cancelled wait nor an answer that is dropped holds its place."""
    provider, _ = limit(["a", 5.0, Finished()], concurrent=1, wait_s=1)
    bursts = provider.bursts(ChatRequest.of("x"))
    await anext(bursts)
    waiting = asyncio.ensure_future(ask(provider))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert provider.limits.waiting == 0
    await bursts.aclose()
    assert await ask(provider) == "ok"
    dropped = provider.bursts(ChatRequest.of("x"))
    await anext(dropped)
    del dropped
    assert await ask(provider) == "ok"


@virtual
async def test_who_waits_when_shared_counts_fail_is_refused() -> None:
    """Nobody waits until the end of its time for counts that cannot be used."""
    provider, _ = limit([1.0, Finished()], concurrent=1, wait_s=30)

    async def fail(id: str, claims: object) -> Reservation:
        raise errors.LimitReachedError("the shared limits cannot be checked")

    first = asyncio.ensure_future(ask(provider))
    await asyncio.sleep(0.1)
    waiting = [asyncio.ensure_future(ask(provider)) for _ in range(2)]
    await asyncio.sleep(0.1)
    provider.limits._counters.reserve = fail
    assert await asyncio.gather(first, *waiting) == ["ok", "limit_reached", "limit_reached"]
    assert asyncio.get_running_loop().time() < 5


class SlowCounters(MemoryCounters):
    """Counters that other processes see late."""

    def settle(  # type: ignore[override]  # it takes time
        self, reserved: Reservation, costs: Mapping[str, int]
    ) -> asyncio.Future[None]:
        super().settle(reserved, costs)
        return asyncio.ensure_future(asyncio.sleep(5))


@virtual
@pytest.mark.parametrize(
    "script",
    [["a", 0.0, Finished()], [Finished()], ["a", errors.ServiceUnavailableError("down")]],
    ids=["long", "short", "broken off"],
)
async def test_an_answer_ends_when_other_processes_see_it(script: list[object]) -> None:
    """The next request of its caller, at another process, finds the place free."""
    provider = Limit(ScriptedProvider(script), Limits(SlowCounters(), concurrent=1))
    await ask(provider)
    assert asyncio.get_running_loop().time() == pytest.approx(5)
