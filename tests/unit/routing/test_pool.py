"""Pool: several accounts of one service, and no request or conversation has two."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator

import msgspec
import pytest

from berlin import errors
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.pool import Pool
from berlin.types import ChatRequest, Finished, TextDelta, Timeouts
from support.virtual_time import virtual

REQUEST = ChatRequest.of("Hello")
GOOD = ["Hello", Finished()]


def pool(**scripts: list[object]) -> tuple[Pool, dict[str, ScriptedProvider]]:
    """Return a pool on the loop's clock."""
    accounts = {name: ScriptedProvider(script) for name, script in scripts.items()}
    return Pool(accounts, chance=lambda: 0, clock=asyncio.get_running_loop().time), accounts


async def ask(provider: Pool, request: ChatRequest = REQUEST) -> str:
    """Ask once; return the text or the code of the error."""
    try:
        bursts = [burst async for burst in provider.bursts(request)]
    except errors.BerlinError as error:
        return error.code
    return "".join(e.text for b in bursts for e in b if isinstance(e, TextDelta))


def session(name: str, tenant: str = "t") -> ChatRequest:
    """Return a request of a client's session."""
    return msgspec.structs.replace(REQUEST, session_id=name, tenant=tenant)


@virtual
async def test_a_session_stays_with_its_account() -> None:
    """All requests of a session go to one account, and many sessions use all accounts."""
    provider, accounts = pool(a=GOOD, b=GOOD, c=GOOD)
    for _ in range(3):
        for n in range(30):
            await ask(provider, session(f"s{n}"))
    owners = defaultdict(set)
    for name, account in accounts.items():
        assert account.requests
        for request in account.requests:
            owners[request.session_id].add(name)
    assert all(len(names) == 1 for names in owners.values())


@virtual
async def test_a_conversation_of_the_service_stays_with_its_account() -> None:
    """Only the account that began a conversation goes on with it, or nobody does."""
    begun = ["Hello", Finished(conversation_id="c1")]
    limited = errors.RateLimitError("slow", retry_after=30)
    provider, accounts = pool(a=begun, b=begun)
    await ask(provider)
    owner = next(name for name in accounts if accounts[name].requests)
    going_on = msgspec.structs.replace(REQUEST, conversation_id=f"{owner}:c1")
    for _ in range(5):
        bursts = [burst async for burst in provider.bursts(going_on)]
        assert bursts[-1][-1] == Finished(conversation_id=f"{owner}:c1")
    assert len(accounts[owner].requests) == 6
    assert accounts[owner].requests[-1].conversation_id == "c1"
    provider.note(owner, limited)
    assert await ask(provider, going_on) == "limit_reached"
    assert await ask(provider) == "Hello"
    await asyncio.sleep(30)
    assert await ask(provider, going_on) == "Hello"
    # Another process, or the same one after a restart, knows whose conversation it is.
    for _ in range(5):
        await ask(Pool(accounts), going_on)
    assert len(accounts[owner].requests) == 12


@virtual
async def test_quarantine_outlives_a_reload() -> None:
    """A pool that takes the place of another one goes on with its quarantines."""
    limited = [errors.RateLimitError("slow", retry_after=3600)]
    provider, accounts = pool(a=limited, b=GOOD)
    while not accounts["a"].requests:
        await ask(provider)
    after = Pool(accounts, before=provider, clock=asyncio.get_running_loop().time)
    assert [await ask(after) for _ in range(5)] == ["Hello"] * 5


@virtual
async def test_quarantine_until_the_time_that_the_service_names() -> None:
    """An account whose limit is reached is left alone; the request that found out fails."""
    limited = [errors.RateLimitError("slow", retry_after=3600)]
    provider, accounts = pool(a=limited, b=GOOD)
    answers = [await ask(provider, session(f"s{n}")) for n in range(20)]
    assert answers.count("rate_limited") == 1
    assert answers.count("Hello") == 19
    assert len(accounts["a"].requests) == 1
    await asyncio.sleep(3600)
    assert "rate_limited" in [await ask(provider, session(f"s{n}")) for n in range(20)]


@virtual
async def test_all_in_quarantine() -> None:
    """Then nothing is sent, and the error says when the first one is free again."""
    provider, accounts = pool(
        a=[errors.RateLimitError("slow", retry_after=50)],
        b=[errors.RateLimitError("slow", retry_after=20)],
    )
    await ask(provider)
    await ask(provider)
    with pytest.raises(errors.LimitReachedError) as caught:
        provider.order(REQUEST)
    assert caught.value.retry_after == 20
    assert sum(len(account.requests) for account in accounts.values()) == 2


@virtual
async def test_a_refused_account_is_left_alone() -> None:
    """Wrong credentials do not become right by asking again at once."""
    provider, accounts = pool(a=[errors.AuthenticationError("no")], b=GOOD)
    for n in range(20):
        await ask(provider, session(f"s{n}"))
    assert len(accounts["a"].requests) == 1


@virtual
async def test_the_account_with_less_to_do() -> None:
    """Requests without a session go where the fewest are open."""

    class Slow(ScriptedProvider):
        async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
            self.requests.append(request)
            await asyncio.sleep(10)
            yield [Finished()]

    accounts = {"a": Slow(), "b": Slow()}
    provider = Pool(accounts, clock=asyncio.get_running_loop().time)
    await asyncio.gather(*(ask(provider) for _ in range(10)))
    assert [len(account.requests) for account in accounts.values()] == [5, 5]


@virtual
async def test_another_account_gets_the_time_that_is_left() -> None:
    """What waited for one account before its circuit opened has less time for the next."""
    opened = errors.CircuitOpenError("open", retry_after=10)
    provider, accounts = pool(a=[1.0, opened], b=GOOD)
    request = ChatRequest.of("Hello", timeout=Timeouts(total=3))
    while not accounts["a"].requests:
        await ask(provider, request)
    timeouts = accounts["b"].requests[-1].timeouts
    assert timeouts is not None
    assert timeouts.total == pytest.approx(2)


@virtual
async def test_an_account_whose_own_limit_is_reached() -> None:
    """Nothing was sent, so another account answers; if none can, the error is that of the last."""
    full = [errors.LimitReachedError("full", retry_after=5)]
    provider, _ = pool(a=full, b=GOOD)
    assert [await ask(provider) for _ in range(3)] == ["Hello"] * 3
    provider, accounts = pool(a=full, b=full)
    assert await ask(provider) == "limit_reached"
    assert [len(account.requests) for account in accounts.values()] == [1, 1]


@virtual
async def test_an_account_whose_circuit_is_open() -> None:
    """Nothing was sent, so another account answers; the first is left alone meanwhile."""
    opened = errors.CircuitOpenError("open", retry_after=10)
    provider, accounts = pool(a=[opened], b=GOOD)
    for _ in range(5):
        assert await ask(provider) == "Hello"
    assert len(accounts["a"].requests) == 1
