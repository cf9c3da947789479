"""A token store with time limits, so that it can never make a request hang."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeVar

from berlin.auth.tokens.store import Lease, Record, TokenKey, TokenStore
from berlin.errors import BerlinError, TokenStoreError

REST_S = 2.0
# The number of steps in which the time limit of a store is waited for.
STEPS = 8
FIRST_POLL_S, LONGEST_POLL_S = 0.02, 0.25
EXTEND_EVERY_S = 1.2
# The holder of a lock is alive as long as it extends it, and its login has limits of its own.
LOCK_WAIT_S = 60.0

_log = logging.getLogger("berlin.auth")
_T = TypeVar("_T")


class SharedTokens:
    """Uses a store with time limits. When it fails it is not used for a while (`REST_S`, with
    jitter, so that not all processes return at once), and meanwhile each process is on its own.

    Args:
        on_failure: without the store: `login`, this process logs in by itself; `error`, there is no
            new token.
    """

    def __init__(
        self,
        store: TokenStore,
        on_failure: Literal["login", "error"] = "login",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self._on_failure = on_failure
        self._clock = clock
        self._rests_until = 0.0

    async def load(self, key: TokenKey) -> Record | None:
        """Return the stored record, or `None`, also if the store cannot be used now."""
        return await self._use(lambda: self.store.load(key))

    @property
    def is_needed(self) -> bool:
        """Whether tokens require the store."""
        return self._on_failure == "error"

    async def works(self) -> bool:
        """Return whether tokens are available now: the store responds, or it is not needed."""
        try:
            await self.load(TokenKey("", "", "", ""))
        except BerlinError:
            return False
        return True

    async def save(self, key: TokenKey, record: Record, lease: Lease | None) -> None:
        """Store a record, if the store can be used now.

        The holder of the lock tries even while the store rests: without the record, the next
        process would log in again.
        """
        await self._use(lambda: self.store.save(key, record, lease), insists=lease is not None)

    @asynccontextmanager
    async def lock(
        self, key: TokenKey, adopted: Callable[[Record | None], bool]
    ) -> AsyncGenerator[Lease | None]:
        """Hold the lock of a key during the block; `None` if it is unavailable or not needed.

        Args:
            adopted: called with the stored record while another process holds the lock; `True` ends
                the wait.
        """
        lease = await self._wait_for_lease(key, adopted)
        if lease is None:
            yield None
            return
        extending = asyncio.create_task(self._extend(lease))
        try:
            yield lease
        finally:
            extending.cancel()
            await self._unlock(lease)

    async def _wait_for_lease(
        self, key: TokenKey, adopted: Callable[[Record | None], bool]
    ) -> Lease | None:
        gives_up_at = self._clock() + LOCK_WAIT_S
        poll = FIRST_POLL_S
        while True:
            lease = await self._use(lambda: self.store.try_lock(key), undo=self.store.unlock)
            if lease is not None or self._rests() or self._clock() >= gives_up_at:
                return lease
            if adopted(await self.load(key)):
                return None
            await asyncio.sleep(poll * (0.5 + random.random()))  # noqa: S311  # not security-relevant
            poll = min(2 * poll, LONGEST_POLL_S)

    async def _extend(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(EXTEND_EVERY_S)
            with suppress(BerlinError):
                await self._use(lambda: self.store.extend(lease))

    async def _unlock(self, lease: Lease) -> None:
        # Started even if this task is cancelled or the store is paused, because others wait for the
        # lock; but a failing store is not waited for twice.
        unlocking = asyncio.get_running_loop().run_in_executor(None, self.store.unlock, lease)
        _abandon(unlocking, None)
        if not self._rests():
            await asyncio.wait((unlocking,), timeout=self.store.timeout_s)

    def _rests(self) -> bool:
        return self._clock() < self._rests_until

    async def _use(
        self,
        operation: Callable[[], _T],
        undo: Callable[[Any], None] | None = None,
        *,
        insists: bool = False,
    ) -> _T | None:
        if self._rests() and not insists:
            self._without("it failed a moment ago")
            return None
        running = asyncio.get_running_loop().run_in_executor(None, operation)
        try:
            return await self._answer(running)
        except (OSError, TimeoutError) as error:
            _abandon(running, undo)
            first = not self._rests()
            self._rests_until = self._clock() + REST_S * (0.5 + random.random())  # noqa: S311  # as above
            reason = str(error) or f"no answer in {self.store.timeout_s:g} s"
            if first:
                _log.warning("tokens.store_failed reason=%s", reason)
            self._without(reason)
            return None
        except asyncio.CancelledError:
            _abandon(running, undo)
            raise

    async def _answer(self, running: asyncio.Future[_T]) -> _T:
        """Return the answer of the store, if it comes in time.

        The time passes in short steps: one in which this process did not get the processor is long,
        but counts no more than the others, because the store could not be heard in it.
        """
        for _ in range(STEPS):
            done, _ = await asyncio.wait((running,), timeout=self.store.timeout_s / STEPS)
            if done:
                return running.result()
        raise TimeoutError

    def _without(self, reason: str) -> None:
        if self._on_failure == "error":
            raise TokenStoreError(
                f"the token store cannot be used: {reason}. Fix it, or allow logins without it: "
                'tokens.on_failure = "login"'
            )


def _abandon(running: asyncio.Future[Any], undo: Callable[[Any], None] | None) -> None:
    """Let an abandoned operation finish in the background, and undo its result."""

    def end(done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None and undo and done.result() is not None:
            asyncio.get_running_loop().run_in_executor(None, undo, done.result())

    running.add_done_callback(end)
