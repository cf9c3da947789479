"""TokenSource alone, with a clock of its own and logins without a network."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable

import pytest

from berlin.auth.grant import Grant
from berlin.auth.tokens.registry import shared_source
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.source import Login, TokenSource
from berlin.auth.tokens.store import TokenKey
from berlin.errors import (
    AuthenticationError,
    ConnectError,
    ProtocolError,
    ServiceUnavailableError,
    UpstreamTimeoutError,
)
from berlin.types import Secret
from support.clock import Clock
from support.memory_tokens import Expiring, Logins, Store


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def refused(source: TokenSource, login: Login) -> str:
    with pytest.raises(AuthenticationError) as caught:
        await source.get(login)
    return str(caught.value)


async def test_a_token_is_kept() -> None:
    """The token of the first login is given to all who come later."""
    source, logins = TokenSource(), Logins()
    assert source.token is None
    assert await source.get(logins) == Secret("token-1")
    assert await source.get(logins) == Secret("token-1")
    assert source.token == Secret("token-1")
    assert logins.count == 1


async def test_all_who_come_during_a_login_share_it() -> None:
    """A hundred who wait get the token of one login."""
    source, logins = TokenSource(), Logins(asyncio.Event())
    waiting = [asyncio.ensure_future(source.get(logins)) for _ in range(100)]
    await turns()
    assert logins.gate is not None
    logins.gate.set()
    assert set(await asyncio.gather(*waiting)) == {Secret("token-1")}
    assert logins.count == 1


async def test_a_rejected_token_is_cleared_only_while_it_is_the_current_one() -> None:
    """A late rejection of an old token leaves the newer one where it is."""
    source, logins = TokenSource(), Logins()
    old = await source.get(logins)
    source.reject(old)
    assert source.token is None
    newer = await source.get(logins)
    source.reject(old)
    assert source.token == newer == Secret("token-2")
    assert logins.count == 2


async def test_an_adopted_token_needs_no_login() -> None:
    """A token that was set is used; setting none brings back the login."""
    source, logins = TokenSource(), Logins()
    source.adopt(Secret("given"))
    assert await source.get(logins) == Secret("given")
    assert logins.count == 0
    source.adopt(None)
    assert await source.get(logins) == Secret("token-1")


async def test_refusals_are_remembered_for_a_time_that_grows() -> None:
    """After a refusal no login is made for 5 s, then 10, 20 and so on up to 300."""
    clock = Clock()
    source, logins = TokenSource(clock=clock), Logins()
    logins.failure = AuthenticationError("wrong password", status=401)
    for count, wait in enumerate((5, 10, 20, 40, 80, 160, 300, 300, 300), start=1):
        assert await refused(source, logins) == "wrong password"
        assert logins.count == count
        clock.now += wait - 1
        assert await refused(source, logins) == (
            "wrong password (remembered, so that the account is not locked; "
            "tried again in 1 s, or immediately with other credentials)"
        )
        assert logins.count == count
        clock.now += 1


async def test_a_remembered_refusal_tells_how_long_it_lasts() -> None:
    """The error carries the seconds, the status and the first refusal as its cause."""
    clock = Clock()
    source, logins = TokenSource(clock=clock), Logins()
    logins.failure = AuthenticationError("wrong password", status=401)
    await refused(source, logins)
    clock.now += 2
    with pytest.raises(AuthenticationError) as caught:
        await source.get(logins)
    assert caught.value.retry_after == 3
    assert caught.value.status == 401
    assert caught.value.__cause__ is logins.failure
    assert logins.failure.args == ("wrong password",)  # the first one is left as it was


@pytest.mark.parametrize("token", [Secret("given"), None])
async def test_adopting_forgets_refusals(token: Secret | None) -> None:
    """After a token is set or taken away, the next login is made at once, from 5 s again."""
    clock = Clock()
    source, logins = TokenSource(clock=clock), Logins()
    logins.failure = AuthenticationError("wrong password")
    await refused(source, logins)
    clock.now += 5
    await refused(source, logins)
    source.adopt(token)
    if token is not None:
        assert await source.get(logins) == token
        source.reject(token)
    assert await refused(source, logins) == "wrong password"
    assert logins.count == 3
    clock.now += 5  # not 20
    await refused(source, logins)
    assert logins.count == 4


async def test_a_good_login_forgets_refusals() -> None:
    """After a success a refusal is remembered for 5 s again."""
    clock = Clock()
    source, logins = TokenSource(clock=clock), Logins()
    logins.failure = AuthenticationError("wrong password")
    for wait in (5, 10, 20):
        await refused(source, logins)
        clock.now += wait
    logins.failure = None
    source.reject(await source.get(logins))
    logins.failure = AuthenticationError("wrong password")
    await refused(source, logins)
    clock.now += 5
    await refused(source, logins)
    assert logins.count == 6


@pytest.mark.parametrize(
    "failure", [ConnectError("nothing there"), ProtocolError("a page"), OSError("odd")]
)
async def test_other_failures_are_not_remembered(failure: Exception) -> None:
    """Any other failure of a login is told as it is, and the next one tries again at once."""
    source, logins = TokenSource(clock=Clock()), Logins()
    logins.failure = failure
    for count in (1, 2):
        with pytest.raises(type(failure), match=str(failure)):
            await source.get(logins)
        assert logins.count == count
    logins.failure = None
    assert await source.get(logins) == Secret("token-3")


async def test_one_failure_becomes_an_error_of_its_own_for_each_who_waits() -> None:
    """No exception object is raised in two tasks: their tracebacks would pile up in it."""
    source, logins = TokenSource(), Logins(asyncio.Event())
    logins.failure = ServiceUnavailableError("down")
    waiting = [asyncio.ensure_future(source.get(logins)) for _ in range(3)]
    await turns()
    assert logins.gate is not None
    logins.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["down"] * 3
    assert len({id(outcome) for outcome in (*outcomes, logins.failure)}) == 4


async def test_a_login_outlives_the_one_who_began_it() -> None:
    """When the first who waits is cancelled, the same login serves the others."""
    source, logins = TokenSource(), Logins(asyncio.Event())
    first = asyncio.ensure_future(source.get(logins))
    second = asyncio.ensure_future(source.get(logins))
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert logins.gate is not None
    logins.gate.set()
    assert await second == Secret("token-1")
    assert (logins.count, logins.cancelled) == (1, 0)


async def test_an_abandoned_login_is_cancelled() -> None:
    """When nobody waits any more the login ends, and the next one begins anew."""
    source, logins = TokenSource(), Logins(asyncio.Event())
    waiting = [asyncio.ensure_future(source.get(logins)) for _ in range(3)]
    await turns()
    for task in waiting:
        task.cancel()
    await turns()
    assert (logins.count, logins.cancelled) == (1, 1)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert logins.gate is not None
    logins.gate.set()
    assert await source.get(logins) == Secret("token-2")


async def test_who_comes_while_an_abandoned_login_ends_gets_a_new_one() -> None:
    """A login that is being cancelled does not take the newcomer with it."""
    source, logins = TokenSource(), Logins(asyncio.Event())
    first = asyncio.ensure_future(source.get(logins))
    await turns()
    first.cancel()
    newcomer = asyncio.ensure_future(source.get(logins))  # before the cancellation arrives
    await turns()
    assert logins.gate is not None
    logins.gate.set()
    assert (await newcomer).reveal() in ("token-1", "token-2")
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_cancelled_before_the_login_has_begun() -> None:
    """Cancelling in the same step in which the login is made leaves the source usable."""
    source, logins = TokenSource(), Logins()

    async def get_and_give_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await source.get(logins)

    with pytest.raises(asyncio.CancelledError):
        await get_and_give_up_in_a_task(get_and_give_up)
    await turns()
    async with asyncio.timeout(30):
        assert (await source.get(logins)).reveal().startswith("token-")


async def get_and_give_up_in_a_task(work: Callable[[], Awaitable[None]]) -> None:
    await asyncio.ensure_future(work())


async def test_a_failed_login_that_nobody_saw_is_no_warning() -> None:
    """A login that fails just when its last one leaves is not reported as never retrieved."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    source, logins = TokenSource(), Logins(asyncio.Event())
    logins.failure = ServiceUnavailableError("down")
    waiting = asyncio.ensure_future(source.get(logins))
    await turns()
    assert logins.gate is not None
    logins.gate.set()
    waiting.cancel()
    await turns()
    assert waiting.cancelled()
    del waiting
    gc.collect()
    await turns()
    assert told == []


def test_two_loops_in_two_threads_share_one_login() -> None:
    """A login that runs on one thread's loop serves those who wait on another's."""
    source = TokenSource()
    began, finish = threading.Event(), threading.Event()
    count = 0
    tokens: list[Secret] = []

    async def slow_login(_: Secret | None) -> Grant:
        nonlocal count
        count += 1
        began.set()
        while not finish.is_set():
            await asyncio.sleep(0.001)
        return Grant(Secret(f"token-{count}"), 0.0)

    async def wait_for_it() -> None:
        tokens.append(await source.get(slow_login))

    first = threading.Thread(target=lambda: asyncio.run(wait_for_it()))
    first.start()
    assert began.wait(30)

    async def join() -> None:
        waiting = asyncio.ensure_future(wait_for_it())
        await asyncio.sleep(0.01)
        finish.set()
        await waiting

    asyncio.run(join())
    first.join(30)
    assert not first.is_alive()
    assert tokens == [Secret("token-1")] * 2


def test_a_login_whose_loop_ends_is_taken_over() -> None:
    """When the loop that ran the login ends, who waits on another loop logs in by itself."""
    source = TokenSource()
    began, leave = threading.Event(), threading.Event()

    async def hang(_: Secret | None) -> Grant:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def begin_and_leave() -> None:
        task = asyncio.ensure_future(source.get(hang))
        while not leave.is_set():
            await asyncio.sleep(0.001)
        del task  # asyncio.run cancels what is left

    first = threading.Thread(target=lambda: asyncio.run(begin_and_leave()))
    first.start()
    assert began.wait(30)

    async def take_over() -> Secret:
        waiting = asyncio.ensure_future(source.get(Logins()))
        await asyncio.sleep(0.01)
        leave.set()
        async with asyncio.timeout(30):
            return await waiting

    assert asyncio.run(take_over()) == Secret("token-1")
    first.join(30)
    assert not first.is_alive()


def test_a_login_whose_loop_was_closed_under_it_is_lost() -> None:
    """A loop that is closed without ending its tasks does not block the next login."""
    source = TokenSource()
    loop = asyncio.new_event_loop()
    told: list[object] = []
    loop.set_exception_handler(lambda _, context: told.append(context))  # two tasks destroyed

    async def hang(_: Secret | None) -> Grant:
        await loop.create_future()
        raise AssertionError

    async def begin() -> None:
        tasks.append(asyncio.ensure_future(source.get(hang)))
        await turns()

    tasks: list[asyncio.Future[Secret]] = []
    loop.run_until_complete(begin())
    loop.close()

    async def after() -> Secret:
        async with asyncio.timeout(30):
            return await source.get(Logins())

    assert asyncio.run(after()) == Secret("token-1")


def test_a_source_is_shared_by_its_key() -> None:
    """The same service, URL, account and password share a source; any other does not."""
    key = TokenKey("unit", "http://127.0.0.1", "account", "a")
    assert shared_source(key) is shared_source(TokenKey("unit", "http://127.0.0.1", "account", "a"))
    for other in (
        TokenKey("other", "http://127.0.0.1", "account", "a"),
        TokenKey("unit", "http://127.0.0.2", "account", "a"),
        TokenKey("unit", "http://127.0.0.1", "another", "a"),
        TokenKey("unit", "http://127.0.0.1", "account", "b"),
    ):
        assert shared_source(other) is not shared_source(key)


def expiring() -> tuple[TokenSource, Expiring, Clock]:
    """Return a source whose tokens are renewed 15 seconds before their end."""
    clock = Clock()
    source = TokenSource(clock=clock, wall=clock, jitter=lambda: 0.5)
    return source, Expiring(clock), clock


async def test_a_token_is_renewed_ahead_of_its_expiry() -> None:
    """From the last fifth of its life on, a token is renewed with its refresh token."""
    source, logins, clock = expiring()
    assert await source.get(logins) == Secret("token-1")
    clock.now += 84
    assert await source.get(logins) == Secret("token-1")
    clock.now += 2
    assert await source.get(logins) == Secret("token-2")
    assert logins.given == [None, Secret("refresh-1")]


async def test_others_use_the_good_token_while_it_is_renewed() -> None:
    """One waits for the renewal; who comes meanwhile gets the token that is still good."""
    source, logins, clock = expiring()
    await source.get(logins)
    clock.now += 90
    logins.gate = asyncio.Event()
    renewing = asyncio.ensure_future(source.get(logins))
    await turns()
    assert await source.get(logins) == Secret("token-1")
    logins.gate.set()
    assert await renewing == Secret("token-2")
    assert logins.count == 2


async def test_a_renewal_that_fails_leaves_the_good_token() -> None:
    """While a token is good, a renewal that fails is no error, and is tried again 5 s later."""
    source, logins, clock = expiring()
    await source.get(logins)
    clock.now += 90
    logins.failure = ServiceUnavailableError("down")
    assert await source.get(logins) == Secret("token-1")
    assert await source.get(logins) == Secret("token-1")
    assert logins.count == 2
    clock.now += 6
    assert await source.get(logins) == Secret("token-1")
    assert logins.count == 3
    clock.now += 5
    with pytest.raises(ServiceUnavailableError):
        await source.get(logins)


async def test_an_expired_token_is_never_handed_out() -> None:
    """After its expiry everybody waits for the next token."""
    source, logins, clock = expiring()
    await source.get(logins)
    clock.now += 100
    assert await source.get(logins) == Secret("token-2")


async def test_a_rejected_token_leaves_its_refresh_token() -> None:
    """After a rejection the refresh token is tried first."""
    source, logins, _ = expiring()
    source.reject(await source.get(logins))
    await source.get(logins)
    assert logins.given == [None, Secret("refresh-1")]


@pytest.mark.parametrize("jump", [-86_400, 86_400])
async def test_a_jump_of_the_clock_changes_nothing(jump: int) -> None:
    """The time that a token is good for runs on the clock that only goes forward."""
    clock, wall = Clock(), Clock()
    source = TokenSource(clock=clock, wall=wall, jitter=lambda: 0.5)
    logins = Expiring(wall)
    await source.get(logins)
    wall.now += jump
    clock.now += 50
    assert await source.get(logins) == Secret("token-1")
    clock.now += 50
    assert await source.get(logins) == Secret("token-2")


async def test_a_new_token_that_has_expired_already_is_used() -> None:
    """If a clock is wrong the service tells whether a token is good, not the clock."""
    clock = Clock()
    source = TokenSource(clock=clock, wall=clock)

    async def login(_: Secret | None) -> Grant:
        return Grant(Secret("token"), clock.now, clock.now - 3600)

    assert await source.get(login) == Secret("token")
    assert await source.get(login) == Secret("token")


async def test_a_renewal_that_hangs_does_not_hold_up_a_good_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who begins a renewal waits a moment for it, and then uses the token that is still good."""
    monkeypatch.setattr("berlin.auth.tokens.source.RENEW_PATIENCE_S", 0.05)
    source, logins, clock = expiring()
    await source.get(logins)
    clock.now += 90
    logins.gate = asyncio.Event()
    assert await source.get(logins) == Secret("token-1")
    assert logins.cancelled == 0
    logins.gate.set()
    await turns()
    assert await source.get(logins) == Secret("token-2")


def test_the_number_of_sources_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with an account for each user forgets the tokens that were not used for long."""
    monkeypatch.setattr("berlin.auth.tokens.registry.MAX_SOURCES", 2)
    first, second, third = (TokenKey("r", "u", str(n), "bounded") for n in range(3))
    kept = shared_source(first)
    gone = shared_source(second)
    assert shared_source(first) is kept
    shared_source(third)
    assert shared_source(first) is kept
    assert shared_source(second) is not gone


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_refresh_that_may_have_been_seen(keeps: bool) -> None:
    """After a timeout a refresh token is gone, unless only a person could log in again."""
    clock, store = Clock(), Store()
    logins = Expiring(clock)
    source = TokenSource(
        TokenKey("strict", "https://a.example", "ann", "f"),
        SharedTokens(store),
        clock=clock,
        wall=clock,
    )
    source.keeps_refresh_token = keeps
    await source.get(logins)
    clock.now += 101
    logins.failure = UpstreamTimeoutError("no answer")
    with pytest.raises(UpstreamTimeoutError):
        await source.get(logins)
    [record] = store.records.values()
    assert (record.refresh_token is not None) == keeps
