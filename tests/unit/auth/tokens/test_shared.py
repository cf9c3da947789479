"""A store as a request sees it: with limits, and with a rest after a failure."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from berlin import errors
from berlin.auth.grant import Grant
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.store import Lease, Record, TokenKey
from berlin.types import Secret
from support.clock import Clock
from support.memory_tokens import Store

KEY = TokenKey("strict", "https://a.example", "ann", "f1")
RECORD = Record.of(KEY, Grant(Secret("t1"), 0.0))


def nothing(record: Record | None) -> bool:
    return False


def fail(name: str) -> None:
    raise OSError("the disk is on fire")


async def test_load_and_save() -> None:
    """What is saved is loaded."""
    shared = SharedTokens(Store())
    await shared.save(KEY, RECORD, None)
    assert await shared.load(KEY) == RECORD


async def test_failure_is_followed_by_a_rest(caplog: pytest.LogCaptureFixture) -> None:
    """A store that fails is left alone for one to three seconds, with one warning."""
    store, clock = Store(), Clock(0)
    store.before = fail
    shared = SharedTokens(store, clock=clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert await shared.load(KEY) is None
        clock.now = 0.99
        assert await shared.load(KEY) is None
    assert store.calls == ["load"]
    assert [r.getMessage() for r in caplog.records] == [
        "tokens.store_failed reason=the disk is on fire"
    ]
    store.before = lambda name: None
    store.records[KEY] = RECORD
    clock.now = 3.01
    assert await shared.load(KEY) == RECORD


async def test_R17_the_rest_is_spread() -> None:
    """Processes that lost a store together come back to it at different times."""
    ends = set()
    for _ in range(20):
        store, clock = Store(), Clock(0)
        store.before = fail
        shared = SharedTokens(store, clock=clock)
        await shared.load(KEY)
        while len(store.calls) == 1:
            clock.now += 0.05
            await shared.load(KEY)
        ends.add(round(clock.now, 2))
    assert min(ends) >= 1.0
    assert max(ends) <= 3.05
    assert len(ends) >= 5


async def test_error_instead_of_a_login() -> None:
    """With `on_failure = "error"` a store that fails is an error, at once also while it rests."""
    store = Store()
    store.before = fail
    shared = SharedTokens(store, "error", clock=Clock(0))
    with pytest.raises(errors.TokenStoreError, match="the disk is on fire"):
        await shared.load(KEY)
    with pytest.raises(errors.TokenStoreError, match="it failed a moment ago"):
        await shared.load(KEY)
    assert store.calls == ["load"]


async def test_slow_store() -> None:
    """A store that does not answer in its time counts as failed."""
    store, go_on = Store(), threading.Event()
    store.before = lambda name: go_on.wait(30) and None
    try:
        assert await SharedTokens(store).load(KEY) is None
    finally:
        go_on.set()


async def test_a_process_that_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time in which the process did not get the processor is not time that the store took."""
    store, go_on = Store(), threading.Event()
    store.timeout_s = 4.0
    store.records[KEY] = RECORD
    store.before = lambda name: go_on.wait(30) and None
    loop = asyncio.get_running_loop()
    now = loop.time

    def stand_still() -> None:
        monkeypatch.setattr(loop, "time", lambda: now() + 60)
        loop.call_soon(loop.call_soon, go_on.set)

    loop.call_soon(stand_still)
    assert await SharedTokens(store).load(KEY) == RECORD


async def test_lock_is_let_go() -> None:
    """The lock is held in the block and free after it, also after an error."""
    store = Store()
    shared = SharedTokens(store)
    with pytest.raises(ZeroDivisionError):
        async with shared.lock(KEY, nothing) as lease:
            assert lease is store.holder
            raise ZeroDivisionError
    assert store.holder is None


async def test_lock_is_let_go_when_cancelled() -> None:
    """The lock is free when the one who held it is cancelled."""
    store = Store()
    shared = SharedTokens(store)
    held = asyncio.Event()

    async def hold() -> None:
        async with shared.lock(KEY, nothing):
            held.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await held.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert store.holder is None


async def test_nothing_to_wait_for() -> None:
    """Who waits for the lock is done as soon as another has stored what is wanted."""
    store = Store()
    store.holder = Lease("another", 1, None)
    shared = SharedTokens(store)
    seen: list[Record | None] = []

    def adopted(record: Record | None) -> bool:
        seen.append(record)
        if len(seen) == 2:
            store.records[KEY] = RECORD
        return record is not None

    async with shared.lock(KEY, adopted) as lease:
        assert lease is None
    assert seen == [None, None, RECORD]


async def test_lock_that_comes_too_late() -> None:
    """A lock that is got after nobody waits for it is given back."""
    store, go_on = Store(), threading.Event()
    store.before = lambda name: name == "try_lock" and go_on.wait(30) and None
    async with SharedTokens(store).lock(KEY, nothing) as lease:
        assert lease is None
    go_on.set()
    async with asyncio.timeout(30):
        while "unlock" not in store.calls:
            await asyncio.sleep(0.01)
    assert store.holder is None


async def test_lock_that_another_keeps() -> None:
    """A lock that is never released is waited for a minute, and no longer."""
    store, clock = Store(), Clock(0)
    store.holder = Lease("another", 1, None)

    def tick(name: str) -> None:
        clock.now += 40 * (name == "try_lock")

    store.before = tick
    async with SharedTokens(store, clock=clock).lock(KEY, nothing) as lease:
        assert lease is None
    assert store.calls.count("try_lock") == 2


async def test_failure_while_it_is_held() -> None:
    """A store that fails while the lock is held does not break the block."""
    store = Store()
    shared = SharedTokens(store)
    done: list[Any] = []
    async with shared.lock(KEY, nothing) as lease:
        store.before = fail
        await shared.save(KEY, RECORD, lease)
        done.append(lease)
    assert len(done) == 1
    assert store.records == {}


async def test_the_holder_stores_its_token_while_the_store_rests() -> None:
    """A store that failed during the login is tried again for the token: it costs one login."""
    store = Store()
    shared = SharedTokens(store, clock=Clock(0))
    async with shared.lock(KEY, nothing) as lease:
        store.before = fail
        assert await shared.load(KEY) is None
        store.before = lambda name: None
        await shared.save(KEY, RECORD, lease)
    assert store.records == {KEY: RECORD}
