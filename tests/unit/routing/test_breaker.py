"""The breaker: a provider that is down is left alone, and probed by one request at a time."""

from __future__ import annotations

import asyncio

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.base.circuit import Circuit, Permit, Seen
from berlin.routing.breaker import Breaker
from berlin.types import ChatRequest, Finished
from support.virtual_time import virtual

REQUEST = ChatRequest.of("Hello")
DOWN = [errors.ServiceUnavailableError("down")]
GOOD = ["Hello", Finished()]


def breaker(*scripts: object, failures: int = 3) -> tuple[Breaker, ScriptedProvider]:
    """Return a breaker on the loop's clock around a provider with scripts."""
    inner = ScriptedProvider(*scripts)
    clock = asyncio.get_running_loop().time
    return Breaker(inner, failures=failures, cool_down_s=10, clock=clock), inner


async def ask(provider: Breaker) -> str:
    """Ask once; return `ok` or the code of the error."""
    try:
        async for _ in provider.bursts(REQUEST):
            pass
    except BerlinError as error:
        return error.code
    return "ok"


@virtual
async def test_it_opens_after_failures_in_a_row() -> None:
    """The third failure opens it; then nothing is sent, and the error says for how long."""
    provider, inner = breaker(DOWN)
    assert [await ask(provider) for _ in range(3)] == ["upstream_unavailable"] * 3
    assert not provider.working
    with pytest.raises(errors.CircuitOpenError) as caught:
        await anext(provider.bursts(REQUEST))
    assert caught.value.retry_after == 10
    assert len(inner.requests) == 3


@virtual
async def test_a_success_in_between_starts_the_count_anew() -> None:
    """Only failures in a row count."""
    provider, _ = breaker(DOWN, DOWN, GOOD, DOWN, DOWN, GOOD)
    for _ in range(6):
        await ask(provider)
    assert provider.working


@virtual
async def test_a_provider_that_is_down_for_a_minute_is_hardly_asked() -> None:
    """One request a second for a minute: 3 failures, then a probe each ten seconds; then back."""
    provider, inner = breaker(*[DOWN] * 8, GOOD)
    answers = []
    for _ in range(75):
        answers.append(await ask(provider))
        await asyncio.sleep(1)
    assert answers[60:75].count("ok") >= 4
    assert len([a for a in answers if a == "upstream_unavailable"]) == 8
    assert len(inner.requests) == 8 + answers.count("ok")
    assert provider.working


@virtual
async def test_one_probe_at_a_time() -> None:
    """While a probe is out the others are turned away; when it is answered all go through."""
    slow = [2.0, "Hello", 5.0, Finished()]
    provider, inner = breaker(DOWN, slow, failures=1)
    await ask(provider)
    await asyncio.sleep(10)
    probe = asyncio.ensure_future(ask(provider))
    await asyncio.sleep(1)
    assert await ask(provider) == "circuit_open"
    await asyncio.sleep(2)
    # The probe has begun to be answered: that is enough.
    assert provider.working
    assert await ask(provider) == "ok"
    assert await probe == "ok"
    assert len(inner.requests) == 3


@virtual
async def test_a_probe_whose_caller_leaves_makes_room_for_another() -> None:
    """A cancelled probe says nothing of the provider, and blocks nobody."""
    provider, _ = breaker(DOWN, [100.0, *GOOD], GOOD, failures=1)
    await ask(provider)
    await asyncio.sleep(10)
    probe = asyncio.ensure_future(ask(provider))
    await asyncio.sleep(1)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    assert await ask(provider) == "ok"


@virtual
async def test_after_a_good_probe_one_failure_opens_it_again() -> None:
    """A provider that answers and breaks off, again and again, does not close it for long."""
    cut = ["Hel", errors.ConnectionLostError("cut")]
    provider, _ = breaker(cut)
    for _ in range(3):
        await ask(provider)
    assert not provider.working
    await asyncio.sleep(10)
    assert await ask(provider) == "upstream_connection_lost"
    assert not provider.working


@virtual
async def test_a_time_that_the_service_names_is_kept() -> None:
    """After a 429 with `Retry-After` nothing is sent until then, and no probe is needed after."""
    provider, inner = breaker([errors.RateLimitError("slow", retry_after=20)], GOOD)
    assert await ask(provider) == "rate_limited"
    await asyncio.sleep(15)
    with pytest.raises(errors.LimitReachedError, match="a pause of 5 s more") as caught:
        await anext(provider.bursts(REQUEST))
    assert caught.value.retry_after == 5
    await asyncio.sleep(4.9)
    assert await ask(provider) == "limit_reached"
    await asyncio.sleep(0.1)
    assert await ask(provider) == "ok"
    assert len(inner.requests) == 2


@pytest.mark.parametrize(
    "kind",
    [
        errors.RequestRejectedError,
        errors.ContextLengthError,
        errors.AuthenticationError,
        errors.InvalidRequestError,
    ],
)
@virtual
async def test_what_the_caller_is_to_blame_for_does_not_open_it(kind: type[BerlinError]) -> None:
    """A service that refuses a request is there."""
    provider, _ = breaker([kind("no")])
    for _ in range(5):
        await ask(provider)
    assert provider.working


class SlowCircuit(Circuit):
    """A circuit whose changes other processes see late."""

    def succeed(self, permit: Permit) -> Seen:
        """Record an answer."""
        super().succeed(permit)
        return asyncio.ensure_future(asyncio.sleep(5)) if permit.probe else None

    def fail(self, permit: Permit) -> Seen:
        """Record a failure."""
        super().fail(permit)
        return asyncio.ensure_future(asyncio.sleep(5))


@virtual
async def test_other_processes_know_before_the_caller() -> None:
    """A caller that has seen a failure, or that a probe was answered, may ask another process."""
    loop = asyncio.get_running_loop()
    inner = ScriptedProvider(DOWN, ["Hello", 0.0, Finished()])
    provider = Breaker(inner, circuit=SlowCircuit(loop.time, failures=1, cool_down_s=10))
    assert await ask(provider) == "upstream_unavailable"
    assert loop.time() == pytest.approx(5)
    await asyncio.sleep(10)
    assert await ask(provider) == "ok"
    assert loop.time() == pytest.approx(20)
