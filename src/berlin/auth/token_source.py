"""The life of a token: whoever needs it gets it, and at most one login runs at a time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from berlin.errors import AuthenticationError, BerlinError
from berlin.types import Secret

FIRST_REFUSAL_S = 5.0
LONGEST_REFUSAL_S = 300.0

Login: TypeAlias = Callable[[], Awaitable[Secret]]


class TokenKey(msgspec.Struct, frozen=True):
    """What a token belongs to; another password or another URL is another key."""

    recipe: str
    url: str
    account: str
    fingerprint: str


class TokenSource:
    """The token of one key, for all coroutines, loops and threads of this process.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._login: _Login | None = None
        self._refusal: AuthenticationError | None = None
        self._refused_until = 0.0
        self._refusals = 0
        _SOURCES.add(self)

    @property
    def token(self) -> Secret | None:
        """The token at hand, if there is one."""
        return self._token

    def adopt(self, token: Secret | None) -> None:
        """Take a token that somebody else got; `None` forgets the one at hand."""
        with self._lock:
            self._token = token
            self._forget_refusals()

    def reject(self, token: Secret) -> None:
        """Hand in a token that the service refused. A newer one stays."""
        with self._lock:
            if self._token == token:
                self._token = None

    async def get(self, login: Login) -> Secret:
        """Return the token, after a login if there is none.

        Whoever comes while a login runs waits for that one. It goes on when the one who began
        it is cancelled, and ends when nobody waits any more.

        Raises:
            AuthenticationError: if the credentials are refused. That is remembered for a while
                that grows, without asking the service again: it could lock the account.
            BerlinError: whatever else the login ended with.
        """
        while True:
            with self._lock:
                if self._token is not None:
                    return self._token
                self._raise_remembered_refusal()
                if self._login is None or self._login.is_lost():
                    self._login = _Login(self, login)
                running = self._login
                running.waiting += 1
            try:
                outcome = await asyncio.wrap_future(running.outcome)
            finally:
                with self._lock:
                    running.waiting -= 1
                    if not running.waiting:
                        running.cancel()
            match outcome:
                case Secret():
                    return outcome
                case BerlinError():
                    raise outcome.again() from outcome
                case BaseException():
                    raise outcome
                case None:
                    continue  # the loop that ran it is gone; the next one tries

    def _settle(self, login: _Login, outcome: Secret | BaseException | None) -> None:
        with self._lock:
            if self._login is login:
                self._login = None
            if isinstance(outcome, Secret):
                self._token = outcome
                self._forget_refusals()
            elif isinstance(outcome, AuthenticationError):
                wait = min(FIRST_REFUSAL_S * 2**self._refusals, LONGEST_REFUSAL_S)
                self._refusals += 1
                self._refusal, self._refused_until = outcome, self._clock() + wait
        login.outcome.set_result(outcome)

    def _raise_remembered_refusal(self) -> None:
        wait = self._refused_until - self._clock()
        if self._refusal is not None and wait > 0:
            error = self._refusal.again()
            error.args = (
                f"{self._refusal.message} (remembered, so that the account is not locked; "
                f"tried again in {wait:.0f} s, or at once with other credentials)",
            )
            error.retry_after = wait
            raise error from self._refusal

    def _forget_refusals(self) -> None:
        self._refusal, self._refused_until, self._refusals = None, 0.0, 0

    def _after_fork(self) -> None:
        # The parent's lock may be held, and its login runs in the parent only.
        self._lock = threading.Lock()
        self._login = None


class _Login:
    """One running login. It is a task of its own, so it outlives the one who began it."""

    def __init__(self, source: TokenSource, login: Login) -> None:
        self.waiting = 0
        # Results only, never an exception: nobody may be left to retrieve it. Set running, so
        # that a waiter who is cancelled does not cancel it for the others.
        self.outcome: concurrent.futures.Future[Secret | BaseException | None] = (
            concurrent.futures.Future()
        )
        self.outcome.set_running_or_notify_cancel()
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(source, login))

    def is_lost(self) -> bool:
        """Whether its loop was closed under it, so that it will never end."""
        return self._loop.is_closed() and not self.outcome.done()

    def cancel(self) -> None:
        if not self.outcome.done() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self, source: TokenSource, login: Login) -> None:
        outcome: Secret | BaseException | None = None
        try:
            outcome = await login()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # every waiter has to end, whatever happened
            outcome = error
        finally:
            source._settle(self, outcome)


_SOURCES: weakref.WeakSet[TokenSource] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for source in list(_SOURCES):
        source._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

_SHARED: dict[TokenKey, TokenSource] = {}
_SHARED_LOCK = threading.Lock()


def shared_source(key: TokenKey) -> TokenSource:
    """Return this process's one source for a key."""
    with _SHARED_LOCK:
        return _SHARED.setdefault(key, TokenSource())
