"""A failed login is remembered: by this process, and by all that share a store."""

from __future__ import annotations

import msgspec
import pytest

from berlin.auth.grant import Grant
from berlin.auth.tokens.backoff import Backoff, after_failure, stored_failure
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.source import TokenSource
from berlin.auth.tokens.store import Pause, Record, TokenKey
from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConnectError,
    QuotaError,
    RateLimitError,
    ServiceUnavailableError,
    UpstreamTimeoutError,
)
from berlin.types import Secret
from support.clock import Clock
from support.memory_tokens import Expiring, Logins, Store

KEY = TokenKey("strict", "https://a.example", "ann", "f1")
EMPTY = Record.of(KEY, None)
STORED = Record.of(KEY, Grant(Secret("t1"), 0.0, 5.0, Secret("r1")))


async def failed(source: TokenSource, logins: Logins) -> BerlinError:
    with pytest.raises(BerlinError) as caught:
        await source.get(logins)
    return caught.value


@pytest.mark.parametrize("kind", [RateLimitError, QuotaError, ServiceUnavailableError])
async def test_a_busy_identity_provider_is_left_alone(kind: type[BerlinError]) -> None:
    """After 429 or 5xx no login is tried for 0.5 s, 1 s, 2 s …, and the error says how long."""
    clock = Clock()
    source, logins = TokenSource(clock=clock), Logins()
    for count, wait in enumerate((0.5, 1.0, 2.0), 1):
        logins.failure = kind("down")
        first = await failed(source, logins)
        assert (str(first), first.retry_after) == ("down", wait)
        again = await failed(source, logins)
        assert (type(again), again.retry_after, logins.count) == (kind, wait, count)
        assert "asked again in" in str(again)
        clock.now += wait
    logins.failure = None
    assert await source.get(logins) == Secret("token-4")


async def test_the_time_that_it_names_is_kept() -> None:
    """`Retry-After` is honoured, up to a day."""
    clock = Clock()
    source, logins = TokenSource(clock=clock), Logins()
    logins.failure = RateLimitError("slow down", retry_after=3600)
    await failed(source, logins)
    clock.now += 3599
    assert (await failed(source, logins)).retry_after == 1
    clock.now += 1
    await failed(source, logins)
    assert logins.count == 2


async def test_a_good_token_is_used_in_a_pause() -> None:
    """While the renewal has to wait, requests go on with the token that is still valid."""
    clock = Clock()
    source = TokenSource(clock=clock, wall=clock, jitter=lambda: 1.0)
    logins = Expiring(clock)
    await source.get(logins)
    clock.now += 90
    logins.failure = RateLimitError("slow down", retry_after=8)
    for _ in range(3):
        assert await source.get(logins) == Secret("token-1")
        clock.now += 2.5
    assert logins.count == 2


async def test_all_processes_leave_it_alone() -> None:
    """One process is refused with 429; the others learn of it from the store, and do not ask."""
    shared, clock = SharedTokens(Store()), Clock()
    sources = [TokenSource(KEY, shared, clock=clock, wall=clock) for _ in range(4)]
    logins = Logins()
    logins.failure = RateLimitError("slow down", status=429, retry_after=20)
    errors = [await failed(source, logins) for source in sources]
    assert logins.count == 1
    assert {(type(e), e.status, e.retry_after) for e in errors} == {(RateLimitError, 429, 20)}
    clock.now += 20
    logins.failure = None
    assert {(await source.get(logins)).reveal() for source in sources} == {"token-2"}


async def test_a_login_of_another_process_ends_the_pause() -> None:
    """A process in a pause looks into the store every 5 s, without asking the service."""
    store, clock = Store(), Clock()
    shared, logins = SharedTokens(store), Logins()
    source = TokenSource(KEY, shared, clock=clock, wall=clock)
    logins.failure = RateLimitError("slow down", retry_after=3600)
    await failed(source, logins)
    store.records[KEY] = Record.of(KEY, Grant(Secret("of-another"), clock.now))
    await failed(source, logins)
    clock.now += 5
    assert await source.get(logins) == Secret("of-another")
    assert logins.count == 1


async def test_a_store_that_fails_does_not_end_the_pause() -> None:
    """Without its store a process keeps to what it remembers."""
    store, clock = Store(), Clock()
    source = TokenSource(KEY, SharedTokens(store), clock=clock, wall=clock)
    logins = Logins()
    logins.failure = RateLimitError("slow down", retry_after=60)
    await failed(source, logins)

    def broken(name: str) -> None:
        raise OSError("no disk")

    store.before = broken
    clock.now += 30
    assert (await failed(source, logins)).retry_after == 30
    assert logins.count == 1


def test_what_is_stored_after_a_failure() -> None:
    """Busy: token and refresh token stay. Refused: they go. Unclear: the refresh token goes."""
    busy = after_failure(STORED, EMPTY, ServiceUnavailableError("down", status=503), 10.0)
    expected = Pause(10.0, 10.5, 1, "upstream_unavailable", 503, "down")
    assert busy == msgspec.structs.replace(STORED, pause=expected)
    again = after_failure(busy, EMPTY, ServiceUnavailableError("down"), 20.0)
    assert again is not None
    assert again.pause is not None
    assert (again.pause.until, again.pause.count) == (21.0, 2)
    refused = after_failure(busy, EMPTY, AuthenticationError("no"), 10.0)
    assert refused is not None
    assert (refused.token, refused.refresh_token, refused.refused_until) == (None, None, 15.0)
    assert after_failure(STORED, EMPTY, UpstreamTimeoutError("late"), 10.0) is None
    assert after_failure(STORED, EMPTY, ConnectError("nothing there"), 10.0) == STORED
    assert after_failure(None, EMPTY, ConnectError("nothing there"), 10.0) is None


@pytest.mark.parametrize("skew", [-299, 0])
def test_a_stored_pause(skew: int) -> None:
    """A pause holds for clocks that differ by minutes; its error is for the operator only."""
    pause = Pause(1000.0, 1060.0, 1, "rate_limited", 429, "slow down")
    found = stored_failure(Record(pause=pause), 1000.0 + skew)
    assert isinstance(found, RateLimitError)
    assert (found.status, found.private, found.retry_after) == (429, True, 60.0 - skew)


@pytest.mark.parametrize("now", [1060.0, 1000.0 - 3600])
def test_a_pause_that_is_over(now: float) -> None:
    """It ends in time, and a clock that was set back by an hour does not prolong it."""
    assert stored_failure(Record(pause=Pause(1000.0, 1060.0)), now) is None
    assert stored_failure(Record(refused_until=1060.0, refusal="no"), now) is None


def test_a_record_of_a_later_version_of_a_pause() -> None:
    """An unknown kind of error counts as a service that is down."""
    found = stored_failure(Record(pause=Pause(0.0, 9.0, kind="new", reason="x")), 1.0)
    assert isinstance(found, ServiceUnavailableError)


def test_a_failure_of_this_process_alone_starts_no_pause() -> None:
    """Without a connection the next request tries again at once."""
    backoff = Backoff(Clock(), is_shared=False)
    backoff.fail(ConnectError("nothing there"))
    assert not backoff.is_on
    backoff.check()
